package nixdb

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"thaw/internal/testbed"
	"thaw/narinfo"
	"thaw/storepath"
)

func TestClosureInfo(t *testing.T) {
	infos := tiny(t)
	want, err := os.ReadFile(tinyOracle + "registration.closureInfo-form.txt")
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if got := Registration(infos); !bytes.Equal(got, want) {
			t.Errorf("registration is\n%swant\n%s", got, want)
		}
		if got, want := sortedFields(StorePaths(infos)), pathsOf(want); !slices.Equal(got, want) || !bytes.HasSuffix(StorePaths(infos), []byte("\n")) {
			t.Errorf("store-paths is %q; want %q", got, want)
		}
		if got := string(TotalNarSize(infos)); got != "20166968\n" {
			t.Errorf("total-nar-size is %q", got)
		}
		slices.Reverse(infos)
		for _, info := range infos {
			slices.Reverse(info.References)
		}
	}
	if a, b, c := Registration(nil), StorePaths(nil), TotalNarSize(nil); len(a) != 0 || len(b) != 0 || string(c) != "0\n" {
		t.Errorf("of nothing: %q, %q, %q", a, b, c)
	}
}

// pathsOf returns the paths that a registration is about: each stands before its
// hash.
func pathsOf(registration []byte) (paths []string) {
	lines := strings.Split(string(registration), "\n")
	for i, line := range lines[1:] {
		if strings.HasPrefix(line, "sha256:") {
			paths = append(paths, lines[i])
		}
	}
	return paths
}

// An empty store that loads the registration knows what one with our database
// does, but for signatures and content addresses.
func TestNixLoadsRegistration(t *testing.T) {
	for _, c := range closures {
		t.Run(c.name, func(t *testing.T) {
			infos := c.open(t)
			nixEnv(t)
			empty := t.TempDir()
			load := exec.Command(testbed.Tool(t, "nix-store"), "--store", empty, "--load-db")
			load.Stdin = bytes.NewReader(Registration(infos))
			if out, err := load.CombinedOutput(); err != nil || len(out) > 0 {
				t.Fatalf("nix-store --load-db: %v\n%s", err, out)
			}
			db, err := (&Store{Infos: infos}).Database()
			if err != nil {
				t.Fatal(err)
			}
			ours := filepath.Join(t.TempDir(), "db.sqlite")
			if err := os.WriteFile(ours, db, 0o666); err != nil {
				t.Fatal(err)
			}
			for _, query := range []string{
				"select path, hash, narSize, deriver, ultimate from ValidPaths order by path",
				"select a.path, b.path from Refs r, ValidPaths a, ValidPaths b where a.id = r.referrer and b.id = r.reference order by 1, 2",
				"select * from DerivationOutputs",
			} {
				got, want := queryFile(t, filepath.Join(empty, dbDir, "db.sqlite"), query), queryFile(t, ours, query)
				if !slices.Equal(got, want) {
					t.Errorf("%s: a loaded registration gives\n%s\nthe database\n%s", query, strings.Join(got, "\n"), strings.Join(want, "\n"))
				}
			}
		})
	}
}

// Nix dumps our database as it dumped its own.
func TestNixDumps(t *testing.T) {
	s := &Store{Infos: tiny(t), Derivers: map[storepath.Path]storepath.Path{}}
	for _, info := range s.Infos {
		if info.Deriver != "" {
			s.Derivers[info.StorePath] = path(t, storepath.Dir+"/"+info.Deriver)
		}
	}
	root := unpack(t, &Store{Infos: []*narinfo.Info{}})
	db, err := s.Database()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, dbDir, "db.sqlite"), db, 0o644); err != nil {
		t.Fatal(err)
	}
	nixEnv(t)
	want, err := os.ReadFile(tinyOracle + "registration.dump-db.txt")
	if err != nil {
		t.Fatal(err)
	}
	got := records(t, testbed.Run(t, "nix-store", "--store", root, "--dump-db"))
	if want := records(t, want); !maps.Equal(got, want) {
		t.Errorf("got %q; want %q", got, want)
	}
}

// records splits what --dump-db prints into its paths.
func records(t *testing.T, dump []byte) map[string]string {
	lines := strings.Split(strings.TrimSuffix(string(dump), "\n"), "\n")
	records := map[string]string{}
	for len(lines) > 0 {
		n := 0
		if len(lines) >= 5 {
			fmt.Sscan(lines[4], &n)
		}
		if len(lines) < 5+n {
			t.Fatalf("a dump ends in the midst of %q", lines)
		}
		records[lines[0]] = strings.Join(lines[1:5+n], "\n")
		lines = lines[5+n:]
	}
	return records
}
