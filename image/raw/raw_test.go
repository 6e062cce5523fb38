package raw_test

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"testing/synctest"

	"thaw/image/raw"
)

// sparse is a file of n bytes with holes.
func sparse(t testing.TB, n int64, data map[int64][]byte) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "raw"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	for off, b := range data {
		if _, err := f.WriteAt(b, off); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Truncate(n); err != nil {
		t.Fatal(err)
	}
	return f
}

func entry(i int64, block []byte) string {
	return fmt.Sprintf("%d: %d bytes, %08x", i, len(block), crc32.ChecksumIEEE(block))
}

// blocks are the blocks of an image, by the book.
func blocks(b []byte, size int) (list []string) {
	for i := 0; i*size < len(b); i++ {
		block := make([]byte, size)
		copy(block, b[i*size:])
		if !bytes.Equal(block, make([]byte, size)) {
			list = append(list, entry(int64(i), block))
		}
	}
	return list
}

func collect(r io.ReaderAt, length int64, size int, packer func() (raw.Packer, error)) (list []string, err error) {
	m, err := raw.New(r, length)
	if err != nil {
		return nil, err
	}
	for b, err := range m.Blocks(size, packer) {
		if err != nil {
			return list, err
		}
		if packer != nil && string(b.Packed) != "packed"+string(b.Data) {
			return list, errors.New("packed is another block")
		}
		list = append(list, entry(b.Index, b.Data))
	}
	return list, nil
}

func prefix() (raw.Packer, error) {
	return func(buf, data []byte) ([]byte, error) { return append(append(buf, "packed"...), data...), nil }, nil
}

func TestBlocks(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	f := sparse(t, 400_001, map[int64][]byte{5000: []byte("five"), 65530: []byte("a border, or two"), 300_000: bytes.Repeat([]byte("x"), 100_001)})
	all, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	for _, length := range []int64{1, 511, 512, 5003, 65536, 65540, 400_000, 400_001} {
		for _, size := range []int{512, 4096, 10_000, 65536, 1 << 20} {
			want := blocks(all[:length], size)
			for _, procs := range []int{1, 2, 7} {
				runtime.GOMAXPROCS(procs)
				for _, packer := range []func() (raw.Packer, error){nil, prefix} {
					for _, r := range []io.ReaderAt{f, bytes.NewReader(all)} {
						got, err := collect(r, length, size, packer)
						if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
							t.Fatalf("%d bytes of %T in blocks of %d: %d and not %d, %v", length, r, size, len(got), len(want), err)
						}
					}
				}
			}
		}
	}
}

// A hole is not read: that would take hours.
func TestHole(t *testing.T) {
	const tib = 1 << 40
	f := sparse(t, 7*tib, map[int64][]byte{3 * tib: []byte("x")})
	info, err := f.Stat()
	if err != nil || info.Size() != 7*tib || runtime.GOOS != "linux" {
		t.Skipf("SKIPPED: no such file here: %v", err)
	}
	got, err := collect(f, 7*tib, 4096, nil)
	if err != nil || len(got) != 1 {
		t.Errorf("%d blocks, %v", len(got), err)
	}
}

// Errors come where the block would, after those before it; also those of packers.
func TestErrors(t *testing.T) {
	data := bytes.Repeat([]byte("x"), 10*512)
	bad := errors.New("bad")
	data[7*512] = 'y'
	got, err := collect(bytes.NewReader(data), int64(len(data)), 512, func() (raw.Packer, error) {
		return func(buf, data []byte) ([]byte, error) {
			if data[0] == 'y' {
				return nil, bad
			}
			return append(append(buf, "packed"...), data...), nil
		}, nil
	})
	if !errors.Is(err, bad) || len(got) != 7 {
		t.Errorf("%d blocks, %v", len(got), err)
	}
	if _, err := collect(bytes.NewReader(data), int64(len(data)), 512, func() (raw.Packer, error) { return nil, bad }); !errors.Is(err, bad) {
		t.Error(err)
	}
	f := sparse(t, 1000, nil)
	for length, want := range map[int64]string{
		0:               "a disk of 0 bytes: it has 1 to 1152921504606846976",
		-5:              "a disk of -5 bytes: it has 1 to 1152921504606846976",
		raw.MaxSize + 1: "a disk of 1152921504606846977 bytes: it has 1 to 1152921504606846976",
		1001:            "raw image of 1001 bytes: at 1000: unexpected EOF",
	} {
		if _, err := raw.New(f, length); err == nil || err.Error() != want {
			t.Errorf("%d bytes: %v", length, err)
		}
	}
}

// Who stops early leaves no goroutine behind: the bubble ends when all of them have,
// and complains of one that waits for ever.
func TestStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, err := raw.New(bytes.NewReader(bytes.Repeat([]byte("x"), 1<<20)), 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		for range 20 {
			n := 0
			for range m.Blocks(512, prefix) {
				if n++; n == 3 {
					break
				}
			}
		}
	})
}

func FuzzBlocks(f *testing.F) {
	f.Add([]byte("\x00\x00hello\x00\x00\x00"), 3, uint8(2))
	f.Fuzz(func(t *testing.T, data []byte, size int, packed uint8) {
		if len(data) == 0 || size < 1 || size > 1<<16 {
			return
		}
		packer := prefix
		if packed%2 == 0 {
			packer = nil
		}
		got, err := collect(bytes.NewReader(data), int64(len(data)), size, packer)
		if want := blocks(data, size); err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%v, %v; want %v", got, err, want)
		}
	})
}
