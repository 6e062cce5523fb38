package spec

// Output is a form in which the image is written. The field that is named like
// its type is set; a directory has none.
type Output struct {
	Name     string     `key:"*" is:"name"`
	Type     string     `key:"type" only:"disk iso ext4 squashfs erofs tar cpio oci dir files" need:"yes"`
	MaxSize  Size       `key:"max-size" is:"number of bytes" unset:"no limit"` // fixed
	Disk     *Disk      `variant:"disk"`
	ISO      *ISO       `variant:"iso"`
	Ext4     *Ext4Image `variant:"ext4"`
	Squashfs *Squashfs  `variant:"squashfs"`
	Erofs    *Erofs     `variant:"erofs"`
	Tar      *Tar       `variant:"tar"`
	Cpio     *Cpio      `variant:"cpio"`
	OCI      *OCI       `variant:"oci"`
	Files    *BootFiles `variant:"files"`
}

// IsDir reports whether an output is a directory.
func (o *Output) IsDir() bool {
	return o.Type == "dir" || o.Files != nil || o.OCI != nil && o.OCI.Archive == "dir"
}

// Disk is a disk with partitions.
type Disk struct {
	Format     string      `key:"format" only:"raw qcow2 vhd vhd-fixed vdi vmdk vhdx" default:"raw"`
	Compress   string      `key:"compress" only:"none gzip xz zlib zstd" default:"none"`
	Table      string      `key:"table" only:"gpt mbr hybrid" default:"gpt"`
	Size       Size        `key:"size" is:"size" default:"fit"` // fit or fixed
	SectorSize int         `key:"sector-size" range:"512 4096" default:"512"`
	Align      Size        `key:"align" is:"number of bytes" default:"1M"` // fixed
	GUID       UUID        `key:"guid" is:"UUID" unset:"derived from the seed"`
	Signature  Serial      `key:"signature" is:"serial number" unset:"derived from the seed"`
	Raw        []Raw       `key:"raw" unset:"nothing"`
	Partitions []Partition `key:"partitions" unset:"one with the root file system"` // as they lie on the disk
}

// ISO is a CD, which is a disk, too: with what machines boot and, as a file and as a
// partition, the root file system.
type ISO struct {
	Label string   `key:"label" is:"volume label" default:"NIXOS_ISO"`
	Table string   `key:"table" only:"gpt mbr hybrid none" default:"gpt"`
	EFI   Size     `key:"efi" is:"size" default:"fit"` // fit or fixed
	Root  *ISORoot `key:"root" unset:"squashfs, compressed with zstd"`
}

// ISORoot is the root file system on a CD. The field that is named like its file
// system is set.
type ISORoot struct {
	FS       string    `key:"fs" only:"squashfs erofs" need:"yes"`
	Squashfs *Squashfs `variant:"squashfs"`
	Erofs    *Erofs    `variant:"erofs"`
}

// Raw is content with a place of its own on a disk. One of Source and Store is set.
type Raw struct {
	Offset Offset `key:"offset" is:"offset" need:"yes"`
	Source string `key:"source" is:"file" one:"of"`
	Store  string `key:"store" is:"store file" one:"of"`
	Origin Origin
}

// Partition is a partition of a disk. The field that is named like its file system
// is set.
type Partition struct {
	FS         string          `key:"fs" only:"ext4 squashfs erofs vfat none" need:"yes"`
	Content    string          `key:"content" only:"rootfs boot files empty" unset:"files where there are files or trees, empty for vfat and none, rootfs for others"`
	Size       Size            `key:"size" is:"size" unset:"fit; fill for the last one on a disk of fixed size"`
	Name       string          `key:"name" is:"partition name" unset:"the label, or root, esp or data"`
	Type       string          `key:"type" is:"partition type" unset:"esp for vfat, linux-generic for others"`
	GUID       UUID            `key:"guid" is:"UUID" unset:"derived from the seed"`
	Number     int             `key:"number" range:"1 128" unset:"the lowest that is free"`
	Attributes []string        `key:"attributes" only:"required no-block-io legacy-boot grow-fs read-only hidden no-auto" unset:"none"` // sorted
	InMBR      bool            `key:"in-mbr" default:"false"`
	Files      []PartitionFile `key:"files" unset:"none"` // sorted by path
	Trees      []Tree          `key:"trees" unset:"none"`
	Ext4       *Ext4           `variant:"ext4"`
	Squashfs   *Squashfs       `variant:"squashfs"`
	Erofs      *Erofs          `variant:"erofs"`
	Vfat       *Vfat           `variant:"vfat"`
	Origin     Origin
}

// PartitionFile is a file, or all that is in a directory, in a partition that has
// files of its own. One of Content, Source and Store is set.
type PartitionFile struct {
	Path    string  `key:"path" is:"path" need:"yes"`
	Content *string `key:"content" one:"of"`
	Source  string  `key:"source" is:"file" one:"of"`
	Store   string  `key:"store" is:"store file" one:"of"`
	Origin  Origin
}

// Ext4Image is an ext4 file system alone.
type Ext4Image struct {
	Size Size `key:"size" is:"size" default:"fit"` // fit or fixed
	Ext4 `key:"+"`
}

// Ext4 is what is said of an ext4 file system.
type Ext4 struct {
	Label     *string `key:"label" is:"label" unset:"nixos for the root file system, none for others"` // 16 bytes
	UUID      UUID    `key:"uuid" is:"UUID" unset:"derived from the seed"`
	BlockSize Size    `key:"block-size" is:"number of bytes" default:"4K"` // fixed
	Journal   bool    `key:"journal" default:"false"`
	Reserved  int     `key:"reserved" range:"0 50" default:"0"` // percent
	Inodes    int64   `key:"inodes" range:"1 4294967295" unset:"as many as there are files, and more for what is left free"`
	Dedupe    bool    `key:"dedupe" default:"false"`
}

// Squashfs is what is said of a squashfs file system.
type Squashfs struct {
	Compress  string `key:"compress" only:"zstd gzip lz4 xz none" default:"zstd"`
	Fast      bool   `key:"fast" default:"false"`
	BlockSize Size   `key:"block-size" is:"number of bytes" default:"128K"` // fixed
}

// Erofs is what is said of an erofs file system.
type Erofs struct {
	Label       *string `key:"label" is:"label" unset:"nixos for the root file system, none for others"` // 15 bytes
	UUID        UUID    `key:"uuid" is:"UUID" unset:"derived from the seed"`
	Compress    string  `key:"compress" only:"lz4 lz4hc none" default:"lz4hc"`
	ClusterSize Size    `key:"cluster-size" is:"number of bytes" default:"64K"` // fixed
	Dedupe      bool    `key:"dedupe" default:"false"`
}

// Vfat is what is said of a FAT file system.
type Vfat struct {
	Label  string `key:"label" is:"FAT label" unset:"none"`
	Serial Serial `key:"serial" is:"serial number" unset:"derived from the seed"`
	Bits   int    `key:"bits" range:"12 32" unset:"what its size asks for"` // 12, 16 or 32; 0 for unset
}

// BootFiles is a directory with what a machine boots with.
type BootFiles struct {
	Root string `key:"root" only:"squashfs erofs ext4 none" default:"squashfs"`
}

// Tar is a tar archive.
type Tar struct {
	Compress string `key:"compress" only:"none gzip zstd" default:"none"`
}

// Cpio is a cpio archive, as Linux unpacks an initrd.
type Cpio struct {
	Compress string `key:"compress" only:"none gzip zstd" default:"none"`
}
