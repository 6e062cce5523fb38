package output_test

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"thaw/estimate"
	"thaw/narinfo"
	"thaw/output"
	"thaw/storepath"
)

// object is a store object with a NAR of so many bytes.
func object(t testing.TB, size int64) *narinfo.Info {
	t.Helper()
	p, err := storepath.New(strings.Repeat("0", 32), "o")
	if err != nil {
		t.Fatal(err)
	}
	return &narinfo.Info{StorePath: p, NarSize: size, Compression: "none"}
}

// What cannot be as large as it might be, is as large as there is room for it: no disk
// is said to have at most 512 PiB.
func TestMost(t *testing.T) {
	const mib = 1 << 20
	blob := estimate.Size{Least: 1, Likely: 60 * mib, Most: 60 * mib} // a file in a store path
	for spec, test := range map[string]struct {
		raw    []estimate.Size
		likely int64 // 0 for any
		most   int64
	}{
		"raw: [{ offset: 24K, source: a }], partitions: [{ fs: none, size: 1M }]":                                                                           {[]estimate.Size{blob}, 3 * mib, 3 * mib},
		"raw: [{ offset: 8M, source: a }], partitions: [{ fs: none, size: 1M }]":                                                                            {[]estimate.Size{blob}, 69 * mib, 69 * mib},
		"raw: [{ offset: 8M, source: a }, { offset: 24K, source: b }], partitions: [{ fs: none, size: 1M }]":                                                {[]estimate.Size{blob, blob}, 69 * mib, 69 * mib},
		"size: 64M, raw: [{ offset: 8M, source: a }], partitions: [{ fs: none, size: 1M }]":                                                                 {[]estimate.Size{blob}, 64 * mib, 64 * mib},
		"raw: [{ offset: 24M, source: a }], partitions: [{ fs: ext4 }]":                                                                                     {[]estimate.Size{{Least: 1, Likely: 1, Most: 1}}, 25 * mib, 25 * mib},
		"raw: [{ offset: 24M, source: a }], partitions: [{ fs: ext4 }, { fs: none, size: 1M }]":                                                             {[]estimate.Size{{Least: 1, Likely: 1, Most: 1}}, 25 * mib, 25 * mib},
		"size: 64M, partitions: [{ fs: ext4, size: fit }]":                                                                                                  {nil, 64 * mib, 64 * mib},
		"table: mbr, partitions: [{ fs: erofs, compress: none }, { fs: none, size: 1M }]":                                                                   {nil, 0, 512 * (1<<32 - 1)},
		"table: mbr, raw: [{ offset: 24M, source: a }], partitions: [{ fs: none, size: 1M }, { fs: ext4, content: empty, size: fit+1G, label: e }]":         {[]estimate.Size{blob}, -1, 0},
		"table: mbr, size: 2G, raw: [{ offset: 24M, source: a }], partitions: [{ fs: none, size: 1M }, { fs: ext4, content: empty, size: 100M, label: e }]": {[]estimate.Size{blob}, -1, 0},
	} {
		size := int64(200 * mib)
		if strings.Contains(spec, "mbr") {
			size = 200 << 30
		}
		o := parse(t, "  a: { type: disk, "+spec+" }\n")[0]
		x := &output.Extra{Raw: test.raw, Files: make([]output.Files, 3)}
		c := &estimate.Content{Objects: []*narinfo.Info{object(t, size)}}
		s, _, err := output.Estimate(c, &o, params(t, t.TempDir(), 1), x)
		if test.likely < 0 {
			if err == nil || strings.Contains(err.Error(), "\n") {
				t.Errorf("%s: %+v, %v", spec, s, err)
			}
			continue
		}
		if err != nil || s.Most != test.most || test.likely > 0 && s.Likely != test.likely || s.Least > s.Likely {
			t.Errorf("%s: %+v, %v; want at most %d", spec, s, err, test.most)
		}
	}
}

// What a build refuses whatever the content is, an estimate does, too.
func TestRefused(t *testing.T) {
	for spec, want := range map[string]string{
		"{ type: disk, partitions: [{ fs: ext4, size: 1M, journal: true }] }":    "outputs.a.partitions[0]: the file system needs at least ",
		"{ type: ext4, size: 300K }":                                             "outputs.a: the file system needs at least ",
		"{ type: ext4, inodes: 12 }":                                             "outputs.a: the file system needs 13 inodes, 12 are given",
		"{ type: disk, partitions: [{ fs: vfat, size: 1M, bits: 32 }] }":         "outputs.a.partitions[0]: vfat: FAT32 with clusters of 512 bytes: ",
		"{ type: disk, size: 4G, partitions: [{ fs: vfat, bits: 12 }] }":         "outputs.a.partitions[0]: vfat: FAT12 with clusters of 32768 bytes has at most ",
		"{ type: disk, format: vhd, size: 3T }":                                  "outputs.a: a disk of 3298534883328 bytes: the format vhd has up to 2190433320960",
		"{ type: disk, format: vhd-fixed, partitions: [{ fs: none, size: 3T }]}": "outputs.a: a disk of 3298536980480 bytes: the format vhd-fixed has up to 2190433320960",
		"{ type: disk, partitions: [{ fs: vfat, size: 24K, files: [{ path: /a, content: " + strings.Repeat("a", 7000) + " }] }], align: 512B }": "outputs.a.partitions[0]: the file system needs at least ",
	} {
		s := parseSpec(t, "  a: "+spec+"\n")
		o := &s.Outputs[0]
		p := params(t, t.TempDir(), 1)
		p.Spec = s
		x := &output.Extra{Files: make([]output.Files, 1)}
		if o.Disk != nil && len(o.Disk.Partitions[0].Files) > 0 {
			x.Files[0].Tree, _ = source{}.Files(o, 0)
		}
		_, _, err := output.Estimate(&estimate.Content{}, o, p, x)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%.100s: %v, without %q", spec, err, want)
		}
	}
}

// A FAT file system says where on the disk it is, as far as it has bits for that.
func TestHidden(t *testing.T) {
	for size, want := range map[string]uint32{"1M": 4096, "1T": 1<<31 + 2048, "2097150M": 1<<32 - 2048, "2097151M": 0, "3T": 0} {
		o := parse(t, "  a: { type: disk, partitions: [{ fs: none, size: "+size+" }, { fs: vfat, size: 1M }] }\n")[0]
		f, err := os.Create(filepath.Join(t.TempDir(), "image"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		w, err := output.New(f, &o, params(t, "", 1))
		if err == nil {
			err = w.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
		start := int64(0)
		for _, r := range w.Map().Regions {
			if r.Number == 2 {
				start = r.Start
			}
		}
		boot := make([]byte, 512)
		if _, err := f.ReadAt(boot, start); err != nil {
			t.Fatal(err)
		}
		if got := binary.LittleEndian.Uint32(boot[28:]); got != want {
			t.Errorf("behind %s, at %d: %d, want %d", size, start, got, want)
		}
	}
}
