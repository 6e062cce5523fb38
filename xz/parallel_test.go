package xz

import (
	"bytes"
	"io"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

// Where the Reader's own goroutine is at work, each block asks once for another one, and
// where there is none it waits. What was lent comes back.
func TestSpare(t *testing.T) {
	tool(t, "xz")
	in := bytes.Repeat([]byte("some text that is packed in blocks\n"), 20000)
	packed := pipe(t, in, "xz", "-c", "-0", "-T2", "--block-size=10000")
	const most = 5
	synctest.Test(t, func(t *testing.T) {
		for _, spares := range []int64{0, 1, most} {
			var asked, lent, back atomic.Int64
			c := Config{Workers: 4, Blocks: most, MaxSize: int64(len(in)), Spare: func() (func(), bool) {
				asked.Add(1)
				if lent.Add(1) > spares {
					lent.Add(-1)
					return nil, false
				}
				return func() { lent.Add(-1); back.Add(1) }, true
			}}
			z := NewReader(bytes.NewReader(packed), c)
			gate := make(chan struct{})
			z.crew.Set(1, c.Spare)
			z.crew.Begin(z.crew.Job(), func(*job, *atomic.Bool) { <-gate }) // has nothing to hand out
			synctest.Wait()
			var out []byte
			var err error
			ended := false
			go func() { out, err = io.ReadAll(z); ended = true }()
			synctest.Wait()
			if n := asked.Load(); ended || n != most-1 {
				t.Errorf("%d to spare: ended %t, asked %d times for %d blocks", spares, ended, n, most-1)
			}
			if n := back.Load(); spares == 0 && n != 0 || spares == most && n != most-1 {
				t.Errorf("%d to spare: %d of %d blocks are decoded by them", spares, n, most-1)
			}
			close(gate)
			synctest.Wait()
			if !ended || err != nil || !bytes.Equal(out, in) {
				t.Errorf("%d to spare: %d bytes of %d, %v", spares, len(out), len(in), err)
			}
			z.Close()
			if lent.Load() != 0 {
				t.Errorf("%d to spare: %d are not given back", spares, lent.Load())
			}
		}
	})
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
