package disk_test

import (
	"encoding/xml"
	"flag"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"thaw/image/disk"
)

var update = flag.Bool("u", false, "rewrite the golden files")

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: is\n%s\nwant\n%s", name, got, want)
	}
}

// wellFormed checks that an SVG is XML.
func wellFormed(t *testing.T, svg string) {
	t.Helper()
	for d := xml.NewDecoder(strings.NewReader(svg)); ; {
		if _, err := d.Token(); err == io.EOF {
			return
		} else if err != nil {
			t.Fatalf("%v\n%s", err, svg)
		}
	}
}

func TestMap(t *testing.T) {
	slot := func(n byte, name string) part {
		return part{Partition: disk.Partition{Type: disk.TypeRootX86_64, GUID: guid(n), Name: name, Size: 300 * mib}}
	}
	for _, test := range []struct {
		name  string
		o     disk.Options
		raws  []disk.Raw
		parts []part
	}{
		{"ab", disk.Options{GUID: guid(9), Size: 2 << 30}, nil, []part{
			{Partition: disk.Partition{Type: disk.TypeESP, GUID: guid(1), Name: "esp", Size: 64 * mib}},
			slot(2, "root-a"), slot(3, "root-b"), {Partition: disk.Partition{Type: disk.TypeLinux, GUID: guid(4), Name: "data"}},
		}},
		{"board", disk.Options{Table: disk.MBR, Signature: 1}, []disk.Raw{{Name: "boot code", Size: 440}, {Name: "u-boot", Offset: 8192, Size: 700_001}}, []part{
			{Partition: disk.Partition{MBRType: 0x0c, Name: "firmware", Size: 32 * mib}}, {Partition: root, content: 3 * mib, end: true},
		}},
		{"hybrid", disk.Options{Table: disk.Hybrid, GUID: guid(9), SectorSize: 4096}, nil, []part{
			{Partition: disk.Partition{Type: disk.TypeESP, GUID: guid(1), Name: "esp", Size: 20 * mib, InMBR: true, Number: 2}},
			{Partition: disk.Partition{Type: "0A0B0C0D-1234-8765-90AB-0123456789EF", GUID: guid(2), Name: "<own> & \u202e\x01", Start: 40 * mib}, end: true},
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			d, err := disk.NewWriter(new(sink), test.o)
			if err != nil {
				t.Fatal(err)
			}
			if err := fill(d, test.raws, test.parts); err != nil {
				t.Fatal(err)
			}
			m := d.Map()
			golden(t, test.name+".txt", m.Text())
			golden(t, test.name+".svg", m.SVG())
			wellFormed(t, m.SVG())
		})
	}
}

// sink takes everything and keeps nothing.
type sink struct{}

func (*sink) WriteAt(p []byte, off int64) (int, error) { return len(p), nil }

// TestMapHostile draws maps that are of no disk.
func TestMapHostile(t *testing.T) {
	part := func(start, end int64) disk.Region {
		return disk.Region{Kind: disk.KindPartition, Start: start, End: end, Number: -1, Name: "\x00<\xff", Type: "<"}
	}
	var many []disk.Region
	for i := range int64(5000) {
		many = append(many, part(i, i+1))
	}
	for _, m := range []disk.Map{
		{}, {Size: -1}, {Size: math.MaxInt64}, {Size: 1, Regions: []disk.Region{part(0, 100)}}, {Size: 100, Regions: []disk.Region{part(-100, 200), part(50, 20)}},
		{Size: 100, Regions: []disk.Region{part(math.MinInt64, math.MaxInt64)}}, {Size: math.MaxInt64, Regions: []disk.Region{part(math.MaxInt64-1, math.MaxInt64)}},
		{Size: 5000, Regions: many}, {Table: 9, Size: 100, Regions: []disk.Region{part(10, 20), part(15, 30)}},
	} {
		if text := m.Text(); !utf8.ValidString(text) || strings.ContainsFunc(strings.ReplaceAll(text, "\n", ""), unicode.IsControl) {
			t.Errorf("%.300q", text)
		}
		wellFormed(t, m.SVG())
	}
}
