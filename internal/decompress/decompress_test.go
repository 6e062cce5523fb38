package decompress

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"thaw/internal/testbed"
	"thaw/narinfo"
)

// nars returns a compressed NAR and its narinfo for each narinfo of a cache.
func nars(t *testing.T, dir string, yield func(info *narinfo.Info, packed []byte)) {
	files, _ := filepath.Glob(dir + "/*.narinfo")
	if len(files) == 0 {
		t.Fatalf("no narinfos in %s", dir)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		info, err := narinfo.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		packed, err := os.ReadFile(filepath.Join(dir, info.URL))
		if err != nil {
			t.Fatal(err)
		}
		yield(info, packed)
	}
}

func TestRealCaches(t *testing.T) {
	for _, codec := range []string{"br", "bzip2", "compress", "gzip", "lz4", "lzip", "lzma", "xz", "zstd"} {
		t.Run(codec, func(t *testing.T) {
			nars(t, "../../testdata/caches/tiny/cache-"+codec, func(info *narinfo.Info, packed []byte) { checkNAR(t, info, packed) })
		})
	}
}

func TestLargerCaches(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: eleven caches")
	}
	root := testbed.Dir(t, "caches")
	for _, codec := range []string{"", "-br", "-bzip2", "-compress", "-gzip", "-lz4", "-lzip", "-lzma", "-none", "-parallel", "-zstd"} {
		nars(t, root+"/small"+codec, func(info *narinfo.Info, packed []byte) { checkNAR(t, info, packed) })
	}
}

func checkNAR(t *testing.T, info *narinfo.Info, packed []byte) {
	z, err := NewReader(info.Compression, iotest.HalfReader(bytes.NewReader(packed)), info.NarSize)
	if err != nil {
		t.Fatalf("%s: %v", info.URL, err)
	}
	plain, err := io.ReadAll(z)
	if sum := sha256.Sum256(plain); err != nil || fmt.Sprintf("sha256:%x", sum) != info.NarHash.Base16() {
		t.Errorf("%s as %s: %d of %d bytes, %v", info.StorePath.Name(), info.Compression, len(plain), info.NarSize, err)
	}
	if err := z.Close(); err != nil {
		t.Error(err)
	}
	if seen := Sniff(packed[:min(len(packed), 24)]); seen != info.Compression && (seen != "" || info.Compression != "br" && info.Compression != "lzma") {
		t.Errorf("a stream of %s looks like %q", info.Compression, seen)
	}
}

// A stream that is cut off anywhere does not pass for the whole: it ends in an
// error or short.
func TestCutOff(t *testing.T) {
	for _, codec := range []string{"br", "bzip2", "compress", "gzip", "lz4", "lzip", "lzma", "xz", "zstd"} {
		quiet, tried := 0, 0
		nars(t, "../../testdata/caches/tiny/cache-"+codec, func(info *narinfo.Info, packed []byte) {
			for n := 0; n < len(packed); n += 1 + len(packed)/cuts(t) {
				tried++
				z, err := NewReader(codec, bytes.NewReader(packed[:n]), info.NarSize)
				if err != nil {
					continue
				}
				plain, err := io.ReadAll(z)
				if err == nil {
					quiet++
				}
				if err == nil && int64(len(plain)) == info.NarSize && codec != "lzma" {
					t.Errorf("%s: %d of %d bytes give the whole NAR", codec, n, len(packed))
				}
				z.Close()
			}
		})
		t.Logf("%s: %d of %d cuts end without an error, short", codec, quiet, tried)
	}
}

// cuts is at how many places each stream is cut off.
func cuts(t *testing.T) int {
	if testing.Short() {
		return 4
	}
	return 20
}

func TestErrorsOfTheSourcePass(t *testing.T) {
	broken := errors.New("the line is dead")
	for _, codec := range Names {
		if codec == "none" {
			continue
		}
		nars(t, "../../testdata/caches/tiny/cache-"+codec, func(info *narinfo.Info, packed []byte) {
			z, err := NewReader(codec, io.MultiReader(bytes.NewReader(packed[:len(packed)/2]), iotest.ErrReader(broken)), info.NarSize)
			if err == nil {
				_, err = io.Copy(io.Discard, z)
				z.Close()
			}
			if !errors.Is(err, broken) {
				t.Errorf("%s: %v", codec, err)
			}
		})
	}
}

func TestUnsupported(t *testing.T) {
	for _, codec := range []string{"", "XZ", "lrzip", "wat", strings.Repeat("x", 1000)} {
		_, err := NewReader(codec, strings.NewReader("x"), 1)
		var u UnsupportedError
		if !errors.As(err, &u) || len(err.Error()) > 300 {
			t.Errorf("%.20q: %v", codec, err)
		}
	}
}

// The .Z decoder agrees with the program that the format comes from, on input
// that fills the table, on widths that change, and on noise.
func TestUnixCompress(t *testing.T) {
	noise := make([]byte, 300_000)
	x := uint32(1)
	for i := range noise {
		x = x*1664525 + 1013904223
		noise[i] = byte(x >> 24)
	}
	mixed := append(bytes.Repeat([]byte("all work and no play "), 30_000), noise...)
	mixed = append(mixed, bytes.Repeat([]byte("another tune "), 50_000)...)
	for _, data := range [][]byte{[]byte("a"), []byte("aaaaaaaaaaaaaaaaaaaaaaaa"), noise, mixed} {
		for _, bits := range []string{"10", "12", "14", "16"} {
			file := filepath.Join(t.TempDir(), "f")
			if err := os.WriteFile(file, data, 0o644); err != nil {
				t.Fatal(err)
			}
			testbed.Run(t, "compress", "-f", "-b", bits, file)
			packed, err := os.ReadFile(file + ".Z")
			if err != nil {
				continue // it leaves alone what does not shrink
			}
			z, err := NewReader("compress", bytes.NewReader(packed), int64(len(data)))
			if err != nil {
				t.Fatal(err)
			}
			if plain, err := io.ReadAll(z); err != nil || !bytes.Equal(plain, data) {
				t.Errorf("%d bytes with %s bits: %d bytes, %v", len(data), bits, len(plain), err)
			}
		}
	}
}

func FuzzUnixCompress(f *testing.F) {
	f.Add([]byte("\x1f\x9d\x90a\xc2\x04"))
	f.Fuzz(func(t *testing.T, in []byte) {
		z, err := NewReader("compress", bytes.NewReader(in), 1<<20)
		if err == nil {
			io.Copy(io.Discard, io.LimitReader(z, 1<<20))
		}
	})
}
