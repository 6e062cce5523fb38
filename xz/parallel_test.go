package xz

import (
	"bytes"
	"io"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

// Blocks are decoded by whom Spare gives, and by the Reader's own goroutine where it
// gives nobody. How often it is asked depends on time; what it gives it gets back.
func TestSpare(t *testing.T) {
	tool(t, "xz")
	in := bytes.Repeat([]byte("some text that is packed in blocks\n"), 20000)
	packed := pipe(t, in, "xz", "-c", "-0", "-T2", "--block-size=10000")
	const blocks = 70
	for _, spares := range []int64{0, 1, 3, 5} {
		var asked, lent atomic.Int64
		z := NewReader(bytes.NewReader(packed), Config{Workers: 5, Blocks: 5, MaxSize: int64(len(in)), Spare: func() (func(), bool) {
			asked.Add(1)
			if lent.Add(1) > spares {
				lent.Add(-1)
				return nil, false
			}
			return func() { lent.Add(-1) }, true
		}})
		out, err := io.ReadAll(z)
		if err != nil || !bytes.Equal(out, in) {
			t.Errorf("%d to spare: %d bytes of %d, %v", spares, len(out), len(in), err)
		}
		z.Close()
		if lent.Load() != 0 || asked.Load() > blocks {
			t.Errorf("%d to spare: %d are not given back; asked %d times for %d blocks", spares, lent.Load(), asked.Load(), blocks)
		}
	}
}

// A Reader that is abandoned at any point has no goroutine at work after Close or
// Reset, and both are possible at any time.
func TestAbandoned(t *testing.T) {
	c := container{check: checkCRC64}
	for seed := range uint64(12) {
		w := randomChunks(rand.New(rand.NewPCG(8, seed)), 4096, 3)
		c.blocks = append(c.blocks, containerBlock{data: w.data, output: w.out, sized: true})
	}
	in := c.bytes()
	synctest.Test(t, func(t *testing.T) { // fails where a goroutine stays
		var z Reader
		for n := range 200 {
			z.Reset(bytes.NewReader(in), Config{Workers: 3})
			if z.crew.Len() > 0 {
				t.Errorf("after %d bytes: Reset leaves %d jobs", (n-1)*100, z.crew.Len())
			}
			if _, err := io.CopyN(io.Discard, &z, int64(n*100)); err != nil && err != io.EOF {
				t.Fatal(err)
			}
			if n%2 == 0 {
				z.Close()
				if z.crew.Len() > 0 {
					t.Errorf("after %d bytes: Close leaves %d jobs", n*100, z.crew.Len())
				}
				z.Close()
				if _, err := z.Read(make([]byte, 1)); err != errClosed {
					t.Fatalf("Read after Close: %v", err)
				}
			}
		}
		z.Close()
	})
}
