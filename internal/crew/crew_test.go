package crew

import (
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

type job struct {
	n      int
	quit   bool
	begun  chan struct{}
	finish chan struct{}
}

func (j *job) work(quit *atomic.Bool) {
	close(j.begun)
	<-j.finish
	j.quit = quit.Load()
}

func begin(c *Crew[job], n int) *job {
	j := c.Job()
	*j = job{n: n, begun: make(chan struct{}), finish: make(chan struct{})}
	c.Begin(j, (*job).work)
	return j
}

// Jobs come back in their order, whatever the order in which they are done.
func TestOrder(t *testing.T) {
	var c Crew[job]
	c.Set(3, nil)
	if !c.Ready() || c.Next() != nil {
		t.Error("a job of none")
	}
	var jobs []*job
	for n := range 3 {
		jobs = append(jobs, begin(&c, n))
	}
	for n := 2; n >= 0; n-- {
		<-jobs[n].begun // all at once
		if c.Ready() {
			t.Errorf("job 0 is ready when job %d is not", n)
		}
	}
	for n := 2; n >= 0; n-- {
		close(jobs[n].finish)
		<-c.queue[n].done
	}
	for n := range 3 {
		if !c.Ready() || c.Len() != 3-n {
			t.Errorf("%d jobs, ready: %v", c.Len(), c.Ready())
		}
		if j := c.Next(); j.n != n || j.quit {
			t.Errorf("job %d is %+v", n, j)
		}
	}
	if c.Next() != nil || len(c.idle) != 3 {
		t.Errorf("%d of 3 jobs can be used again", len(c.idle))
	}
	if again := c.Job(); again != jobs[2] || len(c.idle) != 2 {
		t.Error("the memory is new")
	}
}

// Who is to work takes the slot if it is free; else a spare one, if there is one; else it
// waits for the slot.
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

// Stop tells those at work, and waits for those too that have not had their turn.
func TestStop(t *testing.T) {
	var c Crew[job]
	c.Set(1, nil)
	var ended atomic.Int32
	for range 3 {
		c.Begin(c.Job(), func(j *job, quit *atomic.Bool) {
			for !quit.Load() {
				runtime.Gosched()
			}
			ended.Add(1)
		})
	}
	c.Stop()
	if ended.Load() != 3 || c.Len() != 0 || len(c.idle) != 3 || len(c.slots) != 0 {
		t.Errorf("%d of 3 jobs have ended, %d are left, %d idle", ended.Load(), c.Len(), len(c.idle))
	}
	j := begin(&c, 3)
	close(j.finish)
	if c.Next() != j || j.quit {
		t.Error("none begins after Stop")
	}
}
