package substituter

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"thaw/narinfo"
)

// spool holds the file of a NAR, as the cache has it, while it arrives: in memory
// as long as it is short, then in nar/HASH.part. That file is there from the
// start: its advisory lock makes one process at a time fetch a NAR. It outlives a
// killed process, and the next one goes on where that ended.
//
// It has 64 bytes that name what the rest is the beginning of, in hexadecimal,
// and then that.
type spool struct {
	path  string
	f     *os.File
	mark  [markSize]byte
	moved bool // the file has become the NAR, or never had a name

	mu     sync.Mutex
	more   sync.Cond // something below has changed
	mem    []byte    // what is there, unless it is in the file
	inFile bool
	size   int64  // bytes of the cache's file that are there
	round  int    // how often it was started again
	ended  bool   // nothing more will come
	err    error  // why, if the file is not whole
	pieces bool   // what is there did not come in one answer
	url    string // of the file
	sized  bool   // the server said how long it is
}

const (
	markSize   = 64
	partSuffix = ".part"
	// inMemory is how much of a file stays in memory.
	inMemory = 256 << 10
)

// Rests of a download are kept if they are worth it, and not for ever.
const (
	worthKeeping = 1 << 20
	oldestRest   = 7 * 24 * time.Hour
)

// bodyBuffer is how much of a body is read at a time.
const bodyBuffer = 64 << 10

var bodyBuffers = sync.Pool{New: func() any { return new([bodyBuffer]byte) }}

// errBusy says that another process has the lock.
var errBusy = errors.New("busy")

// openLocked opens the file at path and locks it. It returns errBusy if another
// process has it. On a file system without locks it is open all the same:
// processes may then fetch a NAR twice, and spoil each other's rests, which the
// hash tells.
func openLocked(path string, flags int) (*os.File, error) {
	for {
		f, err := os.OpenFile(path, flags|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o644)
		if err != nil {
			return nil, err
		}
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err == unix.EWOULDBLOCK {
			f.Close()
			return nil, errBusy
		}
		locked, err := f.Stat()
		if err != nil {
			f.Close()
			return nil, err
		}
		if named, err := os.Lstat(path); err == nil && os.SameFile(locked, named) {
			return f, nil
		}
		f.Close() // removed or renamed before it was locked
	}
}

// openSpool opens and locks the spool at path.
func openSpool(path string) (*spool, error) {
	f, err := openLocked(path, os.O_RDWR|os.O_CREATE)
	if err != nil {
		return nil, err
	}
	s := newSpool(path)
	s.f = f
	return s, nil
}

// newSpool returns a spool for what should be short enough for memory. It has no
// lock, and a file only if it needs one after all: one without a name.
func newSpool(path string) *spool {
	s := &spool{path: path}
	s.more.L = &s.mu
	return s
}

// begin says of what cache's file the spool is. What it has of another one is
// dropped.
func (s *spool) begin(c *Remote, info *narinfo.Info) error {
	id := c.String() + "\n" + info.URL
	if !info.FileHash.IsZero() {
		id = info.FileHash.Base32() // the same in every cache
	}
	sum := sha256.Sum256([]byte(id))
	s.mu.Lock()
	defer s.mu.Unlock()
	was := s.mark
	hex.Encode(s.mark[:], sum[:])
	if s.size > 0 && was == s.mark { // from the cache before
		s.pieces = true
		return nil
	}
	s.mem, s.size, s.pieces, s.inFile = nil, 0, false, false
	var found [markSize]byte
	var there int64
	if s.f != nil {
		st, err := s.f.Stat()
		if err != nil {
			return err
		}
		if there = st.Size() - markSize; there > 0 {
			if _, err := s.f.ReadAt(found[:], 0); err != nil {
				return err
			}
		}
	}
	if found == s.mark {
		s.size, s.pieces, s.inFile = there, true, true
	} else {
		s.mem = make([]byte, 0, min(max(info.FileSize, 1<<10), inMemory))
	}
	return nil
}

// from notes what the body's head says.
func (s *spool) from(b *Body) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.url, s.sized = b.URL, b.Size >= 0
	s.pieces = s.pieces || b.From > 0
}

// joined reports whether what is there came in several answers, maybe of
// different files.
func (s *spool) joined() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pieces
}

// origin returns the file's URL, and whether its server said how long it is.
func (s *spool) origin() (url string, sized bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.url, s.sized
}

func (s *spool) length() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.size
}

// add appends to what is there. Only one goroutine may call add and restart.
func (s *spool) add(p []byte) error {
	s.mu.Lock()
	if !s.inFile && len(s.mem)+len(p) <= inMemory {
		s.mem = append(s.mem, p...)
	} else {
		at, err := s.size, s.spill()
		s.mu.Unlock() // readers see what s.size covers
		if err == nil {
			_, err = s.f.WriteAt(p, markSize+at)
		}
		s.mu.Lock()
		if err != nil {
			s.mu.Unlock()
			return err
		}
	}
	defer s.mu.Unlock()
	s.size += int64(len(p))
	s.more.Broadcast()
	return nil
}

// spill moves what is in memory to the file. s.mu is held.
func (s *spool) spill() error {
	if s.inFile {
		return nil
	}
	if s.f == nil {
		f, err := os.CreateTemp(filepath.Dir(s.path), ".*"+partSuffix)
		if err != nil {
			return err
		}
		s.f, s.moved = f, true
		if err := unname(f); err != nil {
			return err
		}
	}
	if err := s.f.Truncate(0); err != nil {
		return err
	}
	_, err := s.f.WriteAt(append(s.mark[:], s.mem...), 0)
	s.inFile, s.mem = err == nil, nil
	return err
}

// unname removes the name of a file, unless another process has taken it for a rest and
// removed it already.
func unname(f *os.File) error {
	if err := os.Remove(f.Name()); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// restart drops what has come. Readers see errRestarted.
func (s *spool) restart() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.size > 0 {
		s.size, s.pieces = 0, false
		s.round++
	}
	s.mem, s.inFile = s.mem[:0], false
	s.more.Broadcast()
}

// spare reports whether the file has no use any more: all that comes has come, and
// is in memory.
func (s *spool) spare() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ended && !s.inFile
}

// stored reports whether what is there is in the file.
func (s *spool) stored() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.inFile
}

// reopen makes the spool ready for more.
func (s *spool) reopen() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended, s.err = false, nil
}

// end says that nothing more will come, and why unless the file is whole.
func (s *spool) end(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended, s.err = true, err
	s.more.Broadcast()
}

// wait waits until n bytes are there or nothing more comes, and then returns
// whether the latter is so, and why.
func (s *spool) wait(n int64) (ended bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.size < n && !s.ended {
		s.more.Wait()
	}
	return s.ended, s.err
}

// errRestarted is for readers of what is no longer the beginning of the file.
var errRestarted = errors.New("the download has started again")

// reader reads the file from its start, and waits for what has not come yet.
// Whoever fills the spool must call end.
func (s *spool) reader() *spoolReader {
	s.mu.Lock()
	defer s.mu.Unlock()
	return &spoolReader{s: s, round: s.round}
}

type spoolReader struct {
	s       *spool
	off     int64
	round   int
	stopped bool // under s.mu
}

// errStopped is for readers that nobody needs any more.
var errStopped = errors.New("reading the download was stopped")

// stop ends a Read that waits, and those to come.
func (r *spoolReader) stop() {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	r.stopped = true
	r.s.more.Broadcast()
}

func (r *spoolReader) Read(p []byte) (int, error) {
	r.s.mu.Lock()
	for r.off == r.s.size && r.round == r.s.round && !r.s.ended && !r.stopped {
		r.s.more.Wait()
	}
	if r.stopped {
		r.s.mu.Unlock()
		return 0, errStopped
	}
	there, round, err := r.s.size-r.off, r.s.round, r.s.err
	n := 0
	if round == r.round && there > 0 && !r.s.inFile {
		n = copy(p, r.s.mem[r.off:])
	}
	r.s.mu.Unlock()
	switch {
	case round != r.round:
		return 0, errRestarted
	case there <= 0 && err != nil:
		return 0, err
	case there <= 0:
		return 0, io.EOF
	case n == 0:
		n, err = r.s.f.ReadAt(p[:min(int64(len(p)), there)], markSize+r.off)
		if restarted, _ := r.state(); restarted { // meanwhile
			return 0, errRestarted
		}
		if err != nil {
			return 0, err
		}
	}
	r.off += int64(n)
	return n, nil
}

// state reports whether what was read is no longer what the spool holds, and, if
// it is, whether that came in several answers.
func (r *spoolReader) state() (restarted, joined bool) {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	return r.round != r.s.round, r.s.pieces
}

// become makes the file, which holds a NAR now, appear as that.
func (s *spool) become(nar string) error {
	if err := os.Rename(s.path, nar); err != nil {
		return err
	}
	s.moved = true
	return nil
}

// close gives the lock up. The file stays for the next run if keep is set and
// there is enough of it.
func (s *spool) close(rest rest) {
	if s.f == nil {
		return
	}
	if !s.moved && (rest == drop || !s.stored() || s.length() < worthKeeping) {
		os.Remove(s.path)
	}
	s.f.Close()
}

// rest says what becomes of a download that did not end in an object.
type rest int

const (
	drop rest = iota
	keep
)

// sweep removes the spool at path if it is of no use: its NAR is there, or it is
// too short, too old or not marked. Those that a process works on stay.
func sweep(path, nar string, now time.Time) error {
	f, err := openLocked(path, os.O_RDONLY)
	if err == errBusy || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	var mark [markSize]byte
	_, err = f.ReadAt(mark[:], 0)
	if err == nil {
		_, err = hex.Decode(make([]byte, markSize), mark[:])
	}
	_, narErr := os.Lstat(nar)
	if err != nil || narErr == nil || st.Size() < markSize+worthKeeping || now.Sub(st.ModTime()) > oldestRest {
		return os.Remove(path)
	}
	return nil
}

// lockSpool opens the spool at path as soon as no other process has it. done is
// asked, now and then, whether the wait has become needless; then the spool is
// nil.
func lockSpool(ctx context.Context, path string, done func() bool) (*spool, error) {
	for pause := 5 * time.Millisecond; ; pause = min(pause*2, 100*time.Millisecond) {
		if done() {
			return nil, nil
		}
		s, err := openSpool(path)
		switch {
		case err == nil && done():
			s.close(drop)
			return nil, nil
		case err != errBusy:
			return s, err
		}
		if err := sleep(ctx, pause); err != nil {
			return nil, err
		}
	}
}
