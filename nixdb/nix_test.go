package nixdb

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"thaw/internal/testbed"
	"thaw/narinfo"
	"thaw/rootfs"
)

// closures are what the tests with real Nix unpack.
var closures = []struct {
	name string
	keys func(t testing.TB) narinfo.Keys
	open func(t testing.TB) []*narinfo.Info
}{
	{"tiny", tinyKeys, tiny},
	{"small", listedKeys, func(t testing.TB) []*narinfo.Info { return listed(t, "small") }},
	{"system", listedKeys, func(t testing.TB) []*narinfo.Info { return listed(t, "system") }},
}

func TestNixVerifies(t *testing.T) {
	for _, c := range closures {
		t.Run(c.name, func(t *testing.T) {
			infos := c.open(t)
			s := &Store{Infos: infos, Epoch: epoch}
			root := unpack(t, s)
			before := dump(t, root)
			nixEnv(t)
			verify(t, root)
			testbed.Run(t, "nix", "store", "verify", "--all", "--store", root, "--option", "trusted-public-keys", keyTexts(c.keys(t)))
			if after := dump(t, root); !slices.Equal(before, after) {
				t.Errorf("Nix changed the rows\n%s\nto\n%s", strings.Join(before, "\n"), strings.Join(after, "\n"))
			}
			for file, size := range map[string]int64{"reserved": 8 << 20, "schema": 2} {
				if st, err := os.Stat(filepath.Join(root, dbDir, file)); err != nil || st.Size() != size {
					t.Errorf("after Nix opened the store, %s: %v, %v", file, st, err)
				}
			}
			if mode := queryFile(t, filepath.Join(root, dbDir, "db.sqlite"), "pragma journal_mode"); !slices.Equal(mode, []string{"wal"}) {
				t.Errorf("after Nix opened the store, its journal mode is %q", mode)
			}
			checkQueries(t, root, infos)
			checkPathInfo(t, root, infos)
		})
	}
}

func keyTexts(keys narinfo.Keys) string {
	var texts []string
	for _, k := range keys {
		texts = append(texts, k.String())
	}
	return strings.Join(texts, " ")
}

// dump returns the rows of the database in a store.
func dump(t *testing.T, root string) []string {
	file := filepath.Join(root, dbDir, "db.sqlite")
	return slices.Concat(queryFile(t, file, "select * from ValidPaths order by id"), queryFile(t, file, "select * from Refs order by 1, 2"),
		queryFile(t, file, "select type, name, sql from sqlite_master order by 1, 2"), queryFile(t, file, "pragma integrity_check"))
}

// verify runs a verification that must find nothing to say.
func verify(t *testing.T, root string) {
	t.Helper()
	out, err := exec.Command(testbed.Tool(t, "nix-store"), "--store", root, "--verify", "--check-contents").CombinedOutput()
	const quiet = "reading the Nix store...\nchecking path existence...\nchecking link hashes...\nchecking store hashes...\n"
	if err != nil || string(out) != quiet {
		t.Errorf("nix-store --verify --check-contents: %v\n%s", err, out)
	}
}

// checkQueries asks Nix about each path.
func checkQueries(t *testing.T, root string, infos []*narinfo.Info) {
	t.Helper()
	refs, referrers := map[string][]string{}, map[string][]string{}
	for _, info := range infos {
		for _, ref := range info.References {
			refs[info.StorePath.String()] = append(refs[info.StorePath.String()], ref.String())
			referrers[ref.String()] = append(referrers[ref.String()], info.StorePath.String())
		}
	}
	query := func(what string, paths ...string) []string {
		out := testbed.Run(t, "nix-store", append([]string{"--store", root, "-q", what}, paths...)...)
		lines := strings.Fields(string(out))
		if what != "--hash" && what != "--size" {
			slices.Sort(lines)
		}
		return lines
	}
	var paths, hashes, sizes []string
	for _, info := range infos {
		paths = append(paths, info.StorePath.String())
		hashes = append(hashes, info.NarHash.Base32())
		sizes = append(sizes, strconv.FormatInt(info.NarSize, 10))
	}
	if got := query("--hash", paths...); !slices.Equal(got, hashes) {
		t.Errorf("hashes %q; want %q", got, hashes)
	}
	if got := query("--size", paths...); !slices.Equal(got, sizes) {
		t.Errorf("sizes %q; want %q", got, sizes)
	}
	// The ten with the most references: each query is a process.
	slices.SortStableFunc(paths, func(a, b string) int { return cmp.Compare(len(refs[b]), len(refs[a])) })
	for _, p := range paths[:10] {
		if got, want := query("--references", p), slices.Sorted(slices.Values(refs[p])); !slices.Equal(got, want) {
			t.Errorf("references of %s: %q; want %q", p, got, want)
		}
		if got, want := query("--referrers", p), slices.Sorted(slices.Values(referrers[p])); !slices.Equal(got, want) {
			t.Errorf("referrers of %s: %q; want %q", p, got, want)
		}
		if got, want := query("--requisites", p), reachable(refs, p); !slices.Equal(got, want) {
			t.Errorf("requisites of %s: %q; want %q", p, got, want)
		}
	}
}

// reachable returns the paths and all they refer to, sorted.
func reachable(refs map[string][]string, paths ...string) []string {
	seen := map[string]bool{}
	for len(paths) > 0 {
		p := paths[0]
		paths = paths[1:]
		if !seen[p] {
			seen[p] = true
			paths = append(paths, refs[p]...)
		}
	}
	return slices.Sorted(maps.Keys(seen))
}

// checkPathInfo compares all that Nix knows of all paths with the narinfos.
func checkPathInfo(t *testing.T, root string, infos []*narinfo.Info) {
	t.Helper()
	type pathInfo struct {
		Path             string   `json:"path"`
		NarHash          string   `json:"narHash"`
		NarSize          int64    `json:"narSize"`
		References       []string `json:"references"`
		CA               string   `json:"ca"`
		Deriver          string   `json:"deriver"`
		Signatures       []string `json:"signatures"`
		RegistrationTime int64    `json:"registrationTime"`
		Ultimate         bool     `json:"ultimate"`
	}
	var got []pathInfo
	if err := json.Unmarshal(testbed.Run(t, "nix", "path-info", "--json", "--all", "--store", root), &got); err != nil {
		t.Fatal(err)
	}
	byPath := map[string]pathInfo{}
	for _, i := range got {
		byPath[i.Path] = i
	}
	if len(got) != len(infos) || len(byPath) != len(infos) {
		t.Errorf("Nix knows %d paths, the closure has %d", len(got), len(infos))
	}
	text := func(v any) string {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	for _, info := range infos {
		want := pathInfo{
			Path: info.StorePath.String(), NarHash: "sha256-" + base64.StdEncoding.EncodeToString(info.NarHash.Digest()), NarSize: info.NarSize,
			References: []string{}, CA: info.CA, Signatures: slices.Sorted(slices.Values(info.Sigs)), RegistrationTime: epoch,
		}
		for _, ref := range sortedReferences(info) {
			want.References = append(want.References, ref.String())
		}
		if got := byPath[want.Path]; text(got) != text(want) {
			t.Errorf("Nix has\n%s\nthe narinfo\n%s", text(got), text(want))
		}
	}
}

// One wrong byte is found and named; so is a path that is gone.
func TestNixFindsDamage(t *testing.T) {
	root := unpack(t, &Store{Infos: tiny(t)})
	nixEnv(t)
	var file string
	filepath.WalkDir(filepath.Join(root, tinyLib), func(p string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			if info, err := d.Info(); err == nil && info.Size() > 0 {
				file = p
			}
		}
		return err
	})
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	content[len(content)/2] ^= 1
	if err := errors.Join(os.Chmod(file, 0o644), os.WriteFile(file, content, 0o644), os.Chmod(file, 0o444)); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(testbed.Tool(t, "nix-store"), "--store", root, "--verify", "--check-contents").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "path '"+tinyLib+"' was modified!") || strings.Count(string(out), "modified") != 1 {
		t.Errorf("after a change of %s: %v\n%s", file, err, out)
	}
}

// What real Nix makes of an empty store has the same tables, indexes, triggers
// and settings, but for the text of comments and blanks between words.
func TestSchema(t *testing.T) {
	dir := t.TempDir()
	nixEnv(t)
	testbed.Run(t, "nix-store", "--store", dir, "--init")
	theirs := filepath.Join(dir, dbDir, "db.sqlite")
	db, err := (&Store{}).Database()
	if err != nil {
		t.Fatal(err)
	}
	ours := filepath.Join(t.TempDir(), "db.sqlite")
	if err := os.WriteFile(ours, db, 0o666); err != nil {
		t.Fatal(err)
	}
	comment, blank := regexp.MustCompile(`--.*`), regexp.MustCompile(`\s+`)
	for _, query := range []string{
		"select type, name, tbl_name, sql from sqlite_master order by rowid",
		"select m.name, c.* from sqlite_master m, pragma_table_xinfo(m.name) c where m.type = 'table' order by 1, 2",
		"select m.name, f.* from sqlite_master m, pragma_foreign_key_list(m.name) f where m.type = 'table' order by 1, 2",
		"select m.name, i.* from sqlite_master m, pragma_index_list(m.name) i where m.type = 'table' order by 1, 2",
		"pragma user_version", "pragma application_id", "pragma page_size", "pragma auto_vacuum", "pragma encoding",
	} {
		normal := func(file string) string {
			var b strings.Builder
			for _, row := range queryFile(t, file, query) {
				b.WriteString(blank.ReplaceAllString(comment.ReplaceAllString(row, ""), " ") + "\n")
			}
			return strings.ToLower(b.String())
		}
		if got, want := normal(ours), normal(theirs); got != want {
			t.Errorf("%s: \n%s\nNix has\n%s", query, got, want)
		}
	}
	for _, file := range []string{"schema", "big-lock"} {
		var tree rootfs.Tree
		if err := (&Store{}).Put(&tree); err != nil {
			t.Fatal(err)
		}
		want, err := os.ReadFile(filepath.Join(dir, dbDir, file))
		if err != nil {
			t.Fatal(err)
		}
		if got := contentOf(t, &tree, dbDir+"/"+file); !bytes.Equal(got, want) {
			t.Errorf("%s is %q, Nix's %q", file, got, want)
		}
	}
}

// contentOf returns the content of a file in a tree.
func contentOf(t *testing.T, tree *rootfs.Tree, path string) (content []byte) {
	err := tree.Send(sinkFunc(func(e rootfs.Entry, data io.Reader) (err error) {
		if e.Path == path {
			content, err = io.ReadAll(data)
		}
		return err
	}))
	if err != nil {
		t.Fatal(err)
	}
	return content
}

type sinkFunc func(rootfs.Entry, io.Reader) error

func (f sinkFunc) Add(e rootfs.Entry, data io.Reader) error { return f(e, data) }

// The tree is that of `nix copy --to`, mode by mode, but for db/reserved and what belongs to users.
func TestTreeLikeNix(t *testing.T) {
	dir := tempStore(t)
	nixEnv(t)
	testbed.Run(t, "nix", "copy", "--no-check-sigs", "--from", "file://"+testbed.Root(t)+"/testdata/caches/tiny/cache-xz", "--to", dir, tinyLib)
	want := map[string]fs.FileMode{}
	for _, sub := range []string{"nix/store/.links", "nix/var"} {
		err := filepath.WalkDir(filepath.Join(dir, sub), func(p string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := d.Info()
			rel, _ := filepath.Rel(dir, p)
			if rel != dbDir+"/reserved" && !strings.Contains(rel, "/per-user/") {
				want[rel] = info.Mode()
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	var tree rootfs.Tree
	if err := (&Store{Infos: tiny(t)}).Put(&tree); err != nil {
		t.Fatal(err)
	}
	got := map[string]fs.FileMode{}
	err := tree.Send(sinkFunc(func(e rootfs.Entry, _ io.Reader) error {
		got[e.Path] = e.Mode
		return nil
	}))
	if err != nil {
		t.Fatal(err)
	}
	for p, m := range want {
		if got[p] != m {
			t.Errorf("%s has the mode %v, Nix's %v", p, got[p], m)
		}
	}
	for p := range got {
		if _, ok := want[p]; !ok {
			t.Errorf("%s is not Nix's", p)
		}
	}
}
