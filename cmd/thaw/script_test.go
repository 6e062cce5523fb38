package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"thaw/internal/testbed"
)

// The scripts are the command line as its users see it. They run in an empty
// directory each, with copies of the small caches, and the store paths of the
// example in variables.
func TestScripts(t *testing.T) {
	server := httptest.NewServer(http.FileServer(http.Dir(repository(t, "testdata/example"))))
	t.Cleanup(server.Close) // the scripts run in parallel, after this returns
	root := testbed.Root(t)
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			for name, from := range map[string]string{"example": "testdata/example", "tiny": "testdata/caches/tiny/cache-xz", "ca": "testdata/caches/tiny/cache-ca"} {
				if err := os.CopyFS(filepath.Join(env.WorkDir, name), os.DirFS(filepath.Join(root, from))); err != nil {
					return err
				}
			}
			env.Setenv("XDG_CACHE_HOME", filepath.Join(env.WorkDir, "cachehome"))
			env.Setenv("XDG_CONFIG_HOME", filepath.Join(env.WorkDir, "config"))
			env.Setenv("SERVER", server.URL)
			env.Setenv("KEY", testbedKey)
			env.Setenv("TINYKEY", tinyKey)
			env.Setenv("HELLO", "/nix/store/iv6mnmnw8z16ca4yawz70zfapazdfyvq-hello-static-1.0")
			env.Setenv("BUSYBOX", "/nix/store/4816nf1754f3jnz5brkh5n9y252l4san-busybox-static-1.35.0")
			env.Setenv("TOOL", "/nix/store/vh4rib4x5imr9x54rzwkw3b93plzppqg-tool-0.9")
			env.Setenv("SYSTEM", "/nix/store/qfhwr7cblmbjq9kbrhna3hsdz3jppn6j-system-toplevel")
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"status": status, "only": only, "flip": flip, "cut": cut,
		},
	})
}

// status CODE ARGS… runs thaw, which must exit with CODE.
func status(ts *testscript.TestScript, neg bool, args []string) {
	err := ts.Exec("thaw", args[1:]...)
	code := "0"
	if err != nil {
		code = strings.TrimPrefix(err.Error(), "exit status ")
	}
	if code != args[0] {
		ts.Fatalf("exit %s instead of %s", code, args[0])
	}
}

// only DIR NAMES… holds that a directory has these entries and no others.
func only(ts *testscript.TestScript, neg bool, args []string) {
	list, err := os.ReadDir(ts.MkAbs(args[0]))
	ts.Check(err)
	var names []string
	for _, e := range list {
		names = append(names, e.Name())
	}
	if got, want := strings.Join(names, " "), strings.Join(args[1:], " "); got != want {
		ts.Fatalf("%s has %q instead of %q", args[0], got, want)
	}
}

// narOf returns the file of a store path's NAR in a cache.
func narOf(ts *testscript.TestScript, cache, path string) string {
	text, err := os.ReadFile(ts.MkAbs(filepath.Join(cache, filepath.Base(path)[:32]+".narinfo")))
	ts.Check(err)
	for l := range strings.Lines(string(text)) {
		if url, ok := strings.CutPrefix(l, "URL: "); ok {
			return ts.MkAbs(filepath.Join(cache, strings.TrimSpace(url)))
		}
	}
	ts.Fatalf("no URL for %s", path)
	return ""
}

// flip CACHE PATH changes a bit in the middle of a NAR.
func flip(ts *testscript.TestScript, neg bool, args []string) {
	file := narOf(ts, args[0], args[1])
	data, err := os.ReadFile(file)
	ts.Check(err)
	data[len(data)/2] ^= 4
	ts.Check(os.WriteFile(file, data, 0o644))
}

// cut CACHE PATH takes away the second half of a NAR.
func cut(ts *testscript.TestScript, neg bool, args []string) {
	file := narOf(ts, args[0], args[1])
	st, err := os.Stat(file)
	ts.Check(err)
	ts.Check(os.Truncate(file, st.Size()/2))
}
