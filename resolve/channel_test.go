package resolve

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	fault "thaw/internal/faultserver"
	"thaw/spec"
	"thaw/substituter"
)

const revision = "0123456789abcdef0123456789abcdef01234567"

// A channel is a redirect to a release, as channels.nixos.org has it.
func TestChannel(t *testing.T) {
	t.Parallel()
	list := packed(t, "xz", pathA+"\n"+pathB+"\n")
	files := map[string]string{
		"/nixos-25.05/store-paths.xz": "→/nixos/25.05/release/store-paths.xz", "/nixos-25.05/git-revision": "→/nixos/25.05/release/git-revision",
		"/nixos/25.05/release/store-paths.xz": list, "/nixos/25.05/release/git-revision": revision,
		"/plain/store-paths.xz": pathB + "\n", "/none/x": "",
		"/odd/store-paths.xz": list, "/odd/git-revision": "<html>\n",
		"/cut/store-paths.xz": list[:len(list)-20], "/page/store-paths.xz": "<html></html>", "/torn/store-paths.xz": list, "/torn/git-revision": "→/plain/git-revision",
		"/plain/git-revision": revision + "\n",
	}
	server := httptest.NewServer(handler{t, files})
	t.Cleanup(server.Close)
	for _, tt := range []struct {
		place, name, want string
		kind              substituter.Kind
	}{
		{"URL/nixos-25.05", "b", pathB + " | channel URL/nixos-25.05, at URL/nixos/25.05/release, git revision " + revision + " | ", 0},
		{"URL/nixos-25.05/", "b", pathB + " | channel URL/nixos-25.05, at URL/nixos/25.05/release, git revision " + revision + " | ", 0},
		{"URL/nixos-25.05/store-paths.xz", "a", pathA + " | channel URL/nixos-25.05, at URL/nixos/25.05/release, git revision " + revision + " | ", 0},
		{"URL/nixos/25.05/release", "a", pathA + " | channel URL/nixos/25.05/release, git revision " + revision + " | ", 0},
		{"URL/nixos-25.05", "c", "c is not in channel URL/nixos-25.05, at URL/nixos/25.05/release, git revision " + revision, 0},
		{"URL/plain", "b", pathB + " | channel URL/plain, git revision " + revision + " | ", 0},
		{"URL/none", "b", "URL/none/store-paths.xz: not there", substituter.NotFound},
		{"URL/odd", "b", `URL/odd/git-revision: "<html>" is not a revision`, substituter.Integrity},
		{"URL/page", "b", `URL/page/store-paths.xz: line 1: "<html></html>" is not a store path: does not start with /nix/store/`, substituter.Integrity},
		{"URL/torn", "b", `URL/torn: the channel went on to another release while it was read`, substituter.Network},
		{"http://127.0.0.1:1", "b", "http://127.0.0.1:1/store-paths.xz: connection refused (2 attempts)", substituter.Network},
	} {
		a, err := one(t, source(t, "", nil), Query{Name: tt.name, From: from(t, "channel:"+strings.Replace(tt.place, "URL", server.URL, 1))})
		checkText(t, a, err, strings.ReplaceAll(tt.want, "URL", server.URL))
		if got := substituter.KindOf(err); got != tt.kind {
			t.Errorf("%s: an error of kind %d, want %d", tt.place, got, tt.kind)
		}
	}
	_, err := one(t, source(t, "", nil), Query{Name: "b", From: from(t, "channel:"+server.URL+"/cut")})
	if substituter.KindOf(err) != substituter.Integrity || !strings.Contains(err.Error(), server.URL+"/cut/store-paths.xz: ") {
		t.Error(err)
	}
}

// A channel that goes on to the next release between two requests is read anew.
func TestChannelMoves(t *testing.T) {
	t.Parallel()
	var requests atomic.Int32
	pages := handler{t, map[string]string{
		"/1/store-paths.xz": pathA + "\n", "/1/git-revision": "one",
		"/2/store-paths.xz": pathB + "\n", "/2/git-revision": "two",
	}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if file, ok := strings.CutPrefix(r.URL.Path, "/channel/"); ok {
			http.Redirect(w, r, fmt.Sprintf("/%d/%s", min(requests.Add(1), 2), file), http.StatusFound)
			return
		}
		pages.ServeHTTP(w, r)
	}))
	defer server.Close()
	a, err := one(t, source(t, "", nil), Query{Name: "b", From: from(t, "channel:"+server.URL+"/channel")})
	checkText(t, a, err, strings.ReplaceAll(pathB+" | channel URL/channel, at URL/2, git revision two | ", "URL", server.URL))
	if n := requests.Load(); n != 4 {
		t.Errorf("%d requests", n)
	}
}

// A copy of a channel is its list, and the revision beside it.
func TestChannelFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	list := packed(t, "xz", pathA+"\n")
	writeFile(t, dir, "with/store-paths.xz", list)
	writeFile(t, dir, "with/git-revision", revision+"\n")
	writeFile(t, dir, "here.xz", list)
	writeFile(t, dir, "without/old.xz", list)
	writeFile(t, dir, "odd/store-paths.xz", list)
	writeFile(t, dir, "odd/git-revision", "")
	for place, want := range map[string]string{
		"./with/store-paths.xz": "channel with/store-paths.xz, git revision " + revision,
		"without/old.xz":        "channel without/old.xz",
		"./here.xz":             "channel ./here.xz",
	} {
		a, err := one(t, source(t, dir, nil), Query{Name: "a", From: from(t, "channel:"+place)})
		checkText(t, a, err, pathA+" | "+want+" | ")
	}
	for place, want := range map[string]string{
		"./none":               "/none: no such file or directory",
		"./with":               "read " + dir + "/with: is a directory",
		"./odd/store-paths.xz": `odd/git-revision: "" is not a revision`,
	} {
		if _, err := one(t, source(t, dir, nil), Query{Name: "a", From: from(t, "channel:"+place)}); err == nil || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("%s: %v", place, err)
		}
	}
}

// A list that breaks off on its way goes on, and is read once for all queries.
func TestChannelBreaks(t *testing.T) {
	t.Parallel()
	var lines strings.Builder
	for i := range 30_000 {
		fmt.Fprintf(&lines, "/nix/store/%s\n", fault.Path(fmt.Sprintf("package%d-1.0", i)).Base())
	}
	files := fault.Files{"store-paths.xz": []byte(lines.String()), "git-revision": []byte(revision)}
	server := serve(t, files, fault.Rule{Path: "store-paths.xz", First: 1, Fault: fault.CutPercent(90, fault.WithLength, fault.Close)})
	var queries []Query
	for _, name := range []string{"package1", "package29999", "package12345-1.0"} {
		queries = append(queries, Query{Name: name, From: from(t, "channel:"+server.URL)})
	}
	answers, err := Resolve(t.Context(), source(t, "", nil), queries)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"package1-1.0", "package29999-1.0", "package12345-1.0"} {
		if answers[i].Path != fault.Path(want) {
			t.Errorf("%s is %s", want, answers[i].Path)
		}
	}
	if n := server.Count("store-paths.xz"); n != 2 {
		t.Errorf("%d requests for the list", n)
	}
	if n := server.Sent("store-paths.xz"); n > int64(len(files["store-paths.xz"])) {
		t.Errorf("%d bytes of %d were sent", n, len(files["store-paths.xz"]))
	}
}

// A list as long as that of a channel, and many names.
func BenchmarkChannel(b *testing.B) {
	var lines strings.Builder
	for i := range 306_392 {
		fmt.Fprintf(&lines, "/nix/store/%s\n", fault.Path(fmt.Sprintf("python3.12-package%d-1.%d", i/2, i%7)).Base())
	}
	dir := b.TempDir()
	writeFile(b, dir, "store-paths.xz", packed(b, "xz", lines.String()))
	for _, n := range []int{1, 50} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.SetBytes(int64(lines.Len()))
			b.ReportAllocs()
			var queries []Query
			for i := range n {
				queries = append(queries, Query{Name: fmt.Sprintf("python3.12-packag%d", i*1000), From: spec.From{Kind: spec.FromChannel, Place: "./store-paths.xz"}})
			}
			for b.Loop() {
				if _, err := Resolve(b.Context(), source(b, dir, nil), queries); err == nil {
					b.Fatal("an answer")
				}
			}
		})
	}
}
