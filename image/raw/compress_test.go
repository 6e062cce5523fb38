package raw_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"thaw/image/raw"
	"thaw/image/raw/rawtest"
	"thaw/internal/testbed"
)

var compressions = []raw.Compression{raw.Gzip, raw.Zstd, raw.XZ}

// The tools give back the disk, which is the image up to a whole sector.
func TestCompress(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	const mib = 1 << 20
	mixed := append(append(rawtest.Text(mib+100), make([]byte, 2*mib)...), rawtest.Random(100_000)...)
	digests := map[raw.Compression]string{
		raw.Gzip: "29013a608f45bc37d3731add237ac696189f53750957a40fcea5ae291de34e88",
		raw.Zstd: "4cd1e44b6cb60c2527929659f135284c52c078b8b3dfd7dc76b48834b4fda277",
		raw.XZ:   "41eb60c75c43bd9cd37195661eb612db13d8f47d3eaa7371a547f7700adde469",
	}
	for _, c := range compressions {
		tool := testbed.Tool(t, c.String())
		for _, image := range [][]byte{{1}, make([]byte, 512), make([]byte, 2*mib), rawtest.Text(mib), mixed} {
			f := sparse(t, int64(len(image)), map[int64][]byte{0: image[:min(mib+100, len(image))], int64(len(image)) / 2: image[len(image)/2:]})
			var b bytes.Buffer
			if err := raw.Compress(&b, f, int64(len(image)), c); err != nil {
				t.Fatal(err)
			}
			want := append(bytes.Clone(image), make([]byte, -len(image)&511)...)
			cmd := exec.Command(tool, "-dc")
			cmd.Stdin = bytes.NewReader(b.Bytes())
			if got, err := cmd.Output(); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%v of %d bytes: %d come back, %v", c, len(image), len(got), err)
			}
			if len(image) != len(mixed) {
				continue
			}
			if got := fmt.Sprintf("%x", sha256.Sum256(b.Bytes())); got != digests[c] {
				t.Errorf("%v: its digest is %s, and was %s", c, got, digests[c])
			}
			for _, procs := range []int{1, 5} {
				runtime.GOMAXPROCS(procs)
				var again bytes.Buffer
				if err := raw.Compress(&again, bytes.NewReader(image), int64(len(image)), c); err != nil || !bytes.Equal(again.Bytes(), b.Bytes()) {
					t.Errorf("%v of %d bytes: others with %d processors, %v", c, len(image), procs, err)
				}
			}
		}
	}
}

// A stream of many blocks has an index that xz agrees with.
func TestIndex(t *testing.T) {
	f := sparse(t, 300<<20, map[int64][]byte{100 << 20: rawtest.Text(5000)})
	var b bytes.Buffer
	if err := raw.Compress(&b, f, 300<<20, raw.XZ); err != nil {
		t.Fatal(err)
	}
	packed := sparse(t, int64(b.Len()), map[int64][]byte{0: b.Bytes()})
	out := string(testbed.Run(t, "xz", "-lv", "--robot", "--format=xz", packed.Name()))
	if want := fmt.Sprintf("\ntotals\t1\t300\t%d\t%d\t", b.Len(), 300<<20); !strings.Contains(out, want) {
		t.Errorf("%q is not in:\n%s", want, out)
	}
	testbed.Run(t, "xz", "-t", "--format=xz", packed.Name())
}

func TestCompressErrors(t *testing.T) {
	data := rawtest.Random(1<<20 + 5)
	for _, c := range compressions {
		if err := raw.Compress(io.Discard, bytes.NewReader(data), int64(len(data))+1, c); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%v of a short image: %v", c, err)
		}
		full := errors.New("disk full")
		for _, room := range []int{0, 12, 1 << 19, 1 << 20} {
			if err := raw.Compress(&limited{room, full}, bytes.NewReader(data), int64(len(data)), c); !errors.Is(err, full) {
				t.Errorf("%v with room for %d bytes: %v", c, room, err)
			}
		}
	}
	if err := raw.Compress(io.Discard, bytes.NewReader(data), 5, 99); err == nil || err.Error() != "raw image: there is no compression Compression(99)" {
		t.Error(err)
	}
}

type limited struct {
	room int
	err  error
}

func (l *limited) Write(p []byte) (int, error) {
	if len(p) > l.room {
		return l.room, l.err
	}
	l.room -= len(p)
	return len(p), nil
}
