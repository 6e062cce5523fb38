package output

import (
	"io"

	"thaw/image/qcow2"
	"thaw/image/raw"
	"thaw/image/vdi"
	"thaw/image/vhd"
	"thaw/image/vhdx"
	"thaw/image/vmdk"
	"thaw/spec"
)

// container is the form of a disk's file.
type container struct {
	disk  io.WriterAt                                      // where the disk itself goes
	close func(diskSize int64) (fileSize int64, err error) // makes the file of it
}

// newContainer makes a container in f.
func newContainer(f File, o *spec.Output, p *Params) (*container, error) {
	of := o.Disk
	length := func(size int64, err error) (int64, error) {
		if err != nil {
			return 0, err
		}
		return size, f.Truncate(size)
	}
	disk := vhd.Options{UUID: p.ID("disk/vhd/uuid"), Time: p.Time.Unix()}
	switch {
	case of.Format == "raw" && of.Compress == "none":
		return &container{f, func(size int64) (int64, error) { return length(size, nil) }}, nil
	case of.Format == "vhd-fixed":
		return &container{f, func(size int64) (int64, error) {
			footer, err := vhd.Footer(size, disk)
			if err != nil {
				return 0, err
			}
			end := (size + raw.SectorSize - 1) / raw.SectorSize * raw.SectorSize
			if _, err := f.WriteAt(footer, end); err != nil {
				return 0, err
			}
			return length(end+int64(len(footer)), nil)
		}}, nil
	}
	if w, err := straight(f, o, p, disk); w != nil || err != nil {
		return &container{w, func(size int64) (int64, error) {
			if err := w.Close(size); err != nil {
				return 0, err
			}
			return length(w.Size(), nil)
		}}, err
	}
	temp, err := p.Temp()
	if err != nil {
		return nil, err
	}
	return &container{temp, func(size int64) (int64, error) {
		if err := temp.Truncate(size); err != nil {
			return 0, err
		}
		counted := &counter{w: f}
		to := &extent{f: f}
		var err error
		switch of.Format {
		case "raw":
			err = raw.Compress(counted, temp, size, rawCompressions[of.Compress])
		case "vmdk":
			err = vmdk.Write(counted, temp, size, vmdk.Options{UUID: p.ID("disk/vmdk/uuid")})
		case "qcow2":
			err = qcow2.Write(to, temp, size, qcow2.Options{Compression: qcow2Compressions[of.Compress]})
		case "vhd":
			err = vhd.Write(to, temp, size, disk)
		case "vdi":
			err = vdi.Write(to, temp, size, vdiOptions(o, p))
		case "vhdx":
			err = vhdx.Write(to, temp, size, vhdxOptions(p))
		}
		return length(max(counted.n, to.end), err)
	}}, nil
}

// straight returns the writer of a format whose blocks can be written as they come,
// nil if a raw disk must be there first. Blocks lie in the order in which they are
// first written, which several root file systems at a time would make one of chance.
func straight(f File, o *spec.Output, p *Params, disk vhd.Options) (*raw.Writer, error) {
	roots := 0
	for _, part := range o.Disk.Partitions {
		if part.Content == "rootfs" {
			roots++
		}
	}
	switch format := o.Disk.Format; {
	case roots > 1 || o.Disk.Compress != "none":
		return nil, nil
	case format == "qcow2":
		return qcow2.NewWriter(f, qcow2.Options{})
	case format == "vhd":
		return vhd.NewWriter(f, disk)
	case format == "vdi":
		return vdi.NewWriter(f, vdiOptions(o, p))
	case format == "vhdx":
		return vhdx.NewWriter(f, vhdxOptions(p))
	}
	return nil, nil
}

func vdiOptions(o *spec.Output, p *Params) vdi.Options {
	return vdi.Options{UUID: p.ID("disk/vdi/uuid"), Modified: p.ID("disk/vdi/modified"), Limit: max(vdi.DefaultLimit, o.Disk.Size.Bytes)}
}

func vhdxOptions(p *Params) vhdx.Options {
	return vhdx.Options{UUID: p.ID("disk/vhdx/uuid"), FileWrite: p.ID("disk/vhdx/file-write"), DataWrite: p.ID("disk/vhdx/data-write")}
}

var rawCompressions = map[string]raw.Compression{"gzip": raw.Gzip, "xz": raw.XZ, "zstd": raw.Zstd}

var qcow2Compressions = map[string]qcow2.Compression{"none": qcow2.None, "zlib": qcow2.Zlib, "zstd": qcow2.Zstd}

// extent notes how far a file goes.
type extent struct {
	f   io.WriterAt
	end int64
}

func (x *extent) WriteAt(p []byte, off int64) (int, error) {
	x.end = max(x.end, off+int64(len(p)))
	return x.f.WriteAt(p, off)
}
