// Package crew does jobs side by side and gives them back in the order in which they
// were begun, as what decodes the parts of one stream needs it.
package crew

import (
	"slices"
	"sync/atomic"
)

// A Crew is the jobs that are being done, each by a goroutine of its own. A job is a *J,
// whose memory is used again when it is done with. It is for one goroutine, which has to
// call Stop in the end.
type Crew[J any] struct {
	slots chan struct{} // holds one element for each job at work that Spare has nothing to do with
	spare func() (release func(), ok bool)
	queue []*task[J] // in their order
	given *J         // what Next returned
	idle  []*J       // done with
	quit  atomic.Bool
}

type task[J any] struct {
	job  *J
	done chan struct{} // closed when it is
}

// Set says how many jobs may be at work at a time, and, if that is not nil, whom to ask
// once for each job that finds as many at work already: if spare returns true it is done
// at once, and release is called afterwards. Both hold for jobs that begin later.
func (c *Crew[J]) Set(own int, spare func() (release func(), ok bool)) {
	if cap(c.slots) != own {
		c.slots = make(chan struct{}, own)
	}
	c.spare = spare
}

// Len is how many jobs have begun and have not been given back.
func (c *Crew[J]) Len() int { return len(c.queue) }

// Ready reports whether Next would not have to wait.
func (c *Crew[J]) Ready() bool {
	if len(c.queue) == 0 {
		return true
	}
	select {
	case <-c.queue[0].done:
		return true
	default:
		return false
	}
}

// Job returns a job to fill and to begin: one that is done with, or a new one. That is
// the end of the one that Next returned last.
func (c *Crew[J]) Job() *J {
	c.release()
	if n := len(c.idle); n > 0 {
		j := c.idle[n-1]
		c.idle = c.idle[:n-1]
		return j
	}
	return new(J)
}

// Begin has work done, as soon as it may be, which is to end early when quit says so.
func (c *Crew[J]) Begin(j *J, work func(j *J, quit *atomic.Bool)) {
	t := &task[J]{j, make(chan struct{})}
	c.queue = append(c.queue, t)
	slots, spare := c.slots, c.spare
	go func() {
		release := turn(slots, spare)
		work(j, &c.quit)
		release()
		close(t.done)
	}()
}

// turn waits for a slot, or takes a spare one.
func turn(slots chan struct{}, spare func() (func(), bool)) (release func()) {
	release = func() { <-slots }
	select {
	case slots <- struct{}{}:
		return release
	default:
	}
	if spare != nil {
		if release, ok := spare(); ok {
			return release
		}
	}
	slots <- struct{}{}
	return release
}

// Next waits for the job that was begun first and returns it, until Job, Next or Stop is
// called, or nil if there is none.
func (c *Crew[J]) Next() *J {
	c.release()
	if len(c.queue) == 0 {
		return nil
	}
	t := c.queue[0]
	<-t.done
	c.queue = slices.Delete(c.queue, 0, 1)
	c.given = t.job
	return t.job
}

func (c *Crew[J]) release() {
	if c.given != nil {
		c.idle = append(c.idle, c.given)
		c.given = nil
	}
}

// Stop has all jobs end, and waits for that. What they did is lost.
func (c *Crew[J]) Stop() {
	c.quit.Store(true)
	for c.Next() != nil {
	}
	c.quit.Store(false)
}
