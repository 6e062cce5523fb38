package substituter

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	fault "thaw/internal/faultserver"
	"thaw/internal/testbed"
	"thaw/narinfo"
	"thaw/storepath"
)

// The directory is a binary cache, for thaw and for Nix.
func TestDirectoryIsACache(t *testing.T) {
	tiny := testbed.Root(t) + "/testdata/caches/tiny"
	t.Setenv("HOME", t.TempDir()) // Nix keeps what it knows of caches there
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	for _, codec := range []string{"br", "bzip2", "compress", "gzip", "lz4", "lzip", "lzma", "xz", "zstd"} {
		files := fault.Load(t, tiny+"/cache-"+codec)
		server := fault.New(t, files)
		dir := t.TempDir()
		r := newRig(t, dir, server.URL)
		r.Keys = readKeys(t, tiny+"/test-cache-1.pub")
		r.Next.Caches[0].Keys = r.Keys
		var paths []string
		for name, text := range files {
			if !strings.HasSuffix(name, ".narinfo") {
				continue
			}
			want, err := narinfo.Parse(text)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := r.get(t, want.StorePath); err != nil {
				t.Fatalf("%s: %v", codec, err)
			}
			paths = append(paths, want.StorePath.String())
			// Signatures and all that they cover are as served.
			stored, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			got, err := narinfo.Open(stored, want.StorePath, r.Keys)
			if err != nil || !bytes.Equal(got.Fingerprint(), want.Fingerprint()) || len(got.Sigs) != len(want.Sigs) || got.Compression != "none" {
				t.Errorf("%s: %s\n%v", codec, stored, err)
			}
		}
		if w, _, _ := r.got(); len(w) > 0 {
			t.Errorf("%s: warnings %q", codec, w)
		}
		if codec == "xz" {
			testbed.Run(t, "nix", append([]string{"--extra-experimental-features", "nix-command", "--store", "file://" + dir, "store", "verify",
				"--no-trust"}, paths...)...)
		}
	}
}

// A damaged object is noticed when it is read, and fetched again.
func TestDamageHeals(t *testing.T) {
	files := subjectCache("zstd")
	p := fault.Path(subject)
	for name, damage := range map[string]func(nar string) error{
		"flipped": func(nar string) error {
			b, err := os.ReadFile(nar)
			b[len(b)/2] ^= 1
			return errors.Join(err, os.WriteFile(nar, b, 0o644))
		},
		"cut":   func(nar string) error { return os.Truncate(nar, 1000) },
		"empty": func(nar string) error { return os.Truncate(nar, 0) },
		"gone":  os.Remove,
		"longer": func(nar string) error {
			return os.Truncate(nar, int64(len(subjectNAR))+8)
		},
		"a link": func(nar string) error { return errors.Join(os.Remove(nar), os.Symlink("/etc/passwd", nar)) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			server := fault.New(t, files)
			if _, err := newRig(t, dir, server.URL).get(t, p); err != nil {
				t.Fatal(err)
			}
			list, _ := filepath.Glob(dir + "/nar/*.nar")
			if len(list) != 1 {
				t.Fatalf("%q", list)
			}
			if err := damage(list[0]); err != nil {
				t.Fatal(err)
			}
			offline := newRig(t, dir, server.URL)
			offline.Offline = true
			if _, err := offline.get(t, p); KindOf(err) != NotFound || !strings.Contains(err.Error(), "--offline") {
				t.Errorf("offline: %v", err)
			}
			nar, err := newRig(t, dir, server.URL).get(t, p)
			if err != nil || !bytes.Equal(nar, subjectNAR) || server.Count(aNAR) != 2 {
				t.Errorf("after %d requests: %v", server.Count(aNAR), err)
			}
			if _, err := newRig(t, dir).get(t, p); err != nil {
				t.Errorf("without caches afterwards: %v", err)
			}
		})
	}
}

// Damage while it is read is an error where the end would be.
func TestDamageWhileRead(t *testing.T) {
	dir := t.TempDir()
	r := newRig(t, dir, fault.New(t, subjectCache("zstd")).URL)
	if _, err := r.get(t, fault.Path(subject)); err != nil {
		t.Fatal(err)
	}
	info, err := r.Info(t.Context(), fault.Path(subject))
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(r.nar(info))
	if err != nil {
		t.Fatal(err)
	}
	b[100] ^= 1
	tick(t, r.nar(info))
	if err := os.WriteFile(r.nar(info), b, 0o644); err != nil {
		t.Fatal(err)
	}
	rc, err := r.Open(t.Context(), info)
	if err != nil {
		t.Fatal(err)
	}
	defer rc.Close()
	if _, err := io.Copy(io.Discard, rc); KindOf(err) != Integrity {
		t.Errorf("%v", err)
	}
}

// What a cache said that needs no signature counts only where that same cache
// needs none.
func TestUnsignedLiesApart(t *testing.T) {
	files := subjectCache("none")
	for name := range files {
		if strings.HasSuffix(name, ".narinfo") {
			files[name] = withoutField(files[name], "Sig")
		}
	}
	p := fault.Path(subject)
	server, other := fault.New(t, files), fault.New(t, files)
	dir := t.TempDir()
	exempt := func(url string) *rig {
		r := newRig(t, dir, url)
		r.Next.Caches[0].Exempt = true
		return r
	}
	if _, err := exempt(server.URL).get(t, p); err != nil {
		t.Fatal(err)
	}
	if _, err := newRig(t, dir, server.URL).get(t, p); KindOf(err) != Integrity {
		t.Errorf("no longer exempt: %v", err)
	}
	before := len(server.Log())
	if _, err := exempt(server.URL).get(t, p); err != nil || len(server.Log()) != before {
		t.Errorf("again: %d requests, %v", len(server.Log())-before, err)
	}
	if _, err := exempt(other.URL).get(t, p); err != nil || other.Count(anInfo) != 1 || other.Count(aNAR) != 0 {
		t.Errorf("another exempt cache: %d narinfos, %d NARs, %v", other.Count(anInfo), other.Count(aNAR), err)
	}
}

// A key that is no longer trusted lets nothing in that lies there.
func TestKeysChange(t *testing.T) {
	files := subjectCache("none")
	dir := t.TempDir()
	server := fault.New(t, files)
	if _, err := newRig(t, dir, server.URL).get(t, fault.Path(subject)); err != nil {
		t.Fatal(err)
	}
	r := newRig(t, dir)
	r.Keys = narinfo.Keys{fault.Signer("other").Key()}
	if _, err := r.get(t, fault.Path(subject)); KindOf(err) != NotFound {
		t.Errorf("%v", err)
	}
}

// Names of processes that died are removed, if they are of no use.
func TestSweep(t *testing.T) {
	dir := t.TempDir()
	files, info := largeCache("none")
	r := newRig(t, dir, fault.New(t, files).URL)
	nar := filepath.Join(dir, "nar")
	unmarked := make([]byte, markSize+worthKeeping)
	big := append(bytes.Repeat([]byte("0"), markSize), unmarked...)
	for name, content := range map[string][]byte{
		"aaa.part": nil, "bbb.part": big, "ccc.part": big, "ddd.part": big, "eee.part": unmarked, "ddd.nar": nil, "held.part": nil, ".x.nar.0123abcd.part": nil,
	} {
		if err := os.WriteFile(filepath.Join(nar, name), content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	long := time.Now().Add(-2 * oldestRest)
	if err := os.Chtimes(filepath.Join(nar, "ccc.part"), long, long); err != nil {
		t.Fatal(err)
	}
	held, err := openSpool(filepath.Join(nar, "held.part"))
	if err != nil {
		t.Fatal(err)
	}
	newRig(t, dir)
	if left := strings.Join(rests(t, dir), " "); left != "bbb.part held.part" {
		t.Errorf("left: %s", left)
	}
	held.close(drop)
	if _, err := r.get(t, info.StorePath); err != nil {
		t.Error(err)
	}
}

// small mounts a file system of that many bytes.
func small(t *testing.T, options string) string {
	dir := t.TempDir()
	if err := unix.Mount("thaw-test", dir, "tmpfs", 0, options); err != nil {
		t.Skipf("SKIPPED: mounting needs privileges: %v", err)
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}

// A full disk is one clear error, no blame for the cache, and leaves nothing.
func TestDiskFull(t *testing.T) {
	files, info := largeCache("zstd")
	for _, size := range []string{"1m", "8m"} { // full in the file, and in the NAR
		dir := small(t, "size="+size)
		r := newRig(t, dir, fault.New(t, files).URL, fault.New(t, files).URL)
		_, err := r.get(t, info.StorePath)
		if !errors.Is(err, unix.ENOSPC) || KindOf(err) != 0 || !strings.Contains(err.Error(), dir) {
			t.Errorf("%s: %v", size, err)
		}
		if left := files2(t, dir); left != "" {
			t.Errorf("%s: left behind: %s", size, left)
		}
	}
}

// A directory that cannot be written gives what it has. What must be fetched is
// one clear error.
func TestReadOnlyDirectory(t *testing.T) {
	full, empty := small(t, ""), small(t, "")
	files, info := largeCache("zstd")
	files.Add(signer, subject, "zstd", subjectNAR)
	server := fault.New(t, files)
	if _, err := newRig(t, full, server.URL).get(t, fault.Path(subject)); err != nil {
		t.Fatal(err)
	}
	unmarked := filepath.Join(full, "nar", "rest.part")
	if err := os.WriteFile(unmarked, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{full, empty} {
		if err := unix.Mount("thaw-test", dir, "tmpfs", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
			t.Skipf("SKIPPED: %v", err)
		}
	}
	if _, err := OpenDisk(empty, &List{}, nil, 1, nil); !errors.Is(err, unix.EROFS) || !strings.Contains(err.Error(), empty) {
		t.Errorf("%v", err)
	}
	r := newRig(t, full, server.URL)
	if nar, err := r.get(t, fault.Path(subject)); err != nil || !bytes.Equal(nar, subjectNAR) {
		t.Errorf("what is there: %v", err)
	}
	if _, err := r.get(t, info.StorePath); !errors.Is(err, unix.EROFS) || KindOf(err) != 0 || !strings.Contains(err.Error(), full) {
		t.Errorf("what is not: %v", err)
	}
}

// Offline, it can be said what is missing.
func TestMissingOffline(t *testing.T) {
	files := fault.Files{}
	c := files.Add(signer, "c", "none", fault.NAR([]byte("c")))
	b := files.Add(signer, "b", "none", fault.NAR([]byte("b")), c.StorePath)
	a := files.Add(signer, "a", "none", fault.NAR([]byte("a")), b.StorePath, fault.Path("a"))
	dir := t.TempDir()
	r := newRig(t, dir, fault.New(t, files).URL)
	r.walk(t, 2, a.StorePath)
	if err := os.Remove(r.nar(c)); err != nil {
		t.Fatal(err)
	}
	d, err := OpenDisk(dir, nil, narinfo.Keys{signer.Key()}, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	other := fault.Path("other")
	missing, err := d.Missing(t.Context(), []storepath.Path{a.StorePath, other})
	want := []storepath.Path{c.StorePath, other}
	slices.SortFunc(want, storepath.Path.Compare)
	if err != nil || !slices.Equal(missing, want) {
		t.Errorf("%v, %v", missing, err)
	}
	if _, err := d.Info(t.Context(), c.StorePath); KindOf(err) != NotFound || !strings.Contains(err.Error(), c.StorePath.String()) {
		t.Errorf("%v", err)
	}
}

// Two paths may have the same NAR: it is fetched and stored once, and whichever
// is damaged later, both heal.
func TestSharedNAR(t *testing.T) {
	files := fault.Files{}
	a := files.Add(signer, "a", "zstd", subjectNAR)
	b := files.Add(signer, "b", "zstd", subjectNAR)
	server := fault.New(t, files)
	dir := t.TempDir()
	newRig(t, dir, server.URL).walk(t, 4, a.StorePath, b.StorePath)
	if n := server.Count(aNAR); n != 1 {
		t.Errorf("%d requests", n)
	}
	for _, i := range []*narinfo.Info{a, b} {
		if nar, err := newRig(t, dir).get(t, i.StorePath); err != nil || !bytes.Equal(nar, subjectNAR) {
			t.Error(err)
		}
	}
}
