package testbed

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
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
	if _, err := os.Stat(program); err != nil {
		cmd := exec.Command(Tool(t, "go"), "install", distribution)
		cmd.Env = append(os.Environ(), "GOBIN="+dir, "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Skipf("SKIPPED: the registry cannot be built, which needs the module proxy: %v: %s", err, out)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	host := l.Addr().String()
	l.Close()
	tmp := t.TempDir()
	config := filepath.Join(tmp, "config.yml")
	text := fmt.Sprintf("version: 0.1\nstorage: {filesystem: {rootdirectory: %q}}\nhttp: {addr: %q}\nlog: {level: error, accesslog: {disabled: true}}\n%s\n",
		filepath.Join(tmp, "data"), host, strings.Join(more, "\n"))
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	cmd := exec.Command(program, "serve", config)
	cmd.Stdout, cmd.Stderr = &log, &log
	cmd.Env = []string{"OTEL_TRACES_EXPORTER=none"} // REGISTRY_… would be configuration, too
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		cmd.Process.Kill()
		<-ended
	})
	for until := time.Now().Add(30 * time.Second); ; {
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("the registry has ended: %v\n%s", err, &log)
		case <-time.After(20 * time.Millisecond):
		}
		answer, err := http.Get("http://" + host + "/v2/")
		if err == nil {
			answer.Body.Close()
			return host
		}
		if time.Now().After(until) {
			t.Fatalf("the registry does not answer: %v", err)
		}
	}
}
