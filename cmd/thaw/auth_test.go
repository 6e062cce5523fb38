package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Credentials from each place reach the cache, and nothing that is printed.
func TestCredentials(t *testing.T) {
	const secret = "verysecret"
	files := http.FileServer(http.Dir(repository(t, "testdata/example")))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, password, _ := r.BasicAuth()
		if r.Header.Get("Authorization") != "Bearer "+secret && password != secret {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		files.ServeHTTP(w, r)
	}))
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	hello := "/nix/store/iv6mnmnw8z16ca4yawz70zfapazdfyvq-hello-static-1.0"
	for name, set := range map[string]struct {
		files map[string]string
		env   []string
		args  []string
	}{
		"the URL":       {args: []string{"--cache", "http://me:" + secret + "@" + host}},
		"netrc":         {files: map[string]string{"netrc": "machine 127.0.0.1 login me password " + secret}, args: []string{"--cache", server.URL, "--netrc", "netrc"}},
		"netrc, bearer": {files: map[string]string{"netrc": "machine " + host + " password " + secret}, args: []string{"--cache", server.URL}, env: []string{"NETRC=netrc"}},
		"a file": {files: map[string]string{
			"config/thaw/config.yaml": "caches: [ { url: '" + server.URL + "', authorization: { file: token } } ]", "config/thaw/token": "Bearer " + secret + "\n"}},
		"a variable": {files: map[string]string{
			"config/thaw/config.yaml": "caches: [ { url: '" + server.URL + "', authorization: { env: CACHE_TOKEN } } ]"}, env: []string{"CACHE_TOKEN=Bearer " + secret}},
		"nowhere": {args: []string{"--cache", server.URL}},
	} {
		t.Run(name, func(t *testing.T) {
			p := newProgram(t)
			for file, text := range set.files {
				file = filepath.Join(p.dir, file)
				if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			cmd := p.command(t.Context(), append([]string{"build", hello, "-o", "x.img", "-v", "--json", "--trusted-key", testbedKey}, set.args...)...)
			cmd.Env = append(append(cmd.Env, "HOME="+p.dir, "XDG_CONFIG_HOME="+p.dir+"/config", "NETRC="), set.env...)
			out, err := cmd.CombinedOutput()
			if (err == nil) != (name != "nowhere") {
				t.Errorf("%v\n%s", err, out)
			}
			if name == "nowhere" && (cmd.ProcessState.ExitCode() != exitNetwork || !strings.Contains(string(out), "wants credentials")) {
				t.Errorf("exit %d\n%s", cmd.ProcessState.ExitCode(), out)
			}
			if strings.Contains(string(out), secret) {
				t.Errorf("the secret is printed:\n%s", out)
			}
			for _, file := range manifestFiles(t, filepath.Join(p.dir, "cachehome")) {
				if text, _ := os.ReadFile(file); strings.Contains(string(text), secret) {
					t.Errorf("the secret is stored in %s", file)
				}
			}
		})
	}
}
