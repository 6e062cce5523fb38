package iso_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"thaw/image/disk"
	"thaw/image/iso"
	"thaw/image/vfat"
	"thaw/internal/testbed"
	"thaw/rootfs"
)

var le = binary.LittleEndian

var update = flag.Bool("u", false, "rewrite golden files")

var noon = time.Date(2001, 2, 3, 12, 34, 56, 780_000_000, time.UTC)

func dir(path string) rootfs.Entry {
	return rootfs.Entry{Path: path, Mode: fs.ModeDir | 0o755, ModTime: noon}
}

func file(path string, size int64) rootfs.Entry {
	return rootfs.Entry{Path: path, Mode: 0o644, ModTime: noon, Size: size}
}

// zeros are any number of zeros.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// volume is a volume being written to a file.
type volume struct {
	*iso.Writer
	t    testing.TB
	file *os.File
}

func newVolume(t testing.TB, o iso.Options) *volume {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), imageName))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	w, err := iso.NewWriter(f, o)
	if err != nil {
		t.Fatal(err)
	}
	v := &volume{w, t, f}
	v.add(dir("."), "")
	return v
}

func (v *volume) add(e rootfs.Entry, content string) {
	v.t.Helper()
	var data io.Reader
	if e.Kind() == 0 {
		e.Size = int64(len(content))
		data = strings.NewReader(content)
	}
	if err := v.Add(e, data); err != nil {
		v.t.Fatal(err)
	}
}

func (v *volume) image(m iso.Image, content []byte) {
	v.t.Helper()
	s, err := v.AddImage(m)
	if err != nil {
		v.t.Fatal(err)
	}
	if _, err := s.WriteAt(content, 0); err != nil {
		v.t.Fatal(err)
	}
	if err := s.End(int64(len(content))); err != nil {
		v.t.Fatal(err)
	}
}

// close finishes the volume and returns the path of its file.
func (v *volume) close() string {
	v.t.Helper()
	if err := v.Close(); err != nil {
		v.t.Fatal(err)
	}
	if v.Size()%2048 != 0 {
		v.t.Errorf("%d bytes are no whole number of sectors", v.Size())
	}
	if err := errors.Join(v.file.Truncate(v.Size()), v.file.Close()); err != nil {
		v.t.Fatal(err)
	}
	return v.file.Name()
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs; now it is\n%s", path, got)
	}
}

// espContent is a FAT file system with a file, which is at a place.
func espContent(t testing.TB, size int64) (_ []byte, at int64) {
	t.Helper()
	b := make(buffer, size)
	w, err := vfat.NewWriter(b, vfat.Options{Serial: 1, Size: size})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.Add(dir("."), nil), w.Add(file("loader.efi", 6), strings.NewReader("loader")), w.Close()); err != nil {
		t.Fatal(err)
	}
	at, ok := w.Place("loader.efi")
	if !ok {
		t.Fatal("there is no loader.efi")
	}
	return b, at
}

// buffer is a file of some size.
type buffer []byte

func (b buffer) WriteAt(p []byte, off int64) (int, error) { return copy(b[off:], p), nil }

// bootable is a volume with all that boots.
func bootable(t testing.TB, espSize int64, align int64) *volume {
	loader := make([]byte, 4097)
	for i := range loader {
		loader[i] = byte(i * 7)
	}
	v := newVolume(t, iso.Options{
		Label: "Boots", Time: noon, BIOS: "isolinux/isolinux.bin", Code: []byte("code of a BIOS"),
		Disk: disk.Options{Table: disk.Hybrid, GUID: disk.MakeGUID([16]byte{1}), Align: align},
	})
	v.add(dir("isolinux"), "")
	v.add(file("isolinux/isolinux.bin", 0), string(loader))
	esp, at := espContent(t, espSize)
	v.image(iso.Image{
		UEFI: true, Entry: file("efi.img", 0),
		Partition: disk.Partition{Type: disk.TypeESP, GUID: disk.MakeGUID([16]byte{2}), Name: "esp", InMBR: true},
	}, esp)
	if err := v.AddWithin(file("loader.efi", 6), "efi.img", at); err != nil {
		t.Fatal(err)
	}
	v.image(iso.Image{
		Partition: disk.Partition{Type: disk.TypeLinux, GUID: disk.MakeGUID([16]byte{3}), Name: "root"},
	}, bytes.Repeat([]byte("root"), 1000))
	v.image(iso.Image{Entry: file("plain.img", 0)}, []byte("in no partition"))
	if err := v.AddSame("same.img", "plain.img"); err != nil {
		t.Fatal(err)
	}
	v.add(file("last", 0), "content")
	return v
}

// TestBoot has tools tell what boots.
func TestBoot(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ esp, align int64 }{{1 << 20, 2048}, {1<<20 + 512, 0}, {40 << 20, 1 << 20}} {
		t.Run(fmt.Sprintf("%d-%d", test.esp, test.align), func(t *testing.T) {
			v := bootable(t, test.esp, test.align)
			path := v.close()
			golden(t, fmt.Sprintf("map-%d-%d", test.esp, test.align), []byte(v.Map().Text()))
			count := test.esp / 512
			if count > 0xffff {
				count = 0
			}
			said := string(testbed.Run(t, "xorriso", "-no_rc", "-abort_on", "WARNING", "-indev", path,
				"-report_el_torito", "plain", "-report_system_area", "plain", "-check_media", "--"))
			for _, want := range []string{
				`boot img : +1  BIOS  y   none  0x0000  0x00 +4 `,
				fmt.Sprintf(`boot img : +2  UEFI  y   none  0x0000  0x00 +%d `, count),
				`img path : +1  /isolinux/isolinux.bin`, `img opts : +1  boot-info-table`, `img path : +2  /efi.img`,
				`GPT partname local : +1  esp`, `GPT partname local : +2  root`,
			} {
				if !regexp.MustCompile(want).MatchString(said) {
					t.Errorf("xorriso does not say %q:\n%s", want, said)
				}
			}
			if said := testbed.Run(t, "sgdisk", "-v", path); !bytes.Contains(said, []byte("No problems found")) {
				t.Errorf("sgdisk says:\n%s", said)
			}
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			var table struct {
				PartitionTable struct {
					Partitions []struct{ Start, Size int64 }
				}
			}
			if err := json.Unmarshal(testbed.Run(t, "sfdisk", "-J", path), &table); err != nil {
				t.Fatal(err)
			}
			parts := table.PartitionTable.Partitions
			esp, _ := espContent(t, test.esp)
			if len(parts) != 2 || !bytes.HasPrefix(b[parts[0].Start*512:], esp) || !bytes.HasPrefix(b[parts[1].Start*512:], []byte("rootroot")) {
				t.Errorf("partitions are %+v", parts)
			}
			loader, err := exec.Command(testbed.Tool(t, "isoinfo"), "-R", "-i", path, "-x", "/isolinux/isolinux.bin").Output()
			if err != nil || len(loader) != 4097 {
				t.Fatalf("the loader has %d bytes: %v", len(loader), err)
			}
			if !bytes.HasPrefix(b, []byte("code of a BIOS\x00")) || le.Uint64(b[432:]) != 4*uint64(le.Uint32(loader[12:])) {
				t.Errorf("the code in front is % x", b[:446])
			}
			if last := testbed.Run(t, "isoinfo", "-R", "-i", path, "-x", "/same.img"); string(last) != "in no partition" {
				t.Errorf("an image that is a file is %q", last)
			}
			if within := testbed.Run(t, "isoinfo", "-R", "-i", path, "-x", "/loader.efi"); string(within) != "loader" {
				t.Errorf("a file of the FAT file system is %q", within)
			}
		})
	}
}

// TestNames shows the identifiers of names, in a golden file.
func TestNames(t *testing.T) {
	t.Parallel()
	all := []string{
		"README", "readme", "Readme", "README.", "a.b", "a_b", "a.B", "a.b.c", ".hidden", "x.y.", "file.tar.gz", "ü", "\xff\xfe", "%", "_",
		strings.Repeat("long", 20), strings.Repeat("long", 20) + "er", strings.Repeat("long", 20) + ".conf", "x." + strings.Repeat("ext", 9),
		"LDLINUX.C32", "isolinux.cfg", "abc;1", "new\nline",
	}
	var said [2][]byte
	for i := range said {
		v := newVolume(t, testOptions)
		for _, name := range all {
			v.add(file(name, 0), "x")
		}
		for _, name := range []string{"dir", "Dir", "dir.with.dots", strings.Repeat("d", 200), "a", "A"} {
			v.add(dir(name), "")
		}
		path := v.close()
		slices.Reverse(all)
		said[i] = regexp.MustCompile(`\[ *\d+ 0\d\]`).ReplaceAll(testbed.Run(t, "isoinfo", "-l", "-i", path), []byte("[]"))
	}
	if !bytes.Equal(said[0], said[1]) {
		t.Errorf("identifiers depend on the order of entries:\n%s\n%s", said[0], said[1])
	}
	golden(t, "names", said[0])
}

// TestExtents has a file of more than 4 GiB, of zeros.
func TestExtents(t *testing.T) {
	t.Parallel()
	v := newVolume(t, testOptions)
	for _, size := range []int64{1<<32 - 2048, 1<<32 - 2047} {
		if err := v.Add(file(fmt.Sprint(size), size), zeros{}); err != nil {
			t.Fatal(err)
		}
	}
	said := testbed.Run(t, "xorriso", "-no_rc", "-indev", v.close(), "-find", "/", "-type", "f", "-sort_lba", "-exec", "report_lba", "--")
	got := strings.Join(regexp.MustCompile(`(?m)^File.*$`).FindAllString(string(said), -1), "\n")
	const want = `File data lba:  0 ,       20 ,  2097151 , 4294965248 , '/4294965248'
File data lba:  0 ,  2097171 ,  2097151 , 4294965249 , '/4294965249'
File data lba:  1 ,  4194322 ,        1 , 4294965249 , '/4294965249'`
	if got != want {
		t.Errorf("xorriso says\n%s", got)
	}
}

// TestManyDirectories has more than a path table can list.
func TestManyDirectories(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("SKIPPED: isoinfo takes some seconds to find a file among so many")
	}
	v := newVolume(t, testOptions)
	const n = 66_000
	for i := range n {
		if i%300 == 0 {
			v.add(dir(fmt.Sprint("d", i/300)), "")
		}
		v.add(dir(fmt.Sprintf("d%d/%d", i/300, i)), "")
	}
	v.add(file("d219/65999/file", 0), "far")
	path := v.close()
	if far := testbed.Run(t, "isoinfo", "-R", "-i", path, "-x", "/d219/65999/file"); string(far) != "far" {
		t.Errorf("the last directory has %q", far)
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	gpt := disk.Options{GUID: disk.MakeGUID([16]byte{1})}
	part := disk.Partition{Type: disk.TypeESP, GUID: disk.MakeGUID([16]byte{2}), Name: "esp"}
	for _, test := range []struct {
		name string
		o    iso.Options
		do   func(w *iso.Writer) error
		want string
	}{
		{"label", iso.Options{Label: strings.Repeat("x", 33)}, nil, `iso: label "x{33}": up to 32`},
		{"label of bytes", iso.Options{Label: "ü"}, nil, `iso: label "ü": up to 32`},
		{"time", iso.Options{Time: time.Date(2156, 1, 1, 0, 0, 0, 0, time.UTC)}, nil, `iso: time 2156.*: from 1900 to 2155`},
		{"loader's path", iso.Options{BIOS: "/x"}, nil, `iso: "/x", which a BIOS is to boot, is not`},
		{"code alone", iso.Options{Code: []byte("x")}, nil, `iso: code for a BIOS needs`},
		{"long code", iso.Options{Code: make([]byte, 433)}, nil, `iso: code for a BIOS has 433 bytes, at most 432`},
		{"GUID", iso.Options{Disk: disk.Options{Signature: 1}}, nil, `iso: disk: a GUID is missing`},
		{"disk's size", iso.Options{Disk: disk.Options{GUID: gpt.GUID, Size: 1 << 20}}, nil, `iso: the disk has a size of its own`},
		{"sector", iso.Options{Disk: disk.Options{GUID: gpt.GUID, SectorSize: 4096}}, nil, `iso: the disk has .* sectors of 4096 bytes`},
		{"alignment", iso.Options{Disk: disk.Options{GUID: gpt.GUID, Align: 512}}, nil, `iso: the disk's alignment 512 is less`},
		{"no root", iso.Options{}, func(w *iso.Writer) error { return w.Close() }, `iso: no root directory`},
		{"no loader", iso.Options{BIOS: "x"}, func(w *iso.Writer) error {
			return errors.Join(w.Add(dir("."), nil), w.Close())
		}, `iso: "x", which a BIOS is to boot, was not added as a file`},
		{"short loader", iso.Options{BIOS: "x"}, func(w *iso.Writer) error {
			return errors.Join(w.Add(dir("."), nil), w.Add(file("x", 63), zeros{}))
		}, `"x": a BIOS is to boot it, and it has 63 bytes, not 64 to`},
		{"huge file", iso.Options{}, func(w *iso.Writer) error {
			return errors.Join(w.Add(dir("."), nil), w.Add(file("x", iso.MaxFile+1), zeros{}))
		}, `"x": Linux reads no file of 429496524801 bytes`},
		{"device", iso.Options{}, func(w *iso.Writer) error {
			e := rootfs.Entry{Path: "x", Mode: fs.ModeDevice, Dev: rootfs.Mkdev(0, 256), ModTime: noon}
			return errors.Join(w.Add(dir("."), nil), w.Add(e, nil))
		}, `"x": Linux reads no device number 0:256`},
		{"no table", iso.Options{}, func(w *iso.Writer) error {
			_, err := w.AddImage(iso.Image{Partition: part})
			return err
		}, `iso: partition "esp": the volume has no partition table`},
		{"place", iso.Options{Disk: gpt}, func(w *iso.Writer) error {
			part := part
			part.Size = 1 << 20
			_, err := w.AddImage(iso.Image{Partition: part})
			return err
		}, `iso: partition "esp": its place is given`},
		{"image that is a link", iso.Options{}, func(w *iso.Writer) error {
			_, err := w.AddImage(iso.Image{Entry: rootfs.Entry{Path: "x", Mode: fs.ModeSymlink | 0o777, Target: "y", ModTime: noon}})
			return err
		}, `"x": is an image, and no regular file`},
		{"image without a parent", iso.Options{}, func(w *iso.Writer) error {
			_, err := w.AddImage(iso.Image{Entry: file("x/y", 0)})
			return err
		}, `"x/y": comes before its parent "x"`},
		{"image that is the root", iso.Options{}, func(w *iso.Writer) error {
			_, err := w.AddImage(iso.Image{Entry: file(".", 0)})
			return err
		}, `".": the root is not a directory`},
		{"image that is there", iso.Options{}, func(w *iso.Writer) error {
			err := errors.Join(w.Add(dir("."), nil), w.Add(dir("x"), nil))
			_, err2 := w.AddImage(iso.Image{Entry: file("x", 0)})
			return errors.Join(err, err2)
		}, `"x": comes twice`},
		{"entry in place of an image", iso.Options{}, func(w *iso.Writer) error {
			err := w.Add(dir("."), nil)
			s, err2 := w.AddImage(iso.Image{Entry: file("x", 0)})
			return errors.Join(err, err2, s.End(1), w.Add(dir("x"), nil))
		}, `"x": comes twice, once as an image`},
		{"open image", iso.Options{}, func(w *iso.Writer) error {
			_, err := w.AddImage(iso.Image{})
			return errors.Join(err, w.Add(dir("."), nil))
		}, `iso: the image added before has no end yet`},
		{"open image at the end", iso.Options{}, func(w *iso.Writer) error {
			err := w.Add(dir("."), nil)
			_, err2 := w.AddImage(iso.Image{})
			return errors.Join(err, err2, w.Close())
		}, `iso: the image added before has no end yet`},
		{"empty image", iso.Options{}, func(w *iso.Writer) error {
			s, err := w.AddImage(iso.Image{})
			return errors.Join(err, s.End(0))
		}, `iso: an image of 0 bytes`},
		{"image ended twice", iso.Options{}, func(w *iso.Writer) error {
			s, err := w.AddImage(iso.Image{})
			return errors.Join(err, s.End(1), s.End(1))
		}, `iso: an image is ended twice`},
		{"second image for UEFI", iso.Options{}, func(w *iso.Writer) error {
			s, err := w.AddImage(iso.Image{UEFI: true})
			err = errors.Join(err, s.End(1))
			_, err2 := w.AddImage(iso.Image{UEFI: true})
			return errors.Join(err, err2)
		}, `iso: a second image for UEFI`},
		{"beyond an image", iso.Options{}, func(w *iso.Writer) error {
			s, err := w.AddImage(iso.Image{})
			err = errors.Join(err, s.End(5))
			_, err2 := s.WriteAt([]byte("xx"), 4)
			return errors.Join(err, err2)
		}, `iso: not enough space: this image has up to 5 bytes`},
		{"file in no image", iso.Options{}, func(w *iso.Writer) error {
			return errors.Join(w.Add(dir("."), nil), w.Add(file("x", 0), strings.NewReader("")), w.AddWithin(file("y", 0), "x", 0))
		}, `"y": "x" is no image added before`},
		{"file beyond an image", iso.Options{}, within(file("y", 6001), 0), `"y": 6001 bytes from 0 on are not in "x", which has 6000`},
		{"file far beyond an image", iso.Options{}, within(file("y", 1), math.MaxInt64), `"y": 1 bytes from 9223372036854775807 on are not in "x"`},
		{"file in front of an image", iso.Options{}, within(file("y", 1), -2048), `"y": 1 bytes from -2048 on are not in "x"`},
		{"file within a sector", iso.Options{}, within(file("y", 1), 512), `"y": it lies at 512 in "x", where no sector of 2048`},
		{"file in place of its image", iso.Options{}, within(file("x", 1), 0), `"x": comes twice`},
		{"directory in an image", iso.Options{}, within(dir("y"), 0), `"y": is an image, and no regular file`},
		{"partitions alike", iso.Options{Disk: gpt}, func(w *iso.Writer) error {
			err := w.Add(dir("."), nil)
			for range 2 {
				s, err2 := w.AddImage(iso.Image{Partition: part})
				err = errors.Join(err, err2, s.End(1))
			}
			return errors.Join(err, w.Close())
		}, `partition "esp": GUID .* is another partition's`},
	} {
		t.Run(test.name, func(t *testing.T) {
			w, err := iso.NewWriter(nowhere{}, test.o)
			if err == nil && test.do != nil {
				err = test.do(w)
			}
			if err == nil || !regexp.MustCompile("^"+test.want).MatchString(err.Error()) {
				t.Errorf("the error is %v", err)
			}
		})
	}
}

// within adds an entry whose content lies in an image.
func within(e rootfs.Entry, off int64) func(w *iso.Writer) error {
	return func(w *iso.Writer) error {
		err := w.Add(dir("."), nil)
		s, err2 := w.AddImage(iso.Image{Entry: file("x", 0)})
		return errors.Join(err, err2, s.End(6000), w.AddWithin(e, "x", off))
	}
}

type nowhere struct{}

func (nowhere) WriteAt(p []byte, off int64) (int, error) { return len(p), nil }
