// Package testbed finds what tests need and a clone may lack: the large test
// caches, and the real tools that judge thaw's output. What is missing skips
// the test out loud, except that under CI a missing tool fails it.
package testbed

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Root returns the root directory of the module.
func Root(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			t.Fatal("no go.mod above the test's directory")
		}
		dir = parent
	}
}

// Dir returns a path below the directory of the large test caches: the one that
// THAW_TESTBED names, or "shared" beside the module's root.
func Dir(t testing.TB, elem ...string) string {
	t.Helper()
	dir := os.Getenv("THAW_TESTBED")
	if dir == "" {
		dir = filepath.Join(Root(t), "..", "shared")
	}
	path := filepath.Join(append([]string{dir}, elem...)...)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("SKIPPED: the large test caches are not there (set THAW_TESTBED): %v", err)
	}
	return path
}

// Tool returns the path of a program that judges an output.
func Tool(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		for _, dir := range []string{"/usr/sbin", "/sbin"} {
			if p := filepath.Join(dir, name); exists(p) {
				return p
			}
		}
		if os.Getenv("CI") != "" {
			t.Fatalf("the judge %s is missing, and CI must have it", name)
		}
		t.Skipf("SKIPPED: the judge %s is not installed", name)
	}
	return path
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// Run runs a tool, fails the test if it fails, and returns what it printed on
// standard output.
func Run(t testing.TB, name string, args ...string) []byte {
	t.Helper()
	cmd := exec.Command(Tool(t, name), args...)
	out, err := cmd.Output()
	if err != nil {
		stderr := ""
		if e, ok := err.(*exec.ExitError); ok {
			stderr = string(e.Stderr)
		}
		t.Fatalf("%s %q: %v\n%s%s", name, args, err, out, stderr)
	}
	return out
}
