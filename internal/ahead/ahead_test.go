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

// What is closed early reads no further, and every buffer can be used again.
func TestClose(t *testing.T) {
	var reads int
	r := readerFunc(func(p []byte) (int, error) { reads++; return len(p), nil })
	a := New(r)
	if _, err := io.ReadFull(a, make([]byte, 2*Size)); err != nil {
		t.Fatal(err)
	}
	a.Close()
	if was := reads; was > 2+Buffers {
		t.Errorf("%d reads", was)
	}
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
