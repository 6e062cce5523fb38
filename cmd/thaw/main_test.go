package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"thaw/internal/testbed"
)

// asThaw makes the test binary behave as thaw, and at its end write what Linux
// knows of the process to the file it names. (A child's rusage would do, but
// counts the memory of the parent that it was forked from.)
const asThaw = "THAW_TEST_AS_THAW"

func TestMain(m *testing.M) {
	if report := os.Getenv(asThaw); report != "" {
		code := run(context.Background(), os.Args[1:], os.Stdout, os.Stderr)
		if status, err := os.ReadFile("/proc/self/status"); err == nil {
			os.WriteFile(report, status, 0o666)
		}
		os.Exit(code)
	}
	testscript.Main(m, map[string]func(){"thaw": main})
}

// Keys of the test caches.
const (
	tinyKey    = "test-cache-1:Tc0hSzLq+PI4n+IQvbKYrUZU2AZ5lxzKhbcTdRQn6D4="
	testbedKey = "testbed-1:Wtj7Qh6L5ugVENxEcCuOax7OiDaIYzPC4psYNLr3Ub8="
)

// program is thaw in a process of its own.
type program struct {
	exe  string   // the test binary
	dir  string   // where it runs
	args []string // before those of a call
	uid  uint32   // 0 for who runs the test
}

// newProgram returns thaw with an empty directory for a home.
func newProgram(t *testing.T, args ...string) *program {
	return &program{exe: os.Args[0], dir: t.TempDir(), args: args}
}

func (p *program) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, p.exe, append(append([]string{}, p.args...), args...)...)
	cmd.Dir = p.dir
	cmd.Env = append(os.Environ(), asThaw+"=/dev/null", "XDG_CACHE_HOME="+filepath.Join(p.dir, "cachehome"), "XDG_CONFIG_HOME="+filepath.Join(p.dir, "config"), "HOME="+p.dir,
		"THAW_CACHES=", "THAW_TRUSTED_KEYS=", "THAW_CACHE_DIR=", "THAW_JOBS=", "THAW_CONNECTIONS=", "NETRC=", "NIX_SSL_CERT_FILE=", "SSL_CERT_FILE=", "GORACE=atexit_sleep_ms=0")
	if p.uid != 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: p.uid, Gid: p.uid}}
	}
	return cmd
}

// become makes thaw run as another user, who gets its directory.
func (p *program) become(t *testing.T, uid uint32) {
	t.Helper()
	// Another program copies it: a file that this one writes would be open in
	// programs that are just being started, and could not be run.
	exe := filepath.Join(t.TempDir(), "thaw.test")
	testbed.Run(t, "cp", p.exe, exe)
	p.exe = exe
	for _, dir := range []string{p.dir, filepath.Dir(p.exe)} {
		for ; dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
			if err := os.Chmod(dir, 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := os.Chown(p.dir, int(uid), int(uid)); err != nil {
		t.Fatal(err)
	}
	p.uid = uid
}

// outcome is what a run left.
type outcome struct {
	code           int
	stdout, stderr string
	peak           int64 // bytes of memory
}

func (p *program) try(t *testing.T, args ...string) outcome {
	t.Helper()
	cmd := p.command(t.Context(), args...)
	report := filepath.Join(t.TempDir(), "status")
	if p.uid == 0 {
		cmd.Env = append(cmd.Env, asThaw+"="+report)
	}
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return outcome{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String(), peak(report)}
}

// peak reads the peak of resident memory, in bytes, out of a report.
func peak(report string) (n int64) {
	status, _ := os.ReadFile(report)
	for l := range strings.Lines(string(status)) {
		if _, err := fmt.Sscanf(l, "VmHWM: %d kB", &n); err == nil {
			return n << 10
		}
	}
	return 0
}

// run is try for what must succeed.
func (p *program) run(t *testing.T, args ...string) outcome {
	t.Helper()
	o := p.try(t, args...)
	if o.code != 0 {
		t.Fatalf("thaw %q: exit %d\n%s%s", args, o.code, o.stdout, o.stderr)
	}
	return o
}

// digest returns the last column of the result line.
func (o outcome) digest(t *testing.T) string {
	t.Helper()
	f := strings.Split(strings.TrimSuffix(o.stdout, "\n"), "\t")
	if len(f) != 3 || !strings.HasPrefix(f[2], "sha256:") || len(f[2]) != 71 {
		t.Fatalf("the result line is %q", o.stdout)
	}
	return f[2]
}

// lines reads a list of store paths.
func lines(t *testing.T, file string) []string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Fields(string(text))
}

// narinfoPaths returns the store paths that a cache has.
func narinfoPaths(t *testing.T, dir string) (paths []string) {
	t.Helper()
	files, err := filepath.Glob(dir + "/*.narinfo")
	if err != nil || len(files) == 0 {
		t.Fatalf("no narinfos in %s", dir)
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		path, ok := strings.CutPrefix(strings.SplitN(string(text), "\n", 2)[0], "StorePath: ")
		if !ok {
			t.Fatalf("%s does not start with a StorePath", f)
		}
		paths = append(paths, path)
	}
	return paths
}

func repository(t *testing.T, elem ...string) string {
	return filepath.Join(append([]string{testbed.Root(t)}, elem...)...)
}

func empty(t *testing.T, dir string, except ...string) {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		keep := false
		for _, x := range except {
			keep = keep || e.Name() == x
		}
		if !keep {
			t.Errorf("%s was left in %s", e.Name(), dir)
		}
	}
}
