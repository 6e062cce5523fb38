package output_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"thaw/estimate"
	"thaw/image/disk"
	"thaw/image/vfat"
	"thaw/internal/testbed"
	"thaw/output"
	"thaw/rootfs"
	"thaw/spec"
)

var (
	randomDisks = flag.Int("disks", 200, "how many disks of chance are tried")
	randomSeed  = flag.Uint64("seed", 1, "of the first of them")
)

// blobs are what has a place of its own on a disk of chance: so many bytes each.
type blobs struct {
	source
	sizes []int64
}

func (b blobs) Raw(o *spec.Output, i int) (io.ReadCloser, int64, error) {
	return io.NopCloser(io.LimitReader(rand.NewChaCha8([32]byte{}), b.sizes[i])), b.sizes[i], nil
}

// chance makes the text of a disk, which may be wrong, and blobs for it.
type chance struct{ *rand.Rand }

func (c chance) one(of ...string) string { return of[c.IntN(len(of))] }

// maybe returns a key, once in n times.
func (c chance) maybe(n int, key string, values ...string) string {
	if c.IntN(n) > 0 {
		return ""
	}
	return ", " + key + ": " + c.one(values...)
}

func (c chance) disk() (string, []int64) {
	var b strings.Builder
	b.WriteString("{ type: disk" + c.maybe(2, "table", "gpt", "mbr", "hybrid") + c.maybe(4, "sector-size", "512", "4096"))
	b.WriteString(c.maybe(3, "align", "4K", "4K", "64K", "1M", "4M", "4M", "3K") + c.maybe(3, "size", "64K", "3M", "20M", "33M", "64M", "64M", "100001K", "100001K", "4194304K", "3T"))
	b.WriteString(c.maybe(5, "format", "qcow2", "vhd", "vhd-fixed", "vdi", "vmdk", "vhdx"))
	var sizes []int64
	if n := c.IntN(6); n > 3 {
		b.WriteString(", raw: [")
		for i := range n - 3 {
			fmt.Fprintf(&b, "{ offset: %s, source: r%d },", c.one("0B", "512B", "24K", "32K", "64K", "1M", "9M", "30M", "64M", "64M"), i)
			sizes = append(sizes, []int64{1, 440, 512, 5000, 1 << 20, 3<<20 + 1}[c.IntN(6)])
		}
		b.WriteString("]")
	}
	b.WriteString(", partitions: [\n    ")
	n := 1 + c.IntN(4)
	for i := range n {
		fs := c.one("ext4", "ext4", "squashfs", "erofs", "vfat", "vfat", "none")
		fmt.Fprintf(&b, "{ fs: %s", fs)
		if fs == "ext4" || fs == "erofs" || fs == "vfat" {
			fmt.Fprintf(&b, ", label: l%d", i)
		}
		if fs == "none" || c.IntN(2) > 0 {
			sizes := []string{"24K", "1M", "3M", "3M", "5000K", "20M", "40M"}
			if fs == "ext4" || fs == "vfat" || c.IntN(20) == 0 {
				sizes = append(sizes, "fit", "fit+3M", "fit+700K", "fit+20%")
			}
			if i == n-1 {
				sizes = append(sizes, "fill")
			}
			b.WriteString(", size: " + c.one(sizes...))
		}
		if fs != "none" && c.IntN(4) < 1+2*min(i, 1) {
			b.WriteString(c.one(", content: empty", fmt.Sprintf(", files: [{ path: /a/b, content: t%s }, { path: /c, content: x }]", strings.Repeat("text", c.IntN(300)))))
		}
		b.WriteString(c.maybe(6, "type", "esp", "xbootldr", "home", "swap", "bios-boot", "data", "6f2c2ac4-3b1e-4d0c-9a53-0b9c7c1f6f10"))
		b.WriteString(c.maybe(9, "number", "1", "2", "3", "4", "128") + c.maybe(16, "name", "n") + c.maybe(20, "in-mbr", "true"))
		b.WriteString(c.maybe(9, "attributes", "[legacy-boot]", "[no-auto]", "[required, read-only]"))
		switch fs {
		case "ext4":
			b.WriteString(c.maybe(4, "block-size", "1K", "2K", "4K") + c.maybe(5, "journal", "true") + c.maybe(6, "inodes", "5", "100", "5000") + c.maybe(5, "reserved", "5", "50") + c.maybe(5, "dedupe", "true"))
		case "vfat":
			b.WriteString(c.maybe(6, "bits", "12", "16", "32"))
		case "squashfs":
			b.WriteString(c.maybe(3, "compress", "none", "gzip", "lz4"))
		case "erofs":
			b.WriteString(c.maybe(3, "compress", "none", "lz4"))
		}
		b.WriteString(" },\n    ")
	}
	b.WriteString("] }")
	return b.String(), sizes
}

// few is a small root file system.
func few(s rootfs.Sink) error {
	s = rootfs.Check(s)
	if err := s.Add(stampedDir("."), nil); err != nil {
		return err
	}
	for i := range 5 {
		text := strings.Repeat(fmt.Sprintf("file %d\n", i), i*1999)
		e := rootfs.Entry{Path: fmt.Sprint(i), Mode: 0o644, Size: int64(len(text)), ModTime: time.Unix(1, 0)}
		if err := s.Add(e, strings.NewReader(text)); err != nil {
			return err
		}
	}
	return nil
}

// A disk of chance is refused when its spec is read or planned, in words that say where,
// or it is built, and the tools find nothing wrong with it: but for content that turns out
// to need more room than there is, nothing fails later.
func TestRandomDisks(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: runs tools for many disks")
	}
	var refused, full, built int
	dir := t.TempDir()
	for n := range *randomDisks {
		seed := *randomSeed + uint64(n)
		text, sizes := chance{rand.New(rand.NewPCG(seed, 0))}.disk()
		name := filepath.Join(dir, "image")
		err := tryDisk(t, name, text, sizes)
		switch {
		case errors.Is(err, errRefused):
			refused++
		case errors.Is(err, errFull):
			full++
		case err != nil:
			t.Errorf("-seed %d -disks 1: %v\n%s", seed, err, text)
		default:
			built++
		}
		os.Remove(name)
	}
	t.Logf("%d refused, %d without room for their content, %d built", refused, full, built)
	if all := *randomDisks; all >= 100 && (built < all/4 || full > all/10) {
		t.Errorf("of %d disks, %d are built, and %d have no room", all, built, full)
	}
}

var (
	errRefused = errors.New("refused")
	errFull    = errors.New("no room for the content")
)

func tryDisk(t *testing.T, name, text string, sizes []int64) error {
	s, err := spec.Parse("spec.yaml", []byte("version: 1\noutputs:\n  a: "+text+"\n"))
	if err != nil {
		if !strings.Contains(err.Error(), ": outputs.a") {
			return fmt.Errorf("the spec's error says not where: %v", err)
		}
		return errRefused
	}
	o := &s.Outputs[0]
	p := params(t, filepath.Dir(name), 2)
	p.Spec, p.Source = s, blobs{sizes: sizes}
	x := &output.Extra{Files: make([]output.Files, len(o.Disk.Partitions))}
	for _, n := range sizes {
		x.Raw = append(x.Raw, estimate.Size{Least: n, Likely: n, Most: n})
	}
	for i := range o.Disk.Partitions {
		if x.Files[i].Tree, err = p.Source.Files(o, i); err != nil {
			return err
		}
	}
	known := []rootfs.Entry{rootfs.Dir(".", 0o755)}
	for i := range 5 {
		known = append(known, rootfs.Entry{Path: fmt.Sprint(i), Mode: 0o644, Size: int64(i * 1999 * 7)})
	}
	guess, _, err := output.Estimate(&estimate.Content{Bare: true, Known: known}, o, p, x)
	if err != nil {
		if text := err.Error(); !strings.Contains(text, "outputs.a") || strings.Contains(text, "\n") {
			return fmt.Errorf("the plan's error is not one line that says where: %v", err)
		}
		return errRefused
	}
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer f.Close()
	w, err := output.New(f, o, p)
	if err == nil {
		defer w.Abort()
		if err = few(rootfs.Tee(w.Sinks()...)); err == nil {
			err = w.Close()
		}
	}
	var fat *vfat.NoSpaceError // of which all was known
	var overlap *disk.OverlapError
	switch {
	case errors.As(err, &fat):
		return fmt.Errorf("built: %v", err)
	case errors.Is(err, disk.ErrFull) || errors.As(err, &overlap) || err != nil && strings.Contains(err.Error(), "the file system needs"):
		return errFull
	case err != nil:
		return fmt.Errorf("built: %v", err)
	}
	if w.Size() < guess.Least || w.Size() > guess.Most {
		return fmt.Errorf("it has %d bytes, estimated %+v", w.Size(), guess)
	}
	return judge(t, name, o, w.Map())
}

// judge has tools look at a disk.
func judge(t *testing.T, name string, o *spec.Output, m *disk.Map) error {
	if o.Disk.Format != "raw" {
		if m.Size > 64<<30 {
			return nil // qemu-img looks at each sector of it
		}
		format := map[string]string{"vhd": "vpc", "vhd-fixed": "vpc"}[o.Disk.Format]
		if format == "" {
			format = o.Disk.Format
		}
		raw := name + ".raw"
		defer os.Remove(raw)
		if err := says(t, "", "qemu-img", "convert", "-f", format, "-O", "raw", name, raw); err != nil {
			return err
		}
		name = raw
	}
	var err error
	switch {
	case o.Disk.SectorSize != 512:
		err = says(t, "Disk identifier", "fdisk", "-b", fmt.Sprint(o.Disk.SectorSize), "-l", name)
	case o.Disk.Table == "mbr":
		err = says(t, "No errors detected", "sfdisk", "--verify", name)
	default:
		err = says(t, "No problems found", "sgdisk", "--verify", name)
	}
	if err != nil {
		return err
	}
	i := -1
	for _, r := range m.Regions {
		if r.Kind != disk.KindPartition {
			continue
		}
		i++
		switch of := &o.Disk.Partitions[i]; of.FS {
		case "ext4":
			err = says(t, "", "e2fsck", "-fn", fmt.Sprintf("%s?offset=%d", name, r.Start))
		case "squashfs":
			err = says(t, "", "unsquashfs", "-o", fmt.Sprint(r.Start), "-l", name)
		case "erofs":
			err = says(t, "", "fsck.erofs", cut(t, name, r))
		case "vfat":
			err = says(t, "", "fsck.vfat", "-n", cut(t, name, r))
		}
		if err != nil {
			return fmt.Errorf("partitions[%d]: %v", i, err)
		}
	}
	return nil
}

// cut makes a file of a partition.
func cut(t *testing.T, name string, r disk.Region) string {
	part := name + ".part"
	in, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.Create(part)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	if err := out.Truncate(r.End - r.Start); err != nil {
		t.Fatal(err)
	}
	const seekData, seekHole = 3, 4
	for end := r.Start; ; {
		start, err := in.Seek(end, seekData)
		if err != nil || start >= r.End { // there is nothing behind it
			return part
		}
		if end, err = in.Seek(start, seekHole); err == nil {
			_, err = io.Copy(io.NewOffsetWriter(out, start-r.Start), io.NewSectionReader(in, start, min(end, r.End)-start))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// says runs a tool, which has to succeed and to say something.
func says(t *testing.T, want, tool string, args ...string) error {
	out, err := exec.Command(testbed.Tool(t, tool), args...).CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte(want)) || bytes.Contains(out, []byte("orrupt")) {
		return fmt.Errorf("%s %q: %v\n%s", tool, args, err, out)
	}
	return nil
}
