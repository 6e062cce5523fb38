package sparse

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"
)

// file is a file in memory that says what was written where.
type file struct {
	data   []byte
	writes [][2]int64 // offset, length
	n      int        // more writes that succeed
	short  bool       // whether the one behind them is short
}

var errDisk = errors.New("the disk is gone")

func (f *file) WriteAt(p []byte, off int64) (int, error) {
	if f.n--; f.n < 0 {
		if f.short {
			return len(p) - 1, nil
		}
		return 0, errDisk
	}
	f.writes = append(f.writes, [2]int64{off, int64(len(p))})
	if grow := off + int64(len(p)) - int64(len(f.data)); grow > 0 {
		f.data = append(f.data, make([]byte, grow)...)
	}
	return copy(f.data[off:], p), nil
}

// What is appended in any pieces is what a reader finds.
func TestRandom(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	f := &file{n: 1 << 30}
	const start = 5000
	w := NewWriter(f, start)
	want := make([]byte, start)
	for range 300 {
		n := 1 + r.IntN(3*blockSize)
		if r.IntN(20) == 0 {
			n = r.IntN(3 * bufferSize)
		}
		if w.Pos() != int64(len(want)) {
			t.Fatalf("the place is %d, not %d", w.Pos(), len(want))
		}
		switch r.IntN(4) {
		case 0:
			w.Pad(int64(n))
			want = append(want, make([]byte, n)...)
		case 1:
			w.Move(w.Pos() + int64(n))
			want = append(want, make([]byte, n)...)
		case 2:
			p := bytes.Repeat([]byte{byte(r.Uint32() | 1)}, n)
			w.Append(p)
			want = append(want, p...)
		case 3:
			p := bytes.Repeat([]byte("zeros\x00\x00\x00"), n/8+1)[:n]
			if err := w.Copy(iotest.HalfReader(bytes.NewReader(p)), int64(n)); err != nil {
				t.Fatal(err)
			}
			want = append(want, p...)
		}
	}
	w.Append([]byte("end"))
	want = append(want, "end"...)
	if err := w.Flush(); err != nil || w.Err() != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(f.data, want) {
		t.Error("what was written is not what was appended")
	}
	for _, at := range f.writes {
		p := f.data[at[0]:][:at[1]]
		if len(p) > bufferSize || len(p) >= blockSize && (bytes.Equal(p[:blockSize], zeroBlock[:]) || bytes.HasSuffix(p, zeroBlock[:])) {
			t.Errorf("%d bytes are written at %d", at[1], at[0])
		}
	}
}

// Zeros alone are not written, and what lies side by side is written at once.
func TestWrites(t *testing.T) {
	f := &file{n: 1 << 30}
	w := NewWriter(f, 0)
	w.Pad(10 * bufferSize)
	w.Append([]byte("one"))
	w.Move(w.Pos())
	w.Append([]byte("two"))
	w.Move(0)
	w.Append([]byte("three"))
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	if len(f.writes) != 2 || f.writes[0] != [2]int64{10 * bufferSize, 6} || f.writes[1] != [2]int64{0, 5} {
		t.Errorf("writes of %v", f.writes)
	}
}

func TestErrors(t *testing.T) {
	w := NewWriter(&file{n: 1}, 0)
	if err := w.Copy(strings.NewReader("short"), 6); err != io.ErrUnexpectedEOF {
		t.Error(err)
	}
	if err := w.Copy(strings.NewReader(""), 1); err != io.ErrUnexpectedEOF {
		t.Error(err)
	}
	if err := w.Flush(); err != nil { // a reader's errors are its own
		t.Error(err)
	}
	for _, test := range []struct {
		f    file
		want error
	}{{file{n: 1}, errDisk}, {file{n: 1, short: true}, io.ErrShortWrite}} {
		w := NewWriter(&test.f, 0)
		for range 5 {
			w.Append([]byte("data"))
			w.Move(w.Pos() + 1)
		}
		if len(test.f.writes) != 1 || w.Err() != test.want || w.Flush() != test.want || w.Copy(iotest.ErrReader(nil), 1) != test.want {
			t.Errorf("%d writes, %v, not %v", len(test.f.writes), w.Err(), test.want)
		}
	}
}
