package output

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"

	"thaw/estimate"
	"thaw/image/erofs"
	"thaw/image/ext4"
	"thaw/image/squashfs"
	"thaw/image/vfat"
	"thaw/rootfs"
	"thaw/spec"
)

// fileSystem is the writer of a file system.
type fileSystem interface {
	rootfs.Sink
	Close() error
	Size() int64 // known after Close
}

// volume is a file system that is to be written.
type volume struct {
	name string    // what its identifiers are derived from
	size spec.Size // fit, or fixed
	ext4 *spec.Ext4
	sqfs *spec.Squashfs
	ero  *spec.Erofs
	fat  *spec.Vfat

	files   *rootfs.Tree // all that will be in it, if that is known
	start   int64        // where on the disk it is, in bytes
	sector  int          // of the disk, in bytes
	cluster int          // of FAT, in bytes; 0 for what its size says
}

// rootName is what the identifiers of the root file system are derived from, in
// whatever output it is.
const rootName = "root"

// alone returns the volume of an output that is a file system.
func alone(o *spec.Output) *volume {
	v := &volume{name: rootName, sqfs: o.Squashfs, ero: o.Erofs}
	if o.Ext4 != nil {
		v.ext4, v.size = &o.Ext4.Ext4, o.Ext4.Size
	}
	return v
}

// newFileSystem makes the writer of a volume to w. Errors say what place it has in
// the spec.
func newFileSystem(w io.WriterAt, p *Params, v *volume, place string) (fileSystem, error) {
	fs, err := chosen(w, p, v)
	return &placed{fs, place}, at(place, err)
}

// refused is the error of a volume that no content makes: what its options say, or that
// not even what is known of its content fits in.
func (v *volume) refused(c *estimate.Content, p *Params) error {
	if v.ext4 != nil {
		return estimate.RefusedExt4(c, v.ext4Options(p))
	}
	fs, err := chosen(nowhere{}, p, v)
	if err == nil {
		fs.Close() // which ends what works for it, and says that there is no root
	}
	return err
}

// at adds to an error what it is about in the spec.
func at(place string, err error) error {
	if err == nil || place == "" {
		return err
	}
	return fmt.Errorf("%s: %w", place, err)
}

// placed is a file system whose errors say what place it has in the spec.
type placed struct {
	fileSystem
	place string
}

func (p *placed) Add(e rootfs.Entry, data io.Reader) error {
	return at(p.place, p.fileSystem.Add(e, data))
}

func (p *placed) Close() error { return at(p.place, p.fileSystem.Close()) }

// chosen makes the writer of a volume to w.
func chosen(w io.WriterAt, p *Params, v *volume) (fileSystem, error) {
	switch {
	case v.ext4 != nil:
		return ext4.NewWriter(w, v.ext4Options(p))
	case v.sqfs != nil:
		return squashfs.NewWriter(w, v.squashfsOptions(p))
	case v.ero != nil:
		return erofs.NewWriter(w, v.erofsOptions(p))
	}
	opt, err := v.vfatOptions(p)
	if err != nil {
		return nil, err
	}
	return vfat.NewWriter(w, opt)
}

func (v *volume) squashfsOptions(p *Params) squashfs.Options {
	return squashfs.Options{
		Time: p.Time.Unix(), Compression: squashfsCompressions[v.sqfs.Compress], Fast: v.sqfs.Fast,
		BlockSize: int(v.sqfs.BlockSize.Bytes), Jobs: p.Jobs,
	}
}

func (v *volume) erofsOptions(p *Params) erofs.Options {
	return erofs.Options{
		UUID: v.uuid(p, v.ero.UUID, "erofs"), Label: *v.ero.Label, Time: p.Time.Unix(), Compression: erofsCompressions[v.ero.Compress],
		ClusterSize: int(v.ero.ClusterSize.Bytes), Dedupe: v.ero.Dedupe, Jobs: p.Jobs,
	}
}

var squashfsCompressions = map[string]squashfs.Compression{
	"zstd": squashfs.Zstd, "gzip": squashfs.Gzip, "lz4": squashfs.LZ4, "xz": squashfs.XZ, "none": squashfs.None,
}

var erofsCompressions = map[string]erofs.Compression{"none": erofs.None, "lz4": erofs.LZ4, "lz4hc": erofs.LZ4HC}

// uuid returns the one that is given, or one derived from the plan.
func (v *volume) uuid(p *Params, given spec.UUID, kind string) [16]byte {
	if given == (spec.UUID{}) {
		return p.ID(v.name + "/" + kind + "/uuid")
	}
	return given
}

// serial returns the one that is given, or one derived from the plan, which is not
// 0.
func serial(p *Params, given spec.Serial, name string) uint32 {
	if given == 0 {
		id := p.ID(name)
		return max(1, binary.BigEndian.Uint32(id[:]))
	}
	return uint32(given)
}

func (v *volume) ext4Options(p *Params) ext4.Options {
	opt := ext4.Options{
		BlockSize: int(v.ext4.BlockSize.Bytes), ReservedPercent: v.ext4.Reserved, Inodes: v.ext4.Inodes, Dedupe: v.ext4.Dedupe,
		Label: *v.ext4.Label, UUID: v.uuid(p, v.ext4.UUID, "ext4"), HashSeed: p.ID(v.name + "/ext4/hash-seed"), Time: p.Time.Unix(),
	}
	if v.size.Kind == spec.Fixed {
		opt.Size = v.size.Bytes
	} else {
		opt.Free, opt.FreePercent = v.size.Bytes, v.size.Percent
	}
	if opt.Free > 0 {
		opt.Capacity = min(max(ext4.DefaultCapacity, 2*opt.Free), ext4.CapacityLimit(opt.BlockSize))
	}
	if v.ext4.Journal {
		opt.Journal = ext4.JournalAuto
	}
	return opt
}

func (v *volume) vfatOptions(p *Params) (vfat.Options, error) {
	opt := vfat.Options{
		Serial: serial(p, v.fat.Serial, v.name+"/vfat/serial"), Label: v.fat.Label, Bits: v.fat.Bits,
		SectorSize: v.sector, ClusterSize: v.cluster,
	}
	if n := v.start / int64(v.sector); n <= math.MaxUint32 { // beyond, no BIOS boots it, and mkfs.fat puts 0
		opt.HiddenSectors = uint32(n)
	}
	if v.size.Kind == spec.Fixed {
		opt.Size = v.size.Bytes
	} else {
		opt.Free, opt.FreePercent = v.size.Bytes, v.size.Percent
	}
	return vfat.Fit(opt, v.files.All())
}
