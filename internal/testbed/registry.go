package testbed

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// distribution is the registry that judges, as a program of Go.
const distribution = "github.com/distribution/distribution/v3/cmd/registry@v3.1.2"

// Registry starts a real registry on this machine, and returns its host and port. Its
// program is built once and kept: that takes a minute. More are lines of its
// configuration, in YAML.
func Registry(t testing.TB, more ...string) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Skipf("SKIPPED: %v", err)
	}
	dir := filepath.Join(cache, "thaw-judges", "distribution-v3.1.2")
	program := filepath.Join(dir, "registry")
	if !exists(program) {
		build(t, dir)
	}
	tmp := t.TempDir()
	config := filepath.Join(tmp, "config.yml")
	// The registry has the system choose a port, and says which one it is.
	text := fmt.Sprintf("version: 0.1\nstorage: {filesystem: {rootdirectory: %q}}\nhttp: {addr: '127.0.0.1:0'}\nlog: {level: info, accesslog: {disabled: true}}\n%s\n",
		filepath.Join(tmp, "data"), strings.Join(more, "\n"))
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "serve", config)
	cmd.Env = []string{"OTEL_TRACES_EXPORTER=none"} // REGISTRY_… would be configuration, too
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	host, lines := "", bufio.NewScanner(stderr)
	for host == "" && lines.Scan() {
		fmt.Fprintln(&said, lines.Text())
		if m := listening.FindStringSubmatch(lines.Text()); m != nil {
			host = m[1]
		}
	}
	read := make(chan struct{})
	go func() {
		io.Copy(io.Discard, stderr)
		close(read)
	}()
	t.Cleanup(func() {
		cmd.Process.Kill()
		<-read
		cmd.Wait()
	})
	if host == "" {
		t.Fatalf("the registry does not listen:\n%s", said.String())
	}
	return host
}

var listening = regexp.MustCompile(`"listening on (127\.0\.0\.1:\d+)"`)

// build puts the registry's program into dir, where it is whole as soon as it is there:
// tests of other packages look for it at the same time.
func build(t testing.TB, dir string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	tmp, err := os.MkdirTemp(dir, "build")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(tmp)
	cmd := exec.Command(Tool(t, "go"), "install", distribution)
	cmd.Env = append(os.Environ(), "GOBIN="+tmp, "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Skipf("SKIPPED: the registry cannot be built, which needs the module proxy: %v: %s", err, out)
	}
	if err := os.Rename(filepath.Join(tmp, "registry"), filepath.Join(dir, "registry")); err != nil {
		t.Fatal(err)
	}
}
