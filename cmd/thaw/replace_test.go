package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"thaw/internal/testbed"
	"thaw/spec"
)

// An output in which a directory of the same file system is mounted is not replaced,
// and not emptied, although no time and no device number tells it.
func TestReplaceMounted(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: only root mounts")
	}
	p := newProgram(t, "--cache", repository(t, "testdata/example"), "--trusted-key", testbedKey)
	p.run(t, "build", helloPath, "--format", "dir", "-o", "out")
	// What is mounted looks like what is there: another output.
	p.run(t, "build", helloPath, "--format", "dir", "-o", "other")
	place, from := filepath.Join(p.dir, "out", helloPath, "bin"), filepath.Join(p.dir, "other", helloPath, "bin")
	if err := syscall.Mount(from, place, "", syscall.MS_BIND, ""); err != nil {
		t.Skipf("SKIPPED: no right to mount: %v", err)
	}
	defer func() {
		if err := testbed.Unmount(place); err != nil {
			t.Error(err)
		}
	}()
	o := p.try(t, "build", helloPath, "--format", "dir", "-o", "out")
	if want := "the directory out cannot be replaced: something is mounted at "; o.code != exitUsage || !strings.Contains(o.stderr, want) || !strings.Contains(o.stderr, "nix/store") {
		t.Errorf("exit %d\n%s", o.code, o.stderr)
	}
	if list, err := os.ReadDir(from); err != nil || len(list) == 0 {
		t.Errorf("what was mounted is gone: %v", err)
	}
}

// What cannot be removed of a replaced output is told, and the new one is there.
func TestReplaceLeft(t *testing.T) {
	p := newProgram(t, "--cache", repository(t, "testdata/example"), "--trusted-key", testbedKey)
	want := p.run(t, "build", helloPath, "--format", "dir", "-o", "out")
	stays := filepath.Join(p.dir, "out", helloPath, "bin")
	chattr := testbed.Tool(t, "chattr")
	if out, err := exec.Command(chattr, "+i", stays).CombinedOutput(); err != nil {
		t.Skipf("SKIPPED: this system makes nothing immutable: %s", out)
	}
	defer func() {
		found, _ := filepath.Glob(filepath.Join(p.dir, "*", helloPath, "bin"))
		testbed.Run(t, chattr, append([]string{"-i"}, found...)...)
	}()
	o := p.run(t, "build", helloPath, "--format", "dir", "-o", "out")
	if o.stdout != want.stdout || !strings.Contains(o.stderr, "thaw: warning: out is written, but what was there before is left in .out.") {
		t.Errorf("%s%s", o.stdout, o.stderr)
	}
}

// A file beside the outputs lies in none of them.
func TestBesideInOutput(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	if err := os.Mkdir("k", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("k", "link"); err != nil {
		t.Fatal(err)
	}
	outs := []*destination{{"k", spec.NewOutput("k", "dir")}}
	for file, in := range map[string]bool{
		"k/kern": true, "k/absent/kern": true, "link/kern": true, filepath.Join(dir, "k/kern"): true, "k/../k/kern": true,
		"kern": false, "k.kern": false, "link.kern": false,
	} {
		err := free(outs, []string{file})
		if in != (err != nil && strings.Contains(err.Error(), "is in the output k")) || !in && err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
}
