package xz

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// This file compares with the real tools, xz and lzip.

// tool skips the test if the program is not there; in CI that is a failure.
func tool(t testing.TB, name string) {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("%s is missing: %v", name, err)
		}
		t.Skipf("SKIPPED: %s is missing: %v", name, err)
	}
}

// pipe runs a program over in.
func pipe(t testing.TB, in []byte, name string, args ...string) []byte {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Stdin = bytes.NewReader(in)
	var out, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %v: %v: %s", name, args, err, stderr.Bytes())
	}
	return out.Bytes()
}

// sample is n bytes that look a little like a program: text, tables with a
// stride, noise, zeros, and copies from near and far.
func sample(n int, seed uint64) []byte {
	r := rand.New(rand.NewPCG(5, seed))
	b := make([]byte, 0, n+1<<16)
	for len(b) < n {
		size := 1 + r.IntN(1<<r.IntN(14))
		switch kind := r.IntN(9); {
		case kind < 4 && len(b) > 0:
			at := len(b) - 1 - r.IntN(len(b))
			if kind < 2 {
				at = max(at, len(b)-1-r.IntN(5000))
			}
			for i := range size {
				b = append(b, b[at+i])
			}
		case kind == 4:
			for range size {
				b = append(b, byte(r.IntN(256)))
			}
		case kind == 5:
			b = append(b, make([]byte, size)...)
		case kind == 6:
			for i := range size / 4 {
				b = append(b, byte(i), byte(i>>8), 0, byte(r.IntN(3)))
			}
		default:
			for range size {
				b = append(b, "etaoin shrdlu\n<>/"[min(r.IntN(17), r.IntN(17))])
			}
		}
	}
	return b[:n]
}

// Whatever the tools write comes back.
func TestWrittenByTools(t *testing.T) {
	tool(t, "xz")
	huge, big, small := sample(6<<20, 1), sample(1<<20, 1), sample(60_000, 2)
	type args = []string
	type toolCase struct {
		in   []byte
		args args
	}
	cases := []toolCase{
		{nil, args{"-0"}}, {nil, args{"-T2"}}, {[]byte("x"), args{"-9e"}},
		{big, args{"-T2", "--block-size=100000"}}, {big, args{"-T1", "--block-size=100000"}},
		{big, args{"-T2", "--block-list=1,4095,4096,300000,0"}},
		{small, args{"-T2", "--block-size=512"}},
	}
	for preset := range 10 {
		cases = append(cases, toolCase{big, args{fmt.Sprintf("-%d", preset)}}, toolCase{small, args{fmt.Sprintf("-%de", preset)}})
	}
	for _, check := range []string{"none", "crc32", "crc64", "sha256"} {
		cases = append(cases, toolCase{small, args{"--check=" + check}})
	}
	for lc := range 5 {
		for lp := range 5 - lc {
			for pb := range 5 {
				cases = append(cases, toolCase{small, args{fmt.Sprintf("--lzma2=preset=1,lc=%d,lp=%d,pb=%d,dict=4KiB", lc, lp, pb)}})
			}
		}
	}
	for _, dict := range []string{"4KiB", "5000", "64KiB", "100000", "1MiB", "3MiB", "64MiB"} {
		cases = append(cases,
			toolCase{huge, args{"--lzma2=preset=0,dict=" + dict}},
			toolCase{small, args{"--lzma2=mode=normal,nice=273,dict=" + dict}})
	}
	var z Reader
	defer z.Close()
	for _, c := range cases {
		packed := pipe(t, c.in, "xz", append(args{"-c", "--no-adjust"}, c.args...)...)
		for _, workers := range []int{1, 2} {
			z.Reset(bytes.NewReader(packed), Config{Workers: workers, MaxSize: int64(max(1, len(c.in)))})
			var out bytes.Buffer
			if _, err := z.WriteTo(&out); err != nil || !bytes.Equal(out.Bytes(), c.in) {
				t.Errorf("xz %v, %d workers: wrong output or %v", c.args, workers, err)
			}
		}
		if len(c.args) == 1 && len(c.args[0]) < 4 {
			packed := pipe(t, c.in, "xz", append(args{"-c", "--format=lzma"}, c.args...)...)
			z.Reset(bytes.NewReader(packed), Config{Format: LZMA})
			if out, err := io.ReadAll(&z); err != nil || !bytes.Equal(out, c.in) {
				t.Errorf("xz --format=lzma %v: wrong output or %v", c.args, err)
			}
		}
	}
}

// Streams and padding, alone and together; the same verdicts as xz.
func TestStreams(t *testing.T) {
	tool(t, "xz")
	a := pipe(t, []byte("first"), "xz", "-c")
	b := pipe(t, []byte("second"), "xz", "-c", "--check=sha256")
	empty := pipe(t, nil, "xz", "-c")
	zeros := make([]byte, 64)
	for _, parts := range [][][]byte{
		{a, b}, {a, empty, b}, {empty, empty}, {a, zeros[:4]}, {a, zeros[:8], b, zeros}, {a, zeros[:4], empty, zeros[:4]},
		{a, zeros[:1]}, {a, zeros[:3], b}, {a, zeros[:6]}, {zeros[:4], a}, {zeros[:4]}, {a, []byte("tail")}, {a, a[:5]},
		{a, zeros[:8], []byte("not xz at all")}, {{}}, {a[:len(a)-1]}, {a, b[:len(b)-1]}, {a[:11]},
	} {
		in := bytes.Join(parts, nil)
		cmd := exec.Command("xz", "-dc", "--format=xz")
		cmd.Stdin = bytes.NewReader(in)
		want, wantErr := cmd.Output()
		got, err := io.ReadAll(NewReader(bytes.NewReader(in), Config{}))
		if (err == nil) != (wantErr == nil) || err == nil && !bytes.Equal(got, want) {
			t.Errorf("%q: got %q, %v; xz says %q, %v", in, got, err, want, wantErr)
		}
	}
}

// All NARs of the test caches decode to what the tools say.
func TestCaches(t *testing.T) {
	bed := os.Getenv("THAW_TESTBED")
	if bed == "" {
		bed = filepath.Join("..", "..", "shared")
	}
	if _, err := os.Stat(filepath.Join(bed, "caches")); err != nil {
		t.Skipf("SKIPPED: no test caches: %v", err)
	}
	var z Reader
	defer z.Close()
	for _, c := range []struct {
		dir, tool string
		args      []string
		config    Config
	}{
		{"xz", "xz", []string{"-dc"}, Config{Workers: 2}},
		{"small", "xz", []string{"-dc"}, Config{}},
		{"small-parallel", "xz", []string{"-dc"}, Config{Workers: 2}},
		{"small-lzma", "xz", []string{"-dc", "--format=lzma"}, Config{Format: LZMA}},
		{"small-lzip", "lzip", []string{"-dc"}, Config{Format: Lzip}},
	} {
		t.Run(c.dir, func(t *testing.T) {
			tool(t, c.tool)
			if c.dir == "xz" && testing.Short() {
				t.Skip("SKIPPED: -short")
			}
			names, _ := filepath.Glob(filepath.Join(bed, "caches", c.dir, "nar", "*"))
			if len(names) == 0 {
				t.Fatal("no NARs")
			}
			for _, name := range names {
				f, err := os.Open(name)
				if err != nil {
					t.Fatal(err)
				}
				want := sha256.New()
				cmd := exec.Command(c.tool, c.args...)
				cmd.Stdin, cmd.Stdout = f, want
				if err := cmd.Run(); err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				if _, err := f.Seek(0, io.SeekStart); err != nil {
					t.Fatal(err)
				}
				got := sha256.New()
				z.Reset(f, c.config)
				if _, err := z.WriteTo(got); err != nil || !sameSum(got, want) {
					t.Errorf("%s: other content than %s's, or %v", name, c.tool, err)
				}
				f.Close()
			}
		})
	}
}

func sameSum(a, b hash.Hash) bool { return bytes.Equal(a.Sum(nil), b.Sum(nil)) }
