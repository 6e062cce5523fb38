package kmod

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"thaw/internal/testbed"
	"thaw/nar"
	"thaw/narinfo"
)

var small = Lists{
	Dep: []byte(`kernel/virtio/virtio_ring.ko.xz:
kernel/virtio/virtio.ko.xz: kernel/virtio/virtio_ring.ko.xz
kernel/block/virtio-blk.ko.xz: kernel/virtio/virtio.ko.xz kernel/virtio/virtio_ring.ko.xz
kernel/fs/btrfs.ko.xz: kernel/lib/crc.ko.xz
kernel/lib/crc.ko.xz:
kernel/crypto/sha-fast.ko.xz:
kernel/crypto/sha-slow.ko.xz:
kernel/vfio.ko.xz:
kernel/vfio-iommu.ko.xz: kernel/vfio.ko.xz
kernel/loop-a.ko: kernel/loop-b.ko
kernel/loop-b.ko: kernel/loop-a.ko
kernel/broken.ko: kernel/gone.ko
`),
	Softdep: []byte(`# from the modules themselves
softdep btrfs pre: sha-256
softdep btrfs pre: nowhere crypto-crc32c
softdep vfio ignored post: vfio_iommu vfio_other
softdep unknown pre: btrfs
softdep crc
`),
	Alias: []byte(`alias sha-256 sha_fast
alias sha-256 sha-slow
alias crypto-sha* sha_slow
alias virtio:d00000002v* virtio_blk
alias odd
alias pci:v0000[8-A]* virtio_blk
alias pci:* gone
`),
	Builtin:        []byte("kernel/fs/ext4.ko\nkernel/crypto/crc32c_generic.ko\nkernel/lib/sha-256.ko\n"),
	BuiltinModinfo: []byte("ext4.license=GPL\x00ext4.alias=fs-ext4\x00crc32c_generic.alias=crypto-crc32c\x00alias=\x00"),
}

func TestResolve(t *testing.T) {
	x, err := New(small)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ names, want string }{
		{"virtio_blk", "virtio/virtio_ring.ko.xz virtio/virtio.ko.xz block/virtio-blk.ko.xz"},
		{"virtio-blk", "virtio/virtio_ring.ko.xz virtio/virtio.ko.xz block/virtio-blk.ko.xz"},
		{"virtio virtio_ring virtio-blk", "virtio/virtio_ring.ko.xz virtio/virtio.ko.xz block/virtio-blk.ko.xz"},
		{"virtio:d00000002v00001AF4", "virtio/virtio_ring.ko.xz virtio/virtio.ko.xz block/virtio-blk.ko.xz"},
		{"pci:v00009", "virtio/virtio_ring.ko.xz virtio/virtio.ko.xz block/virtio-blk.ko.xz"},
		{"btrfs", "lib/crc.ko.xz crypto/sha-fast.ko.xz crypto/sha-slow.ko.xz fs/btrfs.ko.xz"},
		{"sha-256", "crypto/sha-fast.ko.xz crypto/sha-slow.ko.xz"},
		{"crypto-sha1", "crypto/sha-slow.ko.xz"},
		{"vfio", "vfio.ko.xz vfio-iommu.ko.xz"},
		{"vfio_iommu", "vfio.ko.xz vfio-iommu.ko.xz"},
		{"ext4 fs-ext4 crypto_crc32c", ""},
		{"loop_a", "loop-b.ko loop-a.ko"},
		{"", ""},
		{"broken", "error: modules.dep: module broken needs gone, which is not in the list"},
		{"virtioblk", `error: the kernel has no module "virtioblk" (near it: virtio_blk, virtio)`},
		{"iommu", `error: the kernel has no module "iommu" (near it: vfio_iommu)`},
		{"pci:x", `error: the kernel has no module "pci:x"`},
		{"../../etc/passwd", `error: the kernel has no module "../../etc/passwd"`},
	} {
		modules, err := x.Resolve(strings.Fields(c.names)...)
		files := paths(modules)
		got := strings.ReplaceAll(strings.Join(files, " "), "kernel/", "")
		if err != nil {
			got = "error: " + err.Error()
		}
		if got != c.want {
			t.Errorf("%s: %s, want %s", c.names, got, c.want)
		}
		var unknown *UnknownError
		if c.names != "" && c.names != "broken" && x.Has(strings.Fields(c.names)[0]) == errors.As(err, &unknown) {
			t.Errorf("%s: Has does not say the same as Resolve: %v", c.names, err)
		}
	}
}

func paths(modules []Module) (files []string) {
	for _, m := range modules {
		files = append(files, m.File)
	}
	return files
}

func TestBadLists(t *testing.T) {
	var many, names bytes.Buffer
	for n := range maxModules + 1 {
		fmt.Fprintf(&many, "%d.ko:\n", n)
	}
	names.WriteString("softdep 1 pre:")
	for n := range maxLookups + 1 {
		fmt.Fprintf(&names, " x%d", n)
	}
	for _, c := range []struct {
		lists Lists
		want  string
	}{
		{Lists{Dep: []byte("a.ko:\nb.ko\n")}, "modules.dep:2: no colon behind the name of a file"},
		{Lists{Dep: []byte("../a.ko:\n")}, `modules.dep:1: "../a.ko" is not a path below the list's directory`},
		{Lists{Dep: []byte("/lib/modules/6.1/a.ko:\n")}, `modules.dep:1: "/lib/modules/6.1/a.ko" is not a path below the list's directory`},
		{Lists{Dep: many.Bytes()}, "modules.dep:100001: more than 100000 modules"},
		{Lists{Softdep: []byte("\nsoftdep\n")}, "modules.softdep:2: want: softdep MODULE pre: MODULE… post: MODULE…"},
		{Lists{Alias: make([]byte, MaxList+1)}, "modules.alias has 8388609 bytes, and 8388608 are the most that is read"},
		{Lists{Dep: []byte("1.ko:\n"), Softdep: names.Bytes()}, "modules.softdep: more than 4096 names that are not those of files"},
	} {
		x, err := New(c.lists)
		if err == nil {
			_, err = x.Resolve("1")
		}
		if err == nil || err.Error() != c.want {
			t.Errorf("%v, want %s", err, c.want)
		}
	}
}

func TestMatch(t *testing.T) {
	for _, c := range []struct {
		pattern, name string
		want          bool
	}{
		{"", "", true}, {"*", "", true}, {"*", "a/b", true}, {"a*c", "abbc", true}, {"a*c", "abcb", false},
		{"*a*b*", "xaxbx", true}, {"*a*b*", "xbxax", false}, {"?", "", false}, {"?", "/", true}, {"a", "ab", false},
		{"[ab]", "b", true}, {"[!ab]", "b", false}, {"[^ab]", "c", true}, {"[a-c]x", "bx", true}, {"[]]", "]", true},
		{"[a", "[a", true}, {"[", "[", true}, {`\*`, "*", true}, {`\*`, "a", false}, {`\`, `\`, true},
		{strings.Repeat("*a", 50), strings.Repeat("a", 5000) + "b", false},
	} {
		if got := match(c.pattern, c.name); got != c.want {
			t.Errorf("%q %q: %v", c.pattern, c.name, got)
		}
	}
}

// TestModprobe holds what is resolved against what modprobe would load, on the
// lists of a real kernel.
func TestModprobe(t *testing.T) {
	const sample = 6 // one module in so many
	version, files := realLists(t)
	root := t.TempDir()
	dir := filepath.Join(root, "lib/modules", version)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for line := range strings.Lines(string(files[DepFile])) { // modprobe passes over what is not there
		file, _, _ := strings.Cut(line, ":")
		file = filepath.Join(dir, file)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, nil, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	lists := Lists{Dep: files[DepFile], Alias: files[AliasFile], Builtin: files[BuiltinFile], BuiltinModinfo: files[BuiltinModinfoFile]}
	// Of several lines about one module modprobe heeds the first.
	first := map[string]bool{}
	for line := range strings.Lines(string(files[SoftdepFile])) {
		if f := strings.Fields(line); f[0] == "softdep" && !first[f[1]] {
			first[f[1]] = true
			lists.Softdep = append(lists.Softdep, line...)
		}
	}
	x, err := New(lists)
	if err != nil {
		t.Fatal(err)
	}
	names := []string{"crc32", "crypto-sha256", "vfio", "btrfs", "xfs", "virtio:d00000002v00001AF4", "fs-ext4", "xt_LOG", "ksmbd"}
	for n, name := range slices.Sorted(maps.Keys(x.modules)) {
		if n%sample == 0 {
			names = append(names, name)
		}
	}
	modprobe, empty := testbed.Tool(t, "modprobe"), t.TempDir() // of settings
	for _, name := range names {
		out, err := exec.Command(modprobe, "-C", empty, "-D", "-d", root, "-S", version, name).CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", name, err, out)
		}
		var want []string
		for line := range strings.Lines(string(out)) {
			file, ok := strings.CutPrefix(strings.TrimSpace(line), "insmod "+dir+"/")
			if ok && !slices.Contains(want, file) {
				want = append(want, file)
			}
		}
		modules, err := x.Resolve(name)
		got := paths(modules)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %v, %v; modprobe loads %v", name, got, err, want)
		}
	}
}

// realLists returns the lists of the kernel in the large caches, by their names.
func realLists(t *testing.T) (version string, files map[string][]byte) {
	cache := testbed.Dir(t, "caches/xz")
	closure, err := os.ReadFile(testbed.Dir(t, "caches/lists/system.closure"))
	if err != nil {
		t.Fatal(err)
	}
	object := regexp.MustCompile(`/nix/store/(\w+)-linux-[\d.]+-cloud-modules\n`).FindSubmatch(closure)
	if object == nil {
		t.Fatal("no modules in the list")
	}
	text, err := os.ReadFile(filepath.Join(cache, string(object[1])+".narinfo"))
	if err != nil {
		t.Fatal(err)
	}
	info, err := narinfo.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	files = map[string][]byte{}
	r := nar.NewReader(bytes.NewReader(testbed.Run(t, "xz", "-dc", filepath.Join(cache, info.URL))))
	for {
		h, err := r.Next()
		if err == io.EOF {
			return version, files
		}
		if err != nil {
			t.Fatal(err)
		}
		if dir, name := path.Split(h.Path); strings.HasPrefix(name, "modules.") {
			version = path.Base(dir)
			if files[name], err = io.ReadAll(r); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// FuzzNew resolves all that hostile lists name.
func FuzzNew(f *testing.F) {
	f.Add(small.Dep, small.Softdep, small.Alias, small.Builtin, small.BuiltinModinfo)
	f.Fuzz(func(t *testing.T, dep, softdep, alias, builtin, modinfo []byte) {
		x, err := New(Lists{dep, softdep, alias, builtin, modinfo})
		if err != nil {
			return
		}
		for name := range x.modules {
			modules, _ := x.Resolve(name)
			files := paths(modules)
			sorted := slices.Sorted(slices.Values(files))
			if len(slices.Compact(sorted)) != len(files) {
				t.Errorf("%q: a file twice: %q", name, files)
			}
		}
		_, _ = x.Resolve(string(alias))
	})
}
