package rootfs_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"

	"thaw/rootfs"
)

// collector keeps all that it gets, as text.
type collector struct {
	got  bytes.Buffer
	fail string // the path that is refused
	late bool   // after half of its content
	err  error  // the last one
}

var errRefused = errors.New("refused")

// exact reads all of a file, and does not look for its end.
type exact struct{}

func (exact) Add(e rootfs.Entry, data io.Reader) error {
	_, err := io.CopyN(io.Discard, data, e.Size)
	return err
}

// failing refuses a file as soon as it has read a first piece of it, as others may at
// that time.
type failing struct{ err error }

func (f failing) Add(e rootfs.Entry, data io.Reader) error {
	io.CopyN(io.Discard, data, min(e.Size, 1<<20))
	return f.err
}

func (c *collector) Add(e rootfs.Entry, data io.Reader) error {
	c.got.WriteString(e.Path + "\n")
	if data == nil {
		return nil
	}
	if e.Path == c.fail {
		if c.late {
			io.CopyN(io.Discard, data, e.Size/2)
		}
		return errRefused
	}
	n, err := io.Copy(&c.got, data)
	if err == nil && n != e.Size {
		err = errors.New("another size")
	}
	c.err = err
	return err
}

// sizes are around the pieces in which a tee passes files on.
var sizes = []int64{0, 1, 1<<20 - 1, 1 << 20, 1<<20 + 1, 3 << 20, 5<<20 + 7}

func TestTee(t *testing.T) {
	add := func(s rootfs.Sink) error {
		if err := s.Add(rootfs.Dir(".", 0o755), nil); err != nil {
			return err
		}
		rnd := rand.NewChaCha8([32]byte{})
		for i, size := range sizes {
			e := rootfs.Entry{Path: strings.Repeat("f", i+1), Mode: 0o644, Size: size}
			if err := s.Add(e, io.LimitReader(rnd, size)); err != nil {
				return err
			}
		}
		return nil
	}
	alone := &collector{}
	if err := add(alone); err != nil {
		t.Fatal(err)
	}
	sinks := []*collector{{}, {}, {}}
	if err := add(rootfs.Tee(sinks[0], sinks[1], sinks[2])); err != nil {
		t.Fatal(err)
	}
	for i, s := range sinks {
		if !bytes.Equal(s.got.Bytes(), alone.got.Bytes()) {
			t.Errorf("sink %d got something else", i)
		}
	}
	if s := rootfs.Sink(alone); rootfs.Tee(s) != s {
		t.Error("a tee of one sink is not that sink")
	}

	// What one refuses ends all, and stays.
	for i, size := range sizes {
		for _, late := range []bool{false, true} {
			bad := &collector{fail: strings.Repeat("f", i+1), late: late}
			tee := rootfs.Tee(&collector{}, bad, &collector{})
			if err := add(tee); err != errRefused {
				t.Errorf("%d bytes, late %t: %v", size, late, err)
			}
			if err := tee.Add(rootfs.Dir("d", 0o755), nil); err != errRefused {
				t.Errorf("after the error: %v", err)
			}
		}
	}

	// A sink that has all of a file need not look for its end; others may.
	for _, size := range sizes {
		e := rootfs.Entry{Path: "f", Mode: 0o644, Size: size}
		sinks := []rootfs.Sink{exact{}, &collector{}, exact{}}
		if err := rootfs.Tee(sinks...).Add(e, bytes.NewReader(make([]byte, size))); err != nil {
			t.Errorf("%d bytes: %v", size, err)
		}
		if n := int64(sinks[1].(*collector).got.Len() - len("f\n")); n != size {
			t.Errorf("%d of %d bytes came", n, size)
		}
		if err := sinks[1].(*collector).err; err != nil {
			t.Errorf("%d bytes: a sink was told %v", size, err)
		}
	}

	// Of several errors it is that of the first sink.
	for range 20 {
		for _, size := range []int64{1, 1<<20 + 1} {
			first := errors.New("first")
			tee := rootfs.Tee(&collector{}, failing{first}, failing{errors.New("second")}, &collector{fail: "f"})
			e := rootfs.Entry{Path: "f", Mode: 0o644, Size: size}
			if err := tee.Add(e, bytes.NewReader(make([]byte, size))); err != first {
				t.Fatalf("%d bytes: %v", size, err)
			}
		}
	}

	// What the source says is the error.
	broken := errors.New("broken")
	for _, size := range sizes[1:] {
		tee := rootfs.Tee(&collector{}, &collector{})
		e := rootfs.Entry{Path: "f", Mode: 0o644, Size: size}
		data := io.MultiReader(io.LimitReader(rand.NewChaCha8([32]byte{}), size/2), iotest.ErrReader(broken))
		if err := tee.Add(e, data); err != broken {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
}
