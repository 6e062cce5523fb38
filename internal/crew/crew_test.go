package crew

import (
	"runtime"
	"sync/atomic"
	"testing"
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

// One who finds the own slots taken asks once whether there is one to spare, and waits
// for the own ones if not.
func TestTurn(t *testing.T) {
	slots := make(chan struct{}, 1)
	asked, given := 0, 0
	has := func() (func(), bool) {
		asked++
		return func() { given++ }, true
	}
	own := turn(slots, has)
	if asked != 0 {
		t.Error("was asked although there was an own slot")
	}
	turn(slots, has)()
	if asked != 1 || given != 1 {
		t.Errorf("asked %d times, given back %d times", asked, given)
	}

	late, refused := make(chan func()), make(chan bool)
	go func() {
		late <- turn(slots, func() (func(), bool) {
			refused <- true
			return nil, false
		})
	}()
	<-refused
	select {
	case <-late:
		t.Fatal("a turn where there was no slot")
	default:
	}
	own()
	(<-late)()
	turn(slots, nil)()
	if len(slots) != 0 {
		t.Errorf("%d slots are taken", len(slots))
	}
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
