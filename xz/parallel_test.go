package xz

import (
	"bytes"
	"io"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

// Who is to work takes the slot if it is free; else a spare one, if there is one;
// else it waits for the slot.
func TestTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked, given, gotBack int
		spare := func() (func(), bool) {
			asked++
			return func() { gotBack++ }, asked <= given
		}
		slots := make(chan struct{}, 1)
		free := turn(slots, spare)
		if asked != 0 || len(slots) != 1 {
			t.Errorf("where the slot is free: asked %d times, %d slots taken", asked, len(slots))
		}
		given = 1
		turn(slots, spare)()
		if asked != 1 || gotBack != 1 || len(slots) != 1 {
			t.Errorf("where one is to spare: asked %d times, %d given back, %d slots taken", asked, gotBack, len(slots))
		}
		for _, ask := range []func() (func(), bool){spare, nil} {
			asked = 1
			var release func()
			go func() { release = turn(slots, ask) }()
			synctest.Wait()
			if release != nil {
				t.Error("it does not wait for the slot")
			}
			free()
			synctest.Wait()
			if release == nil || len(slots) != 1 || ask != nil && asked != 2 {
				t.Fatalf("when the slot is free again: has it %t, asked %d times, %d slots taken", release != nil, asked, len(slots))
			}
			free = release
		}
		if free(); len(slots) != 0 || gotBack != 1 {
			t.Errorf("at the end: %d slots taken, %d given back", len(slots), gotBack)
		}
	})
}

// Where the Reader's own goroutine is at work, each block asks once for another one,
// which is given back before the block is handed out; where there is none it waits.
func TestSpare(t *testing.T) {
	tool(t, "xz")
	in := bytes.Repeat([]byte("some text that is packed in blocks\n"), 20000)
	packed := pipe(t, in, "xz", "-c", "-0", "-T2", "--block-size=10000")
	const blocks, most = 70, 5
	synctest.Test(t, func(t *testing.T) {
		for _, spares := range []int64{0, 1, 3, most} {
			var asked, lent atomic.Int64
			gate := make(chan struct{})
			z := NewReader(bytes.NewReader(packed), Config{Workers: 5, Blocks: most, MaxSize: int64(len(in)), Spare: func() (func(), bool) {
				asked.Add(1)
				if lent.Add(1) > spares {
					lent.Add(-1)
					return nil, false
				}
				return func() { <-gate; lent.Add(-1) }, true
			}})
			z.crew.slots = make(chan struct{}, 1)
			z.crew.slots <- struct{}{} // it is at work
			var out []byte
			var err error
			ended := false
			go func() { out, err = io.ReadAll(z); ended = true }()
			synctest.Wait()
			if n := asked.Load(); ended || n != most {
				t.Errorf("%d to spare, none of them given back: ended %t, asked %d times", spares, ended, n)
			}
			close(gate)
			synctest.Wait()
			if n := asked.Load(); spares == 0 && (ended || n != most) || spares == most && (!ended || n != blocks) {
				t.Errorf("%d to spare: ended %t, asked %d times", spares, ended, n)
			}
			<-z.crew.slots
			synctest.Wait()
			if !ended || err != nil || !bytes.Equal(out, in) {
				t.Errorf("%d to spare: %d bytes of %d, %v", spares, len(out), len(in), err)
			}
			z.Close()
			if lent.Load() != 0 || len(z.crew.slots) != 0 {
				t.Errorf("%d to spare: %d are not given back, and %d of its own", spares, lent.Load(), len(z.crew.slots))
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
		ended := func(n int, jobs []*job) {
			t.Helper()
			for _, j := range jobs {
				if !j.finished() {
					t.Errorf("after %d bytes: a job goes on", n*100)
				}
			}
			if len(z.crew.slots) > 0 {
				t.Errorf("after %d bytes: %d goroutines are at work", n*100, len(z.crew.slots))
			}
		}
		for n := range 200 {
			jobs := slices.Clone(z.crew.queue)
			z.Reset(bytes.NewReader(in), Config{Workers: 3})
			ended(n-1, jobs)
			if _, err := io.CopyN(io.Discard, &z, int64(n*100)); err != nil && err != io.EOF {
				t.Fatal(err)
			}
			if n%2 == 0 {
				jobs := slices.Clone(z.crew.queue)
				z.Close()
				ended(n, jobs)
				z.Close()
				if _, err := z.Read(make([]byte, 1)); err != errClosed {
					t.Fatalf("Read after Close: %v", err)
				}
			}
		}
		z.Close()
	})
}
