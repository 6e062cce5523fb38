package erofs

import (
	"io"
	"slices"
	"sync"
)

// maxQueue bounds what waits behind a segment.
const maxQueue = 1 << 12

// A queue has several segments compressed at a time, and then written in the
// order in which they came: what the file system is like does not depend on how
// many there are. Whatever else has an inode waits for its turn.
type queue struct {
	jobs     int
	encoders chan *lz4 // that are free; nil stands for one that is not made yet
	tasks    []task
	segments int // in tasks
	spare    []*segment
	workers  sync.WaitGroup
}

// A task is what waits: a segment, or anything else.
type task struct {
	segment *segment
	do      func()
}

func (q *queue) init(jobs int) {
	q.jobs = jobs
	q.encoders = make(chan *lz4, jobs)
	for range jobs {
		q.encoders <- nil
	}
}

// then does something when its turn comes.
func (w *Writer) then(do func()) {
	if len(w.queue.tasks) == 0 {
		do()
		return
	}
	w.queue.tasks = append(w.queue.tasks, task{do: do})
	w.settle(2 * w.queue.jobs)
}

// settle does what is ready, and waits where more than a number of segments are
// on their way.
func (w *Writer) settle(most int) {
	q := &w.queue
	for len(q.tasks) > 0 {
		t := q.tasks[0]
		if s := t.segment; s == nil {
			t.do()
		} else {
			if q.segments > most || len(q.tasks) > maxQueue {
				<-s.done
			} else {
				select {
				case <-s.done:
				default:
					return
				}
			}
			w.writeSegment(s)
			q.segments--
			q.spare = append(q.spare, s)
		}
		q.tasks[0] = task{}
		q.tasks = q.tasks[1:]
	}
}

// addPacked adds a regular file to be compressed.
func (w *Writer) addPacked(f *packedFile, data io.Reader) error {
	for left := f.inode.size; left > 0; {
		w.settle(2 * w.queue.jobs)
		if w.out.err != nil {
			break
		}
		s := w.queue.takeSegment(w.opt.ClusterSize, int(min(left, segmentSize)))
		if err := readFull(data, s.src); err != nil {
			return err
		}
		left -= int64(len(s.src))
		s.file, s.last, s.sums = f, left == 0, w.opt.Dedupe
		w.queue.compress(s, w.opt.Compression)
	}
	return w.out.err
}

// takeSegment returns a segment with room for n bytes.
func (q *queue) takeSegment(cluster, n int) *segment {
	if len(q.spare) == 0 {
		q.spare = append(q.spare, &segment{done: make(chan struct{}, 1), cluster: make([]byte, cluster)})
	}
	last := len(q.spare) - 1
	s := q.spare[last]
	q.spare = q.spare[:last]
	s.src = slices.Grow(s.src[:0], n)[:n]
	return s
}

// compress puts a segment into the queue, and has a worker compress it as soon as
// an encoder is free.
func (q *queue) compress(s *segment, c Compression) {
	z := <-q.encoders
	if z == nil {
		z = newLZ4(c)
	}
	q.workers.Go(func() {
		s.compress(z)
		q.encoders <- z
		s.done <- struct{}{}
	})
	q.tasks = append(q.tasks, task{segment: s})
	q.segments++
}
