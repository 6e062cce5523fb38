package thaw

import (
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"thaw/internal/testbed"
)

// layers is the table of who may import whom, read bottom-up: a package and the
// packages of this module that it may import. The standard library and the
// modules in go.mod are free. A package without a row is an error.
var layers = map[string][]string{
	// 0: they stand alone.
	"storepath":           nil,
	"nixhash":             nil,
	"nar":                 nil,
	"xz":                  {"internal/crew"},
	"rootfs":              nil,
	"config":              nil,
	"examples":            nil,
	"internal/anatomy":    {"xz"},
	"internal/atomicfile": nil,
	"internal/compress":   nil,
	"internal/decompress": {"internal/ahead", "internal/crew", "xz"},
	"internal/keylock":    nil,
	"internal/ahead":      nil,
	"internal/crew":       nil,
	"internal/names":      {"rootfs"},
	"internal/sparse":     nil,
	"internal/testbed":    nil,
	"internal/treemap":    nil,
	"internal/zstdframe":  nil,
	"rootfs/rootfstest":   {"rootfs"},
	"image/raw/rawtest":   {"image/raw", "internal/testbed"},

	// 1: what a file means.
	"narinfo":        {"storepath", "nixhash"},
	"fhs":            {"rootfs", "storepath"},
	"boot/kmod":      nil,
	"boot/probe":     nil,
	"boot/syslinux":  nil,
	"boot/uki":       nil,
	"image/cpio":     {"rootfs"},
	"image/dir":      {"rootfs"},
	"image/disk":     nil,
	"image/erofs":    {"rootfs", "internal/names"},
	"image/ext4":     {"rootfs", "internal/names"},
	"image/iso":      {"rootfs", "image/disk", "internal/names", "internal/sparse"},
	"image/oci":      {"rootfs", "image/tarball", "internal/compress"},
	"image/qcow2":    {"image/raw"},
	"image/raw":      {"internal/compress"},
	"image/squashfs": {"rootfs", "internal/names", "internal/zstdframe"},
	"image/tarball":  {"rootfs"},
	"image/unwrap":   {"image/raw", "internal/decompress"},
	"image/vdi":      {"image/raw"},
	"image/vfat":     {"rootfs", "internal/names", "internal/sparse"},
	"image/vhd":      {"image/raw"},
	"image/vhdx":     {"image/raw"},
	"image/vmdk":     {"image/raw"},
	"device":         {"image/raw", "image/unwrap", "internal/anatomy"},
	"lock":           {"narinfo", "nixhash", "storepath"},
	"nixdb":          {"rootfs", "narinfo", "storepath", "nixhash"},

	// A machine for tests.
	"internal/testkernel": {"image/cpio", "internal/testbed", "nar", "narinfo", "rootfs"},

	// A server for tests, of narinfos and NARs that are wrong on purpose.
	"internal/faultserver": {"narinfo", "nixhash", "storepath"},

	// 2: where it comes from.
	"boot/initrd": {"boot/kmod", "internal/decompress", "rootfs"},
	"boot/loader": {"boot/uki", "rootfs"},
	"closure":     {"narinfo", "storepath"},
	"layering":    {"narinfo", "storepath"},
	"estimate":    {"narinfo", "rootfs", "storepath", "image/cpio", "image/erofs", "image/ext4", "image/squashfs"},
	"substituter": {"narinfo", "storepath", "nixhash", "internal/ahead", "internal/atomicfile", "internal/decompress", "internal/keylock"},

	// Where it goes to.
	"image/oci/registry": {"image/oci"},

	// 3: what becomes of it. assemble imports no image format: it knows
	// rootfs.Sink alone.
	"assemble":   {"closure", "substituter", "narinfo", "nar", "fhs", "nixdb", "rootfs", "storepath"},
	"spec":       {"storepath", "nixhash", "narinfo", "image/disk"},
	"output":     {"spec", "rootfs", "internal/compress", "estimate", "narinfo", "boot/syslinux", "image/cpio", "image/disk", "image/erofs", "image/ext4", "image/iso", "image/oci", "image/qcow2", "image/raw", "image/squashfs", "image/tarball", "image/vdi", "image/vfat", "image/vhd", "image/vhdx", "image/vmdk"},
	"overlay":    {"spec", "rootfs"},
	"resolve":    {"spec", "substituter", "narinfo", "nar", "internal/decompress", "storepath"},
	"localstore": {"assemble", "substituter", "narinfo", "nar", "nixhash", "rootfs", "storepath", "image/dir"},

	// 4: the only package that prints or exits.
	"cmd/thaw": {"*"},
}

func TestLayers(t *testing.T) {
	out := testbed.Run(t, "go", "list", "-json=ImportPath,Imports", "./...")
	seen := map[string]bool{}
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var pkg struct {
			ImportPath string
			Imports    []string
		}
		if err := dec.Decode(&pkg); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		name, ok := strings.CutPrefix(pkg.ImportPath, "thaw/")
		if !ok {
			continue // the root, which holds this test
		}
		if strings.HasPrefix(name, "benchmarks/") {
			continue // programs that measure; nothing imports them
		}
		seen[name] = true
		allowed, ok := layers[name]
		if !ok {
			t.Errorf("package %s has no row in the table", name)
		}
		for _, path := range pkg.Imports {
			imp, ours := strings.CutPrefix(path, "thaw/")
			if ours && !slices.Contains(allowed, imp) && !slices.Contains(allowed, "*") {
				t.Errorf("%s imports %s, which its layer does not allow", name, imp)
			}
		}
	}
	for name := range layers {
		if !seen[name] {
			t.Errorf("the table has a row for %s, which is not there", name)
		}
	}
}
