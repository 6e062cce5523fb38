package output_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"thaw/estimate"
	"thaw/image/disk"
	"thaw/internal/testbed"
	"thaw/output"
	"thaw/rootfs"
	"thaw/rootfs/rootfstest"
	"thaw/spec"
)

// parse returns the outputs of a spec.
func parse(t testing.TB, outputs string) []spec.Output {
	t.Helper()
	return parseSpec(t, outputs).Outputs
}

func parseSpec(t testing.TB, outputs string) *spec.Spec {
	t.Helper()
	s, err := spec.Parse("spec.yaml", []byte("version: 1\noutputs:\n"+outputs+"\nboot: { loader: efi }\n"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// source has content that tells what it is for.
type source struct{}

func (source) BIOS() (*output.BIOS, error) { return nil, nil }

func (s source) CD(o *spec.Output) (*output.CD, error) {
	tree, err := s.Boot(o)
	return &output.CD{UEFI: tree}, err
}

func (source) Raw(o *spec.Output, i int) (io.ReadCloser, int64, error) {
	text := strings.Repeat("raw", 100+i)
	return io.NopCloser(strings.NewReader(text)), int64(len(text)), nil
}

func (source) Files(o *spec.Output, i int) (*rootfs.Tree, error) {
	tree := &rootfs.Tree{}
	for _, f := range o.Disk.Partitions[i].Files {
		e := rootfs.Entry{Path: f.Path[1:], Mode: 0o644, ModTime: time.Unix(1, 0)}
		above := rootfs.Dir("", 0o755)
		above.ModTime = e.ModTime
		tree.Dirs(e.Path, above)
		tree.Put(e, []byte(*f.Content))
	}
	return tree, nil
}

func (source) Boot(o *spec.Output) (*rootfs.Tree, error) {
	tree := &rootfs.Tree{}
	for _, name := range []string{".", "EFI", "EFI/BOOT"} {
		e := rootfs.Dir(name, 0o755)
		e.ModTime = time.Unix(1, 0)
		tree.Put(e, nil)
	}
	tree.Put(rootfs.Entry{Path: "EFI/BOOT/BOOTX64.EFI", Mode: 0o644, ModTime: time.Unix(1, 0)}, []byte("MZ"))
	return tree, nil
}

// params are those of tests: nothing in them is of this run but the directory.
func params(t testing.TB, dir string, jobs int) *output.Params {
	return &output.Params{
		ID: func(name string) (id [16]byte) {
			sum := sha256.Sum256([]byte(name))
			copy(id[:], sum[:])
			return id
		},
		Time: time.Unix(1, 0), Jobs: jobs, Source: source{},
		Temp: func() (output.File, error) {
			f, err := os.CreateTemp(dir, "temp")
			if err == nil {
				t.Cleanup(func() { f.Close() })
			}
			return f, err
		},
	}
}

// fill sends a root file system: some small files, some large ones, of which two are
// equal, and a hole.
func fill(s rootfs.Sink) error {
	s = rootfs.Check(s)
	stamp := time.Unix(1, 0)
	add := func(e rootfs.Entry, data io.Reader) error {
		e.ModTime = stamp
		return s.Add(e, data)
	}
	if err := errors.Join(add(rootfs.Dir(".", 0o755), nil), add(rootfs.Dir("d", 0o755), nil), add(rootfs.Link("link", "d/0"), nil)); err != nil {
		return err
	}
	for i := range 300 {
		text := strings.Repeat(fmt.Sprintf("file %d\n", i), i*i%997)
		if err := add(rootfs.Entry{Path: fmt.Sprintf("d/%d", i), Mode: 0o644, Size: int64(len(text))}, strings.NewReader(text)); err != nil {
			return err
		}
	}
	for i, seed := range []byte{1, 2, 1} {
		size := int64(200_000)
		if seed == 2 {
			size = 1<<20 + 4321
		}
		noise := io.LimitReader(rand.NewChaCha8([32]byte{seed}), size)
		if err := add(rootfs.Entry{Path: fmt.Sprintf("large%d", i), Mode: 0o755, Size: size}, noise); err != nil {
			return err
		}
	}
	return add(rootfs.Entry{Path: "hole", Mode: 0o600, Size: 2 << 20}, bytes.NewReader(make([]byte, 2<<20)))
}

// made are outputs that were written, by name.
type made map[string]string

// write writes outputs, all at once.
func write(t testing.TB, outs []spec.Output, jobs int) (made, map[string]*disk.Map) {
	t.Helper()
	dir := t.TempDir()
	files, maps := made{}, map[string]*disk.Map{}
	var sinks []rootfs.Sink
	var writers []*output.Writer
	for i := range outs {
		o := &outs[i]
		files[o.Name] = filepath.Join(dir, o.Name)
		f, err := os.Create(files[o.Name])
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		w, err := output.New(f, o, params(t, dir, jobs))
		if err != nil {
			t.Fatal(err)
		}
		writers, sinks = append(writers, w), append(sinks, w.Sinks()...)
	}
	if err := fill(rootfs.Tee(sinks...)); err != nil {
		t.Fatal(err)
	}
	for i, w := range writers {
		if err := w.Close(); err != nil {
			t.Fatalf("%s: %v", outs[i].Name, err)
		}
		maps[outs[i].Name] = w.Map()
		if st, err := os.Stat(files[outs[i].Name]); err != nil || st.Size() != w.Size() {
			t.Errorf("%s has %d bytes, and Size says %d (%v)", outs[i].Name, st.Size(), w.Size(), err)
		}
	}
	return files, maps
}

func (m made) digest(t testing.TB, name string) string {
	t.Helper()
	f, err := os.Open(m[name])
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	sum, _, err := rootfstest.Digest(f)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%x", sum[:8])
}

// everyForm has an output of each form.
const everyForm = `
  cpio: { type: cpio }
  cpio.gz: { type: cpio, compress: gzip }
  disk: { type: disk }
  disk.fixed: { type: disk, size: 64M }
  disk.gz: { type: disk, compress: gzip }
  disk.mbr: { type: disk, table: mbr }
  disk.xz: { type: disk, compress: xz }
  disk.zst: { type: disk, compress: zstd }
  erofs: { type: erofs }
  erofs.plain: { type: erofs, compress: none }
  ext4: { type: ext4 }
  ext4.rich: { type: ext4, block-size: 1K, journal: true, reserved: 5, inodes: 20000, dedupe: true, size: fit+8M }
  ext4.room: { type: ext4, size: fit+10% }
  iso: { type: iso }
  iso.erofs: { type: iso, table: mbr, efi: 8M, root: { fs: erofs } }
  iso.plain: { type: iso, table: none, label: A, efi: fit+1M }
  parts:
    type: disk
    table: hybrid
    signature: 1234abcd
    raw: [{ offset: 64K, source: a }, { offset: 0B, source: b }, { offset: 128K, source: c }]
    partitions:
      - { fs: vfat, label: ESP, in-mbr: true, files: [{ path: /EFI/a.txt, content: a }, { path: /b, content: b }] }
      - { fs: squashfs, size: 16M, number: 3 }
      - { fs: none, size: 3M, name: slot-b, attributes: [no-auto] }
      - { fs: erofs, content: rootfs, label: e }
      - { fs: ext4, content: files, size: fit+8M, files: [{ path: /x/y, content: z }] }
  qcow2: { type: disk, format: qcow2 }
  qcow2.parts:
    type: disk
    format: qcow2
    partitions: [{ fs: squashfs, size: 16M }, { fs: ext4, content: rootfs }]
  qcow2.squashfs: { type: disk, format: qcow2, partitions: [{ fs: squashfs }] }
  qcow2.zlib: { type: disk, format: qcow2, compress: zlib }
  qcow2.zstd: { type: disk, format: qcow2, compress: zstd }
  sectors: { type: disk, sector-size: 4096, partitions: [{ fs: vfat, size: 64M }, { fs: ext4 }] }
  squashfs: { type: squashfs }
  squashfs.xz: { type: squashfs, compress: xz, block-size: 64K }
  tar: { type: tar }
  tar.zst: { type: tar, compress: zstd }
  vdi: { type: disk, format: vdi }
  vhd: { type: disk, format: vhd }
  vhd-fixed: { type: disk, format: vhd-fixed }
  vhdx: { type: disk, format: vhdx }
  vmdk: { type: disk, format: vmdk }
`

// The bytes of each form are the same for any number of jobs, alone or with others.
func TestSameBytes(t *testing.T) {
	outs := parse(t, everyForm)
	together, _ := write(t, outs, 2)
	again, _ := write(t, outs, 8)
	for i, o := range outs {
		t.Run(o.Name, func(t *testing.T) {
			alone, _ := write(t, outs[i:i+1], 1)
			want := alone.digest(t, o.Name)
			if got := together.digest(t, o.Name); got != want {
				t.Errorf("with others it is %s, and alone %s", got, want)
			}
			if got := again.digest(t, o.Name); got != want {
				t.Errorf("with 8 jobs it is %s, and with one %s", got, want)
			}
		})
	}
}

// Each form of a disk is the same disk.
func TestContainers(t *testing.T) {
	qemu := testbed.Tool(t, "qemu-img")
	outs := parse(t, everyForm)
	files, _ := write(t, outs, 2)
	for name, format := range map[string]string{"qcow2": "qcow2", "qcow2.zlib": "qcow2", "qcow2.zstd": "qcow2", "vdi": "vdi", "vhd": "vpc", "vhdx": "vhdx", "vmdk": "vmdk", "vhd-fixed": "vpc"} {
		if out, err := exec.Command(qemu, "compare", "-f", "raw", "-F", format, files["disk"], files[name]).CombinedOutput(); err != nil {
			t.Errorf("%s: %v: %s", name, err, out)
		}
		if format != "vpc" && format != "vmdk" {
			if out, err := exec.Command(qemu, "check", "-f", format, files[name]).CombinedOutput(); err != nil {
				t.Errorf("%s: %v: %s", name, err, out)
			}
		}
	}
	raw, err := os.ReadFile(files["disk"])
	if err != nil {
		t.Fatal(err)
	}
	for name, tool := range map[string]string{"disk.gz": "gzip", "disk.xz": "xz", "disk.zst": "zstd"} {
		if got := testbed.Run(t, tool, "-dc", files[name]); !bytes.Equal(got, raw) {
			t.Errorf("%s holds another disk", name)
		}
	}
}

// A disk has its partitions where its table says, and they have what the spec says.
func TestPartitions(t *testing.T) {
	outs := parse(t, everyForm)
	for i := range outs {
		if outs[i].Name == "parts" {
			outs = outs[i : i+1]
			break
		}
	}
	files, maps := write(t, outs, 2)
	image := files["parts"]
	if out := string(testbed.Run(t, "sgdisk", "-v", image)); !strings.Contains(out, "No problems found") {
		t.Errorf("sgdisk says %s", out)
	}
	f, err := os.Open(image)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for at, want := range map[int64]string{64 << 10: "rawraw", 128 << 10: "rawraw"} {
		got := make([]byte, 6)
		if _, err := f.ReadAt(got, at); err != nil || string(got) != want {
			t.Errorf("at %d is %q, %v", at, got, err)
		}
	}
	judges := map[int][]string{
		1: {"fsck.vfat", "-n"}, 3: {"unsquashfs", "-l"}, 4: {"fsck.erofs"}, 5: {"e2fsck", "-fn"},
	}
	names := map[int]string{1: "ESP", 3: "nixos", 2: "slot-b", 4: "e", 5: "data"}
	for _, r := range maps["parts"].Regions {
		if r.Kind != disk.KindPartition {
			continue
		}
		if r.Name != names[r.Number] {
			t.Errorf("partition %d is called %q", r.Number, r.Name)
		}
		judge := judges[r.Number]
		if judge == nil {
			continue
		}
		part := filepath.Join(t.TempDir(), "part")
		out, err := os.Create(part)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(out, io.NewSectionReader(f, r.Start, r.End-r.Start)); err != nil {
			t.Fatal(err)
		}
		out.Close()
		testbed.Run(t, judge[0], append(judge[1:], part)...)
		if r.Number == 1 {
			if got := string(testbed.Run(t, "mtype", "-i", part, "::EFI/a.txt")); got != "a" {
				t.Errorf("the file has %q", got)
			}
		}
	}
}

// A number that is given is none for a partition before.
func TestNumbers(t *testing.T) {
	outs := parse(t, "  a: { type: disk, table: mbr, partitions: [{ fs: vfat, size: 1M }, { fs: ext4 }, { fs: none, size: 1M, number: 1 }, { fs: none, size: 1M }] }\n")
	_, maps := write(t, outs, 1)
	var got []int
	for _, r := range maps["a"].Regions {
		if r.Kind == disk.KindPartition {
			got = append(got, r.Number)
		}
	}
	if want := []int{2, 3, 1, 4}; !slices.Equal(got, want) {
		t.Errorf("the numbers are %d", got)
	}
	device := output.FindRoot(&outs[0], func(string) [16]byte { return [16]byte{} }).Device
	if !strings.HasSuffix(device, "-03") {
		t.Errorf("the root file system is on %s", device)
	}
}

// What does not fit is one error that says where.
func TestErrors(t *testing.T) {
	for text, want := range map[string]string{
		"{ type: disk, partitions: [{ fs: ext4, size: 1M }] }":                             "spec.yaml:3: outputs.a.partitions[0]: the file system needs at least 1052672 bytes, 1048576 are given",
		"{ type: disk, partitions: [{ fs: squashfs, size: 1M }] }":                         `spec.yaml:3: outputs.a.partitions[0]: partition "nixos": not enough space: `,
		"{ type: iso, efi: 5K }":                                                           "outputs.a.efi: vfat: the file system needs at least 20992 bytes, 5120 are given",
		"{ type: disk, size: 4M }":                                                         "outputs.a.partitions[0]: the file system needs at least 2105344 bytes, 2097152 are given",
		"{ type: disk, raw: [{ offset: 512B, source: a }] }":                               `spec.yaml:3: outputs.a.raw[0]: raw "a" (bytes 512 to 812) overlaps the partition table`,
		"{ type: disk, raw: [{ offset: 64K, source: a }, { offset: 65664B, source: a }] }": `spec.yaml:3: outputs.a.raw[1]: raw "a" (bytes 65664 to 65967) overlaps raw "a" (65536 to 65836)`,
		"{ type: disk, partitions: [{ fs: ext4 }, { fs: vfat, size: 1M, files: [{ path: /a, content: a }, { path: /A, content: a }] }] }": `spec.yaml:3: outputs.a.partitions[1]: "a": FAT cannot tell its name from that of "A"`,
	} {
		s := parseSpec(t, "  a: "+text+"\n")
		dir := t.TempDir()
		f, err := os.Create(filepath.Join(dir, "image"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		p := params(t, dir, 1)
		p.Spec = s
		w, err := output.New(f, &s.Outputs[0], p)
		if err == nil {
			err = fill(rootfs.Tee(w.Sinks()...))
			if err == nil {
				err = w.Close()
			}
			w.Abort()
		}
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, without %q", text, err, want)
		}
	}
}

// What is made for a partition counts in its bound, whatever its file system is.
func TestMadeMost(t *testing.T) {
	for _, fs := range []string{"vfat", "ext4"} {
		o := parse(t, "  a: { type: disk, partitions: [{ fs: "+fs+", files: [{ path: /a, content: a }] }] }\n")[0]
		x := &output.Extra{Files: []output.Files{{Made: estimate.Size{Most: 50 << 20}}}}
		s, _, err := output.Estimate(&estimate.Content{}, &o, params(t, t.TempDir(), 1), x)
		if err != nil || s.Most < 50<<20 || s.Least > 10<<20 {
			t.Errorf("%s: %+v, %v", fs, s, err)
		}
	}
}
