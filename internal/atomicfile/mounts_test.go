package atomicfile

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestMountPoints(t *testing.T) {
	for _, c := range []struct {
		text string
		want []string
	}{
		{"", nil},
		{"22 1 253:1 / / rw - ext4 /dev/root rw\n", []string{"/"}},
		{"24 22 0:40 /sub /mnt/my\\040data rw,noatime shared:1 - btrfs /dev/x rw", []string{"/mnt/my data"}},
		{"1 1 0:1 / /a\\011b\\012c\\134d\\043 rw\n2 1 0:1 / /é rw\n", []string{"/a\tb\nc\\d#", "/é"}},
		{"1 1 0:1 / /a\\04\n1 1 0:1 / /b\\999\n1 1 0:1 / /c\\777x\n", []string{`/a\04`, `/b\999`, `/c\777x`}},
		{"nonsense\n\n1 2 3 4\n", nil},
	} {
		if got := mountPoints(c.text); !slices.Equal(got, c.want) {
			t.Errorf("%q: %q instead of %q", c.text, got, c.want)
		}
	}
}

// mounts makes this process believe that something is mounted at these places.
func mounts(t *testing.T, points ...string) {
	t.Helper()
	var text strings.Builder
	for _, p := range points {
		fmt.Fprintf(&text, "24 22 8:1 /elsewhere %s rw - ext4 /dev/sda1 rw\n", strings.ReplaceAll(p, " ", `\040`))
	}
	mountinfo = filepath.Join(t.TempDir(), "mountinfo")
	t.Cleanup(func() { mountinfo = "/proc/self/mountinfo" })
	if err := os.WriteFile(mountinfo, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestMounted(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a b")
	if err := os.MkdirAll(dir+"/in", 0o700); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(filepath.Dir(dir), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	for point, found := range map[string]bool{dir: true, dir + "/in/x": true, dir + "c": false, filepath.Dir(dir): false, "/": false} {
		mounts(t, "/proc", point)
		want := ""
		if found {
			want = point
		}
		t.Chdir(dir)
		for _, path := range []string{dir, link, "."} {
			if got, err := Mounted(path); got != want || err != nil {
				t.Errorf("%s, mounted at %s: %q, %v", path, point, got, err)
			}
		}
	}
	mountinfo = filepath.Join(dir, "absent")
	if _, err := Mounted(dir); err == nil {
		t.Error("no list of mounts, and no error")
	}
}

// full makes an output that is to be replaced, and what shall replace it.
func full(t *testing.T, target string) *Dir {
	t.Helper()
	if err := os.MkdirAll(target+"/in", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(target+"/in/precious", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := CreateDir(target)
	if err != nil {
		t.Fatal(err)
	}
	d.Replace = func(string) error { return nil }
	return d
}

// A directory in which something is mounted is not replaced; where that is seen only
// when it was, it is not removed, by this run or a later one.
func TestMountedStays(t *testing.T) {
	target := filepath.Join(t.TempDir(), "out")
	d := full(t, target)
	mounts(t, target+"/in")
	if err := d.Commit(); err == nil || !strings.Contains(err.Error(), "something is mounted at "+target+"/in") {
		t.Errorf("before: %v", err)
	}
	if _, err := os.Lstat(target + "/in/precious"); err != nil {
		t.Fatal(err)
	}
	mounts(t)
	d = full(t, target)
	mounts(t, d.Path+"/in") // where it is after the exchange
	err := d.Commit()
	var left *LeftError
	if !errors.As(err, &left) || !strings.Contains(err.Error(), "left in "+d.Path+": something is mounted at "+d.Path+"/in") {
		t.Errorf("after: %v", err)
	}
	if _, err := os.Lstat(target + "/in"); err == nil {
		t.Error("the new one is not at its place")
	}
	if err := RemoveOrphans(filepath.Dir(target), "out"); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(d.Path + "/in/precious"); err != nil {
		t.Error(err)
	}
}

// What made way, or could not come back, is no orphan.
func TestKept(t *testing.T) {
	target := filepath.Join(t.TempDir(), "out")
	d := full(t, target)
	old, err := makeWay(d.place())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(target); err != nil { // so that nothing can be taken back
		t.Fatal(err)
	}
	if err := takeBack([]Part{d}, []string{old}); err == nil || !strings.Contains(err.Error(), "is in "+old) {
		t.Errorf("made way: %v", err)
	}
	next := full(t, target)
	temp, _ := next.place()
	if _, err := os.Lstat(old + "/in/precious"); err != nil {
		t.Errorf("what made way: %v", err)
	}
	if was, err := swap(temp, target); err != nil || was != temp {
		t.Skipf("SKIPPED: nothing is exchanged here: %v", err)
	}
	if err := os.RemoveAll(target); err != nil {
		t.Fatal(err)
	}
	if err := takeBack([]Part{next}, []string{temp}); err == nil || !strings.Contains(err.Error(), "is in "+kept(temp)) {
		t.Errorf("exchanged: %v", err)
	}
	if err := RemoveOrphans(filepath.Dir(target), "out"); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(kept(temp) + "/in/precious"); err != nil {
		t.Errorf("what was exchanged: %v", err)
	}
}
