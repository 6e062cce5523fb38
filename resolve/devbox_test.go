package resolve

import (
	"testing"

	"thaw/spec"
)

func TestDevbox(t *testing.T) {
	t.Parallel()
	src := source(t, "testdata", nil)
	at := func(hash, name string) string {
		return "/nix/store/00000000000000000000000000000000"[:43-len(hash)] + hash + "-" + name
	}
	for _, tt := range []struct{ name, output, arch, want string }{
		{"curl", "", "x86_64-linux", at("5", "curl-8.14.1") + ` | devbox.lock, packages["curl@latest"], x86_64-linux, version 8.14.1 | bin man`},
		{"curl@latest", "bin", "x86_64-linux", at("3", "curl-8.14.1-bin") + ` | devbox.lock, packages["curl@latest"], x86_64-linux, version 8.14.1 | man out`},
		{"curl", "out", "aarch64-linux", at("2", "curl-8.14.1") + ` | devbox.lock, packages["curl@latest"], aarch64-linux, version 8.14.1 | bin`},
		{"curl", "dev", "x86_64-linux", `curl, output dev is not in devbox.lock, packages["curl@latest"], x86_64-linux, version 8.14.1: it has the outputs bin, man, out`},
		{"curl", "", "riscv64-linux", `curl is not in devbox.lock, packages["curl@latest"]: it is there for aarch64-linux, x86_64-linux, not for riscv64-linux`},
		{"curl", "", "", `curl: 2 store paths may be meant in devbox.lock, packages["curl@latest"]
  ` + at("2", "curl-8.14.1") + `  (aarch64-linux)
  ` + at("5", "curl-8.14.1") + `  (x86_64-linux)`},
		{"python", "", "x86_64-linux", `python: 2 store paths may be meant in devbox.lock
  ` + at("8", "python3-3.10.18") + `  (python@3.10, x86_64-linux)
  ` + at("a", "python3-3.13.5") + `  (python@latest, x86_64-linux)`},
		{"python@3.10", "", "x86_64-linux", at("8", "python3-3.10.18") + ` | devbox.lock, packages["python@3.10"], x86_64-linux, version 3.10.18 | `},
		{"emacsPackages.@", "", "", at("6", "at") + ` | devbox.lock, packages["emacsPackages.@"], x86_64-linux | `},
		{"jdk", "", "x86_64-linux", at("7", "openjdk-17.0.7") + ` | devbox.lock, packages["jdk@17"], x86_64-linux, version 17.0.7 | `},
		{"jdk", "bin", "x86_64-linux", `jdk, output bin is not in devbox.lock, packages["jdk@17"], x86_64-linux, version 17.0.7: it has the outputs out`},
		{"fd", "", "x86_64-linux", `fd is not in devbox.lock, packages["fd"]: the lock has no store paths for it, only github:NixOS/nixpkgs/4a29d733e8a7d5b824c3d8c958a946a9867b3eb2#fd`},
		{"none", "", "x86_64-linux", `none is not in devbox.lock, packages["none@1"]: the lock has no store paths for it`},
		{"null", "", "x86_64-linux", `null is not in devbox.lock, packages["null"]: the lock has no store paths for it`},
		{"odd", "", "x86_64-linux", `devbox.lock, packages["odd@1"], x86_64-linux: "/tmp/odd" is not a store path: does not start with /nix/store/`},
		{"twice", "", "x86_64-linux", `twice: 2 store paths may be meant in devbox.lock, packages["twice@1"], x86_64-linux
  ` + at("b", "twice-1") + `
  ` + at("c", "twice-1")},
		{"crul", "", "x86_64-linux", `crul is not in devbox.lock; did you mean curl?`},
	} {
		a, err := one(t, src, Query{Name: tt.name, Output: tt.output, Arch: tt.arch, From: from(t, "devbox.lock")})
		checkText(t, a, err, tt.want)
	}
}

func TestDevboxRefuses(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`{"lockfile_version": "2", "packages": {}}`:                                      `lock: it is a devbox.lock of the version "2", only 1 is known`,
		`{"lockfile_version": 1, "packages": {}}`:                                        `lock: a JSON number stands where something else must be in lockfile_version`,
		`{"lockfile_version": "1", "packages": {"a": {}, "a": {}}}`:                      `lock: the key "a" comes twice`,
		`{"lockfile_version": "1", "packages": {"a": {"systems": {"x86_64-linux": 1}}}}`: `lock: a JSON number stands where something else must be in packages.systems`,
		`{"lockfile_version": "1"}`:                                                      `a is not in lock`,
		`{"lockfile_version": "1", "packages": {"a@1": {}, "a@2": {}}}`: `a: 2 store paths may be meant in lock
  a@1, without a store path
  a@2, without a store path`,
	} {
		dir := t.TempDir()
		writeFile(t, dir, "lock", text)
		a, err := one(t, source(t, dir, nil), Query{Name: "a", Arch: "x86_64-linux", From: spec.From{Kind: spec.FromFile, Place: "lock"}})
		checkText(t, a, err, want)
	}
}
