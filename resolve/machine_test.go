package resolve

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	fault "thaw/internal/faultserver"
	"thaw/internal/testbed"
	"thaw/narinfo"
	"thaw/spec"
	"thaw/storepath"
	"thaw/substituter"
)

func TestFindProgram(t *testing.T) {
	t.Parallel()
	script := []byte("#!/bin/sh\nexec something else\n")
	fat := slices.Concat([]byte("\xca\xfe\xba\xbe\x00\x00\x00\x02"), make([]byte, 64))
	macho := slices.Concat([]byte("\xcf\xfa\xed\xfe\x0c\x00\x00\x01"), make([]byte, 64))
	const none = "it has no programs that tell its machine"
	for name, tt := range map[string]struct {
		arch  string
		files []entry
		want  string
		fits  string
	}{
		"a program":           {"x86_64-linux", []entry{{"bin/a*", amd64}}, "bin/a is ELF for x86_64", "x86_64-linux"},
		"after scripts":       {"x86_64-linux", []entry{{"bin/a*", script}, {"bin/b*", amd64}, {"bin/c*", arm64}}, "bin/b is ELF for x86_64", "x86_64-linux"},
		"another machine":     {"x86_64-linux", []entry{{"bin/a*", arm64}, {"bin/b*", amd64}}, "bin/a is ELF for aarch64", "aarch64-linux"},
		"a library":           {"x86_64-linux", []entry{{"lib/libx.so.1", arm64}}, "lib/libx.so.1 is ELF for aarch64", "aarch64-linux"},
		"a module":            {"x86_64-linux", []entry{{"lib/x.ko", s390x}}, "lib/x.ko is ELF for s390x", "s390x-linux"},
		"firmware":            {"x86_64-linux", []entry{{"lib/firmware/modem", arm32}}, none, ""},
		"an unknown machine":  {"x86_64-linux", []entry{{"bin/a*", avr}, {"bin/b*", amd64}}, "bin/b is ELF for x86_64", "x86_64-linux"},
		"no known machine":    {"x86_64-linux", []entry{{"bin/a*", avr}}, none, ""},
		"32 bits first":       {"x86_64-linux", []entry{{"bin/a*", i386}, {"bin/b*", amd64}}, "bin/b is ELF for x86_64", "x86_64-linux"},
		"32 bits alone":       {"x86_64-linux", []entry{{"bin/a*", i386}}, "bin/a is ELF for i386", "i686-linux"},
		"32 bits wanted":      {"i686-linux", []entry{{"bin/a*", i386}, {"bin/b*", amd64}}, "bin/a is ELF for i386", "i686-linux"},
		"64 bits, 32 wanted":  {"i686-linux", []entry{{"bin/a*", amd64}}, "bin/a is ELF for x86_64", "x86_64-linux"},
		"arm":                 {"armv6l-linux", []entry{{"bin/a*", arm32}}, "bin/a is ELF for arm", "armv6l-linux"},
		"a class that is not": {"x86_64-linux", []entry{{"bin/a*", elf(62, 1, 1)}}, none, ""},
		"bytes the wrong way": {"x86_64-linux", []entry{{"bin/a*", elf(62, 2, 2)}}, none, ""},
		"Mach-O":              {"x86_64-linux", []entry{{"bin/a*", macho}}, "bin/a is Mach-O for aarch64", "aarch64-darwin"},
		"Mach-O library":      {"x86_64-linux", []entry{{"lib/libx.dylib", macho}}, "lib/libx.dylib is Mach-O for aarch64", "aarch64-darwin"},
		"Mach-O or Java":      {"x86_64-linux", []entry{{"bin/a*", fat}}, none, ""},
		"too short":           {"x86_64-linux", []entry{{"bin/a*", amd64[:19]}}, none, ""},
		"just long enough":    {"x86_64-linux", []entry{{"bin/a*", amd64[:20]}}, "bin/a is ELF for x86_64", "x86_64-linux"},
		"nothing":             {"x86_64-linux", nil, none, ""},
		"an odd name":         {"", []entry{{"bin/a\n\x1b[m*", amd64}}, "bin/a??[m is ELF for x86_64", "x86_64-linux"},
		"any system":          {"", []entry{{"bin/a*", i386}, {"bin/b*", amd64}}, "bin/a is ELF for i386", "i686-linux"},
	} {
		s, err := findProgram(bytes.NewReader(archive(t, tt.files...)), tt.arch)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := s.program + s.none; tt.fits == "" && got != tt.want || tt.fits != "" && (s.program != tt.want || !s.fits(tt.fits)) {
			t.Errorf("%s: %q for %q, want %q", name, got, s.systems, tt.want)
		}
	}
	nar := archive(t, entry{"bin/a*", script}, entry{"bin/b*", amd64})
	for n := range nar {
		s, err := findProgram(bytes.NewReader(nar[:n]), "x86_64-linux")
		if err == nil && s.program == "" {
			t.Errorf("cut after %d bytes it tells %v", n, s)
		}
		bound, err := findProgram(&bounded{bytes.NewReader(nar), int64(n)}, "x86_64-linux")
		if err != nil || bound.program == "" && !strings.Contains(bound.none, "in its first 64 MiB") {
			t.Errorf("bounded by %d bytes: %v, %v", n, bound, err)
		}
	}
}

// 32 bits at the beginning say nothing if the rest is not read.
func TestBoundOf32Bits(t *testing.T) {
	t.Parallel()
	nar := archive(t, entry{"bin/a*", i386}, entry{"share/x", make([]byte, 1<<10)}, entry{"z/b*", amd64})
	s, err := findProgram(&bounded{bytes.NewReader(nar), 1 << 10}, "x86_64-linux")
	if err != nil || s.program != "" || s.none == "" {
		t.Error(s, err)
	}
}

// Systems that specs can have are those whose programs are known.
func TestSystems(t *testing.T) {
	for _, system := range Systems() {
		text := "version: 1\narch: " + system + "\n"
		if _, err := spec.Parse("spec", []byte(text)); err != nil {
			t.Errorf("no spec can be for %s: %v", system, err)
		}
	}
	_, err := spec.Parse("spec", []byte("version: 1\narch: none\n"))
	n := 0
	for _, word := range strings.FieldsFunc(err.Error(), func(r rune) bool { return strings.ContainsRune(" ,\"\n", r) }) {
		if strings.HasSuffix(word, "-linux") {
			n++
			if !slices.Contains(Systems(), word) {
				t.Errorf("nothing is known of the programs of %s", word)
			}
		}
	}
	if n != len(Systems()) {
		t.Errorf("specs can be for %d systems: %v", n, err)
	}
}

// machines are the candidates of the tests that follow: packages of a channel in
// several builds each.
func machineCache(t *testing.T) (files fault.Files, list string) {
	files = fault.Files{}
	script := []byte("#!/nix/store/x-bash/bin/sh\nexit 0 # and so on\n")
	amd, arm := archive(t, entry{"bin/x*", amd64}), archive(t, entry{"bin/x*", arm64})
	var paths []storepath.Path
	add := func(salt, name string, nar []byte, refs ...storepath.Path) storepath.Path {
		p := object(t, files, salt, name, nar, refs...)
		paths = append(paths, p)
		return p
	}
	amdBash, armBash := add("amd", "bash-5.2", amd), add("arm", "bash-5.2", arm)
	add("amd", "git-2.49.0", amd)
	add("arm", "git-2.49.0", arm)
	add("arm", "only-arm-1.0", arm)
	add("amd", "script-1.0", archive(t, entry{"bin/x*", script}), amdBash)
	add("arm", "script-1.0", archive(t, entry{"bin/x*", script}), armBash)
	add("one", "font-1.0", archive(t, entry{"share/font", script}))
	add("two", "fonts-1.0", archive(t, entry{"share/font", script}))
	add("three", "fonts-1.0", archive(t, entry{"share/font", script}))
	add("full", "python-3.12", amd)
	add("minimal", "python-3.12", archive(t, entry{"bin/y*", amd64}))
	add("arm", "python-3.12", arm)
	paths = append(paths, fault.Path("absent-1.0"), fault.Path("half-1.0"))
	add("amd", "half-1.0", amd)
	add("old", "versions-1.0", amd)
	add("new", "versions-2.0", arm)
	add("x", "loop-1.0", archive(t, entry{"x", script}))
	var b strings.Builder
	for _, p := range paths {
		fmt.Fprintln(&b, p)
	}
	return files, b.String()
}

// sizes are what errors say besides, so that builds can be told apart.
var sizes = regexp.MustCompile(`; [1-9][0-9]+ bytes\)`)

func TestMachines(t *testing.T) {
	t.Parallel()
	files, list := machineCache(t)
	server := serve(t, files)
	dir := t.TempDir()
	writeFile(t, dir, "list", list)
	src := source(t, dir, server)
	at := func(salt, name string) string {
		return "/nix/store/" + fault.Path(salt+"-"+name).Hash() + "-" + name
	}
	// both lists two candidates as an error does, sorted by path.
	both := func(lines ...string) string {
		slices.Sort(lines)
		return "\n  " + strings.Join(lines, "\n  ")
	}
	const amd, arm, none = "bin/x is ELF for x86_64", "bin/x is ELF for aarch64", "it has no programs that tell its machine"
	for _, tt := range []struct{ name, arch, want string }{
		{"git", "x86_64-linux", at("amd", "git-2.49.0") + " | list; " + amd + " | "},
		{"git", "aarch64-linux", at("arm", "git-2.49.0") + " | list; " + arm + " | "},
		{"git", "riscv64-linux", "git is not in list: nothing of that name is for riscv64-linux" + both(at("amd", "git-2.49.0")+"  ("+amd+")", at("arm", "git-2.49.0")+"  ("+arm+")")},
		{"git", "", "git: 2 store paths may be meant in list" + both(at("amd", "git-2.49.0")+"  ("+amd+")", at("arm", "git-2.49.0")+"  ("+arm+")")},
		{"only-arm", "", at("arm", "only-arm-1.0") + " | list | "},
		{"only-arm", "aarch64-linux", at("arm", "only-arm-1.0") + " | list; " + arm + " | "},
		{"only-arm", "x86_64-linux", "only-arm is not in list: nothing of that name is for x86_64-linux\n  " + at("arm", "only-arm-1.0") + "  (" + arm + ")"},
		{"script", "x86_64-linux", at("amd", "script-1.0") + " | list; it refers to bash-5.2, where " + amd + " | "},
		{"font", "x86_64-linux", at("one", "font-1.0") + " | list; " + none + " | "},
		{"fonts", "x86_64-linux", "fonts: 2 store paths may be meant in list" + both(at("two", "fonts-1.0")+"  ("+none+")", at("three", "fonts-1.0")+"  ("+none+")")},
		{"python", "x86_64-linux", "python: 2 store paths may be meant in list" + both(at("full", "python-3.12")+"  ("+amd+")", at("minimal", "python-3.12")+"  (bin/y is ELF for x86_64)")},
		{"python", "aarch64-linux", at("arm", "python-3.12") + " | list; " + arm + " | "},
		{"absent", "", fault.Path("absent-1.0").String() + " | list | "},
		{"absent", "x86_64-linux", "absent is not in list: nothing of that name is for x86_64-linux\n  " + fault.Path("absent-1.0").String() + "  (in none of the caches)"},
		{"half", "x86_64-linux", at("amd", "half-1.0") + " | list; " + amd + "; of that name 1 more, in none of the caches | "},
		{"half", "", "half: 2 store paths may be meant in list" + both(at("amd", "half-1.0")+"  ("+amd+")", fault.Path("half-1.0").String()+"  (in none of the caches)")},
		{"versions", "x86_64-linux", at("old", "versions-1.0") + " | list; " + amd + " | "},
		{"versions", "", "versions: 2 store paths may be meant in list\n  " + at("old", "versions-1.0") + "  (" + amd + ")\n  " + at("new", "versions-2.0") + "  (" + arm + ")"},
	} {
		a, err := one(t, src, Query{Name: tt.name, Arch: tt.arch, From: from(t, "list")})
		if err != nil {
			err = errors.New(sizes.ReplaceAllString(err.Error(), ")"))
		}
		checkText(t, a, err, tt.want)
	}
	// Without caches nothing is known, and nothing is guessed.
	src.Store = nil
	a, err := one(t, src, Query{Name: "only-arm", Arch: "x86_64-linux", From: from(t, "list")})
	checkText(t, a, err, at("arm", "only-arm-1.0")+" | list | ")
	a, err = one(t, src, Query{Name: "git", Arch: "x86_64-linux", From: from(t, "list")})
	checkText(t, a, err, "git: 2 store paths may be meant in list"+both(at("amd", "git-2.49.0"), at("arm", "git-2.49.0")))
}

// Caches that fail are errors, not answers.
func TestMachinesFail(t *testing.T) {
	t.Parallel()
	files, list := machineCache(t)
	dir := t.TempDir()
	writeFile(t, dir, "list", list)
	for name, tt := range map[string]struct {
		rule fault.Rule
		kind substituter.Kind
	}{
		"no NARs":       {fault.Rule{Path: "nar/*", Fault: fault.Status(500)}, substituter.Network},
		"missing NARs":  {fault.Rule{Path: "nar/*", Fault: fault.Status(404)}, 0},
		"cut NARs":      {fault.Rule{Path: "nar/*", Fault: fault.CutPercent(20, fault.WithLength, fault.Close)}, substituter.Network},
		"damaged NARs":  {fault.Rule{Path: "nar/*", Fault: fault.Flip(10)}, substituter.Integrity},
		"no narinfos":   {fault.Rule{Path: "*.narinfo", Fault: fault.Status(500)}, substituter.Network},
		"bad narinfos":  {fault.Rule{Path: "*.narinfo", Fault: fault.Replace("NarSize: ", "NarSize: 1")}, substituter.Integrity},
		"wrong at last": {fault.Rule{Path: "nar/*", Fault: fault.Body(make([]byte, 100))}, substituter.Integrity},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := one(t, source(t, dir, serve(t, files, tt.rule)), Query{Name: "git", Arch: "x86_64-linux", From: from(t, "list")})
			if err == nil || substituter.KindOf(err) != tt.kind {
				t.Errorf("%v, want an error of kind %d", err, tt.kind)
			}
			if absent := new(NotFoundError); tt.kind == 0 && !errors.As(err, &absent) {
				t.Error(err)
			}
		})
	}
	// Without a system it is known that more than one is meant, if not what they are.
	_, err := one(t, source(t, dir, serve(t, files, fault.Rule{Path: "*.narinfo", Fault: fault.Status(500)})), Query{Name: "git", From: from(t, "list")})
	if many := new(AmbiguousError); !errors.As(err, &many) || len(many.Candidates) != 2 || many.Candidates[0].Note != "" {
		t.Error(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("stopped")
	cancel(stop)
	if _, err := Resolve(ctx, source(t, dir, serve(t, files)), []Query{{Name: "git", Arch: "x86_64-linux", From: from(t, "list")}}); err != stop {
		t.Error(err)
	}
}

// Real packages, of which only the beginning is read.
func TestMachinesReal(t *testing.T) {
	t.Parallel()
	dir := testbed.Dir(t, "caches", "xz")
	key, err := os.ReadFile(testbed.Dir(t, "caches", "keys", "testbed-1.pub"))
	if err != nil {
		t.Fatal(err)
	}
	k, err := narinfo.ParseKey(strings.TrimSpace(string(key)))
	if err != nil {
		t.Fatal(err)
	}
	var received atomic.Int64
	cache := &substituter.Remote{From: substituter.File{Dir: dir}, Keys: narinfo.Keys{k}, Events: &substituter.Events{Received: func(_ string, n int) { received.Add(int64(n)) }}}
	src := source(t, testbed.Dir(t, "caches", "lists"), nil)
	src.Store = store(t, cache)
	for _, tt := range []struct{ name, arch, want string }{
		{"git", "x86_64-linux", "all.closure; bin/.git-wrapped is ELF for x86_64"},
		{"glibc", "x86_64-linux", "all.closure; lib/gconv/ANSI_X3.110.so is ELF for x86_64"},
		{"python3", "x86_64-linux", "all.closure; bin/python3.11 is ELF for x86_64"},
		{"testbed-system", "x86_64-linux", "it refers to busybox-static-1.35.0, where bin/busybox is ELF for x86_64"},
		{"git", "aarch64-linux", "nothing of that name is for aarch64-linux"},
		{"busybox-static", "", "all.closure"},
	} {
		received.Store(0)
		a, err := one(t, src, Query{Name: tt.name, Arch: tt.arch, From: from(t, "all.closure")})
		text := a.How
		if err != nil {
			text = err.Error()
		}
		t.Logf("%s: %s; %d bytes", tt.name, text, received.Load())
		if !strings.Contains(text, tt.want) {
			t.Errorf("%s: %s, want %s", tt.name, text, tt.want)
		}
		if n := received.Load(); n > 2<<20 {
			t.Errorf("%s: %d bytes were read", tt.name, n)
		}
	}
}
