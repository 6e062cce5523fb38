package spec

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"
	"unicode/utf16"

	"thaw/image/disk"
	"thaw/storepath"
)

// DefaultLabel is the label of a root file system that states none, and the name of
// its partition.
const DefaultLabel = "nixos"

func (c *checker) outputs() {
	outputs := c.spec.Outputs
	slices.SortFunc(outputs, func(a, b Output) int { return cmp.Compare(a.Name, b.Name) })
	for i := range outputs {
		out := &outputs[i]
		at := join("outputs", out.Name)
		switch {
		case out.Disk != nil:
			c.disk(out.Disk, at)
		case out.ISO != nil:
			c.iso(out.ISO, at)
		case out.Ext4 != nil:
			if out.Ext4.Size.Kind == Fill {
				c.errorf(at+".size", "only a partition can fill something; write fit or 2G")
			}
			c.ext4(&out.Ext4.Ext4, at, DefaultLabel)
		case out.Squashfs != nil:
			c.squashfs(out.Squashfs, at)
		case out.Erofs != nil:
			c.erofs(out.Erofs, at, DefaultLabel)
		case out.Files != nil && (c.spec.Boot == nil || c.spec.Boot.Kernel == "none"):
			c.errorf(at+".type", "the key \"boot\" is needed: these are the files that a machine boots with")
		case out.OCI != nil:
			c.oci(out.OCI, at)
		}
	}
}

func (c *checker) ext4(fs *Ext4, at, label string) {
	if fs.Label == nil {
		fs.Label = &label
	}
	c.powerOfTwo(fs.BlockSize, 1<<10, 4<<10, at+".block-size")
}

func (c *checker) squashfs(fs *Squashfs, at string) {
	c.powerOfTwo(fs.BlockSize, 4<<10, 1<<20, at+".block-size")
}

func (c *checker) erofs(fs *Erofs, at, label string) {
	if fs.Label == nil {
		fs.Label = &label
	}
	if len(*fs.Label) > 15 {
		c.errorf(at+".label", "%s has %d bytes, and erofs has room for 15", clip(*fs.Label), len(*fs.Label))
	}
	if n := fs.ClusterSize.Bytes; n%4096 != 0 || n > 1<<20 {
		c.errorf(at+".cluster-size", "%s is not a multiple of 4K up to 1M", fs.ClusterSize)
	}
}

func (c *checker) powerOfTwo(s Size, least, most int64, at string) {
	if n := s.Bytes; n&(n-1) != 0 || n < least || n > most {
		c.errorf(at, "%s is not a power of two from %s to %s", s, formatBytes(least), formatBytes(most))
	}
}

// compressions are those that formats of disks have.
var compressions = map[string][]string{"raw": {"none", "gzip", "xz", "zstd"}, "qcow2": {"none", "zlib", "zstd"}}

func (c *checker) disk(d *Disk, at string) {
	switch known := compressions[d.Format]; {
	case known == nil && d.Compress != "none":
		c.errorf(at+".compress", "the format %s has no such choice; raw and qcow2 have one", d.Format)
	case known != nil && !slices.Contains(known, d.Compress):
		c.errorf(at+".compress", "%s is not for the format %s; there %s", d.Compress, d.Format, "are "+strings.Join(known, ", "))
	}
	switch {
	case d.SectorSize != 512 && d.SectorSize != 4096:
		c.errorf(at+".sector-size", "%d is not 512 or 4096", d.SectorSize)
	case d.SectorSize != 512 && d.Format != "raw" && d.Format != "qcow2":
		c.errorf(at+".sector-size", "the format %s has sectors of 512 bytes; raw and qcow2 leave that to the machine", d.Format)
	}
	c.powerOfTwo(d.Align, int64(max(d.SectorSize, 512)), disk.MaxAlign, at+".align")
	switch {
	case d.Size.Kind == Fill || d.Size.Kind == Fit && d.Size != Size{Kind: Fit}:
		c.errorf(at+".size", "a disk has the size fit, or a fixed one such as 2G; what is left free is a matter of its partitions")
	case d.Size.Kind == Fixed && d.Size.Bytes%int64(d.SectorSize) != 0:
		c.errorf(at+".size", "%s is not a multiple of %d bytes", d.Size, d.SectorSize)
	}
	if d.Table == "mbr" && d.GUID != (UUID{}) {
		c.errorf(at+".guid", "an MBR has no GUID, and a signature instead; the tables gpt and hybrid have one")
	}
	if d.Table == "gpt" && d.Signature != 0 {
		c.errorf(at+".signature", "a GPT has no signature, and a GUID instead; the tables mbr and hybrid have one")
	}
	for i := range d.Raw {
		d.Raw[i].Origin = c.origin(item(at+".raw", i), i)
	}
	c.partitions(d, at)
	boots := slices.ContainsFunc(d.Partitions, func(p Partition) bool { return p.Content == "boot" })
	for i, r := range d.Raw {
		if boots && c.spec.Boot != nil && c.spec.Boot.Loader == "syslinux" && r.Offset < disk.CodeSize {
			c.errorf(item(at+".raw", i)+".offset", "the first %d bytes are for boot.mbr", disk.CodeSize)
		}
	}
}

func (c *checker) partitions(d *Disk, at string) {
	at += ".partitions"
	if d.Partitions == nil && !c.given(at) {
		root := NewPartition("ext4")
		root.Content = "rootfs"
		d.Partitions = []Partition{root}
	}
	most := disk.MaxPartitions
	if d.Table == "mbr" {
		most = 4
	}
	if len(d.Partitions) > most {
		c.errorf(at, "there are %d partitions, and the table has room for %d", len(d.Partitions), most)
	}
	for i := range d.Partitions {
		p := &d.Partitions[i]
		p.Origin = c.origin(item(at, i), i)
		c.partition(d, p, item(at, i), i == len(d.Partitions)-1)
	}
	for i, p := range d.Partitions {
		after := slices.IndexFunc(d.Partitions[i+1:], func(p Partition) bool { return p.Content == "rootfs" })
		if p.Content == "rootfs" && p.Size.Kind == Fit && after >= 0 {
			c.errorf(item(at, i)+".size", "partitions[%d] has the root file system, too, and begins where this one ends: give this one a size, such as 1G", i+1+after)
		}
	}
	c.inMBR(d, at)
	c.names(d, at)
}

// NewPartition returns a partition with that file system and its defaults.
func NewPartition(fs string) Partition {
	var p Partition
	made(&p, "fs", fs)
	return p
}

// partition checks and completes a partition, which may be the last one.
func (c *checker) partition(d *Disk, p *Partition, at string, last bool) {
	label := ""
	files := len(p.Files) > 0 || len(p.Trees) > 0
	switch {
	case p.Content == "boot" && (c.spec.Boot == nil || c.spec.Boot.Loader == "none"):
		c.errorf(at+".content", "it has what a boot loader reads, and boot.loader says that there is none")
	case p.Content == "boot" && p.FS != "vfat" && p.FS != "ext4":
		c.errorf(at+".fs", "boot loaders read vfat, and some ext4")
	case p.Content == "boot" && c.spec.Boot.Loader != "extlinux" && p.FS != "vfat":
		c.errorf(at+".fs", "the loader %s is on vfat", c.spec.Boot.Loader)
	case p.Content != "":
	case files:
		p.Content = "files"
	case p.FS == "vfat" || p.FS == "none":
		p.Content = "empty"
	default:
		p.Content = "rootfs"
	}
	switch {
	case files && p.Content != "files" && p.Content != "boot":
		c.errorf(at+".content", "it is %s, and there are files", p.Content)
	case p.FS == "none" && p.Content != "empty" && p.Content != "boot":
		c.errorf(at+".fs", "a partition without a file system is empty; content of another kind is a matter of the key \"raw\" of the disk")
	case p.FS == "vfat" && p.Content == "rootfs":
		c.errorf(at+".fs", "vfat holds no links, modes and owners, and so no root file system")
	case p.Content == "rootfs":
		label = DefaultLabel
	}
	switch {
	case p.Ext4 != nil:
		c.ext4(p.Ext4, at, label)
		label = *p.Ext4.Label
		if n := p.Ext4.BlockSize; n.Bytes < int64(d.SectorSize) {
			c.errorf(at+".block-size", "%s is less than a sector of the disk, and Linux mounts no such ext4", n)
		}
	case p.Squashfs != nil:
		c.squashfs(p.Squashfs, at)
	case p.Erofs != nil:
		c.erofs(p.Erofs, at, label)
		label = *p.Erofs.Label
	case p.Vfat != nil:
		label = p.Vfat.Label
		if b := p.Vfat.Bits; b != 0 && b != 12 && b != 16 && b != 32 {
			c.errorf(at+".bits", "FAT has 12, 16 or 32 bits, and not %d", b)
		}
	}
	c.partitionSize(d, p, at, last)
	c.partitionFiles(p, at)
	p.Attributes = sorted(p.Attributes)
	if p.Type == "" {
		p.Type = "linux-generic"
		if p.FS == "vfat" {
			p.Type = "esp"
		}
	}
	if d.Table != "mbr" && p.Name == "" {
		p.Name = cmp.Or(label, map[bool]string{true: "root"}[p.Content == "rootfs"], map[bool]string{true: "esp"}[p.Type == "esp"], "data")
	}
	c.inTable(d, p, at)
}

// inTable holds what is said of a partition against what its table has of one.
func (c *checker) inTable(d *Disk, p *Partition, at string) {
	if p.InMBR && d.Table != "hybrid" {
		c.errorf(at+".in-mbr", "this goes with the key \"table: hybrid\" of the disk only")
	}
	if d.Table == "mbr" || p.InMBR {
		kind, ok := disk.TypeNamed(p.Type)
		if !ok {
			kind = disk.GUID(p.Type)
		}
		if kind.MBRType() == 0 {
			c.errorf(at+".type", "an MBR has no number for the type %s; the table gpt takes it", p.Type)
		}
	}
	if d.Table != "mbr" {
		return
	}
	for _, key := range []string{"name", "guid"} {
		if c.given(at + "." + key) {
			c.errorf(at+"."+key, "a partition of an MBR has none; those of the tables gpt and hybrid have one")
		}
	}
	for _, a := range p.Attributes {
		if a != "legacy-boot" {
			c.errorf(at+".attributes", "a partition of an MBR is legacy-boot or not, and has no attribute %s; those of the tables gpt and hybrid have it", a)
		}
	}
	if p.Number > 4 {
		c.errorf(at+".number", "an MBR has the numbers 1 to 4")
	}
}

// inMBR holds what an MBR has once, or few of.
func (c *checker) inMBR(d *Disk, at string) {
	bios := c.spec.Boot != nil && c.spec.Boot.Loader == "syslinux" // which starts from a partition that the MBR tells of
	beside, active := 0, -1
	for i, p := range d.Partitions {
		if d.Table != "mbr" && !p.InMBR {
			continue
		}
		if beside++; d.Table == "hybrid" && beside == 4 {
			c.errorf(item(at, i)+".in-mbr", "the MBR of a hybrid table has room for 3 partitions")
		}
		switch boots := bios && p.Content == "boot"; {
		case !boots && !slices.Contains(p.Attributes, "legacy-boot"):
		case active < 0:
			active = i
		case boots:
			c.errorf(item(at, i)+".content", "syslinux starts from it, and partitions[%d] is legacy-boot: an MBR has one that is", active)
		default:
			c.errorf(item(at, i)+".attributes", "partitions[%d] is the one of the MBR that is legacy-boot", active)
		}
	}
}

func (c *checker) partitionSize(d *Disk, p *Partition, at string, last bool) {
	at += ".size"
	if p.Size.Kind == NoSize {
		p.Size = Size{Kind: Fit}
		if last && d.Size.Kind == Fixed {
			p.Size = Size{Kind: Fill}
		}
	}
	switch {
	case p.Size.Kind == Fill && d.Size.Kind != Fixed:
		c.errorf(at, "there is nothing to fill: give the disk a size, such as 2G")
	case p.Size.Kind == Fill && !last:
		c.errorf(at, "only the last partition fills the rest of the disk")
	case p.Size.Kind == Fixed && d.Size.Kind == Fixed && p.Size.Bytes >= d.Size.Bytes:
		c.errorf(at, "%s is not less than the size of the disk, %s; a partition table needs 2M", p.Size, d.Size)
	case p.Size.Kind == Fit && p.FS == "none":
		c.errorf(at, "a partition without a file system needs a size, such as 100M")
	case p.Size.Kind == Fit && p.Size != (Size{Kind: Fit}) && (p.FS == "squashfs" || p.FS == "erofs"):
		c.errorf(at, "%s is read-only, and has nothing free: write fit, or a fixed size", p.FS)
	}
}

// partitionFiles checks the files of a partition.
func (c *checker) partitionFiles(p *Partition, at string) {
	twice(c, at+".files", p.Files, func(f PartitionFile) string { return f.Path }, "its path")
	for i := range p.Files {
		f := &p.Files[i]
		f.Origin = c.origin(item(at+".files", i), i)
		if f.Path == "/" && f.Store == "" {
			c.errorf(item(at+".files", i)+".path", "the root directory is always there")
		}
	}
	for i := range p.Trees {
		t := &p.Trees[i]
		t.Origin = c.origin(item(at+".trees", i), i)
		c.owner(&t.Owner, item(at+".trees", i)+".owner")
	}
	slices.SortFunc(p.Files, func(a, b PartitionFile) int { return cmp.Compare(a.Path, b.Path) })
}

// names holds what tells partitions apart to be different.
func (c *checker) names(d *Disk, at string) {
	labels, guids, numbers := map[string]int{}, map[UUID]string{d.GUID: "of the disk"}, map[int]int{}
	for i, p := range d.Partitions {
		at := item(at, i)
		label := ""
		switch {
		case p.Ext4 != nil:
			label = *p.Ext4.Label
		case p.Erofs != nil:
			label = *p.Erofs.Label
		case p.Vfat != nil:
			label = p.Vfat.Label
		}
		if j, ok := labels[label]; ok && label != "" {
			c.errorf(at+".label", "%s is the label of partitions[%d], too: a system that looks for it finds either", clip(label), j)
		}
		if who, ok := guids[p.GUID]; ok && p.GUID != (UUID{}) {
			c.errorf(at+".guid", "this is the GUID %s, too", who)
		}
		if j, ok := numbers[p.Number]; ok && p.Number != 0 {
			c.errorf(at+".number", "%d is the number of partitions[%d], too", p.Number, j)
		}
		labels[label], guids[p.GUID], numbers[p.Number] = i, fmt.Sprintf("of partitions[%d]", i), i
	}
}

// partitionType reads the name of a type of partitions, or its GUID.
func partitionType(s string) (string, error) {
	if _, ok := disk.TypeNamed(s); ok {
		return s, nil
	}
	if id, err := ParseUUID(s); err == nil {
		return id.String(), nil
	}
	return "", fmt.Errorf("%s is not a type of partitions: write a GUID, or one of %s%s", clip(s), strings.Join(disk.TypeNames(), ", "), didYouMean(s, disk.TypeNames()))
}

func partitionName(s string) (string, error) {
	if n := len(utf16.Encode([]rune(s))); n == 0 || n > disk.MaxName || strings.ContainsFunc(s, isControl) {
		return "", fmt.Errorf("%s is not the name of a partition: 1 to %d characters, of which those above U+FFFF count twice", clip(s), disk.MaxName)
	}
	return s, nil
}

func fatLabel(s string) (string, error) {
	bad := func(r rune) bool { return r < ' ' || r > '~' || strings.ContainsRune(`"*+,./:;<=>?[\]|`, r) }
	if s == "" || len(s) > 11 || strings.ContainsFunc(s, bad) || strings.TrimSpace(s) != s {
		return "", fmt.Errorf("%s is not a label of FAT: 1 to 11 characters of ASCII, without \"*+,./:;<=>?[\\]|", clip(s))
	}
	return s, nil
}

// storeFile reads the path of a file in a store path, or of a store path.
func storeFile(s string) (string, error) {
	if p, err := storePath(path.Clean(s)); err == nil {
		return p.String(), nil
	}
	p, err := bootFile(s)
	if err != nil || p == "auto" || p == "none" {
		return "", fmt.Errorf("%s is not a file in a store path: /nix/store/HASH-NAME/FILE", clip(s))
	}
	return p, nil
}

// StorePaths returns the store paths whose files outputs are made of, each once.
// They need not be packages.
func (s *Spec) StorePaths() (paths []storepath.Path) {
	add := func(file string) {
		if file == "" {
			return
		}
		base, _, _ := strings.Cut(strings.TrimPrefix(file, storepath.Dir+"/"), "/")
		if p, err := storepath.ParseBase(base); err == nil && !slices.Contains(paths, p) {
			paths = append(paths, p)
		}
	}
	for _, file := range s.Boot.StoreFiles() {
		add(file)
	}
	for _, o := range s.Outputs {
		if o.Disk == nil {
			continue
		}
		for _, r := range o.Disk.Raw {
			add(r.Store)
		}
		for _, p := range o.Disk.Partitions {
			for _, f := range p.Files {
				add(f.Store)
			}
		}
	}
	return paths
}
