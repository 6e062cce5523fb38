package ahead

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
	"testing/iotest"
)

func TestReader(t *testing.T) {
	data := make([]byte, 3*Size*Buffers+17)
	rand.NewChaCha8([32]byte{}).Read(data)
	failed := errors.New("failed")
	for name, tt := range map[string]struct {
		r    io.Reader
		want []byte
		err  error
	}{
		"nothing":          {bytes.NewReader(nil), nil, nil},
		"much":             {bytes.NewReader(data), data, nil},
		"in halves":        {iotest.HalfReader(bytes.NewReader(data)), data, nil},
		"end with data":    {iotest.DataErrReader(bytes.NewReader(data)), data, nil},
		"a failure":        {io.MultiReader(bytes.NewReader(data[:Size+1]), iotest.ErrReader(failed)), data[:Size+1], failed},
		"a failure at all": {iotest.ErrReader(failed), nil, failed},
	} {
		t.Run(name, func(t *testing.T) {
			a := New(tt.r)
			got, err := io.ReadAll(struct{ io.Reader }{a})
			if !bytes.Equal(got, tt.want) || err != tt.err {
				t.Errorf("%d bytes of %d, %v", len(got), len(tt.want), err)
			}
			if _, again := a.Read(make([]byte, 1)); again != tt.err && (tt.err != nil || again != io.EOF) {
				t.Errorf("then %v", again)
			}
			a.Close()
			a.Close()
			if _, err := a.Read(make([]byte, 1)); err != errClosed {
				t.Errorf("after Close: %v", err)
			}
		})
	}
	var b bytes.Buffer
	a := New(bytes.NewReader(data))
	defer a.Close()
	head := make([]byte, 1000)
	if _, err := io.ReadFull(a, head); err != nil {
		t.Fatal(err)
	}
	n, err := a.WriteTo(&b)
	if err != nil || n != int64(len(data)-1000) || !bytes.Equal(b.Bytes(), data[1000:]) || !bytes.Equal(head, data[:1000]) {
		t.Errorf("WriteTo: %d bytes, %v", n, err)
	}
}

// counting is a pool that knows which buffers have come back.
type counting map[any]int

func (c counting) Get() any  { return new(buffer) }
func (c counting) Put(b any) { c[b]++ }

// What is closed reads no further, and every buffer can be used again, once.
func TestClose(t *testing.T) {
	defer func(was interface {
		Get() any
		Put(any)
	}) {
		pool = was
	}(pool)
	for name, tt := range map[string]struct{ size, take, reads int }{
		"unread":    {100 * Size, 0, Buffers},
		"in a part": {100 * Size, Size + 1, Buffers + 1},
		"at a part": {100 * Size, 2 * Size, Buffers + 1},
		"at an end": {2 * Size, 2 * Size, 3},
		"used up":   {2 * Size, 2*Size + 1, 3},
	} {
		t.Run(name, func(t *testing.T) {
			back := counting{}
			pool = back
			data := bytes.NewReader(make([]byte, tt.size))
			reads := make(chan struct{}, 101)
			a := New(readerFunc(func(p []byte) (int, error) { reads <- struct{}{}; return data.Read(p) }))
			if n, _ := io.ReadFull(a, make([]byte, tt.take)); n != min(tt.take, tt.size) {
				t.Fatalf("%d bytes of %d", n, tt.take)
			}
			for range tt.reads {
				<-reads // it goes on until nothing is free
			}
			a.Close()
			if n := len(reads); n > 0 {
				t.Errorf("%d reads more than %d", n, tt.reads)
			}
			if len(back) != Buffers {
				t.Errorf("%d buffers came back, not %d", len(back), Buffers)
			}
			for _, n := range back {
				if n != 1 {
					t.Errorf("a buffer came back %d times", n)
				}
			}
		})
	}
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
