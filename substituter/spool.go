package substituter

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"thaw/narinfo"
)

// spool is the file in which the file of a NAR arrives, as the cache has it. It
// outlives a killed process: the next one goes on where that ended. Its advisory
// lock makes one process at a time fetch a NAR.
//
// The file, nar/HASH.part, has 64 bytes that name what the rest is the beginning
// of, in hexadecimal, and then that.
type spool struct {
	f    *os.File
	mark [markSize]byte

	mu     sync.Mutex
	more   sync.Cond // something below has changed
	size   int64     // bytes of the cache's file that are there
	round  int       // how often it was started again
	ended  bool      // nothing more will come
	err    error     // why, if the file is not whole
	pieces bool      // what is there did not come in one answer
	url    string    // of the file
	sized  bool      // the server said how long it is
}

const (
	markSize   = 64
	partSuffix = ".part"
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

// openSpool opens the spool at path and locks it. It returns errBusy if another
// process has it.
func openSpool(path string) (*spool, error) {
	for {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o644)
		if err != nil {
			return nil, err
		}
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if errors.Is(err, unix.EWOULDBLOCK) {
			f.Close()
			return nil, errBusy
		}
		if errors.Is(err, unix.EINTR) {
			f.Close()
			continue
		}
		// A file system without locks: processes may fetch a NAR twice, and
		// spoil each other's rests, which the hash tells.
		var st unix.Stat_t
		if err := unix.Fstat(int(f.Fd()), &st); err != nil {
			f.Close()
			return nil, err
		}
		if st.Nlink == 0 { // removed before it was locked
			f.Close()
			continue
		}
		s := &spool{f: f}
		s.more.L = &s.mu
		return s, nil
	}
}

// begin says of what cache's file the spool is. What it has of another one is
// dropped.
func (s *spool) begin(c *Remote, info *narinfo.Info) error {
	id := c.String() + "\n" + info.URL
	if !info.FileHash.IsZero() {
		id = info.FileHash.Base32() // the same in every cache
	}
	sum := sha256.Sum256([]byte(id))
	var mark, found [markSize]byte
	hex.Encode(mark[:], sum[:])
	st, err := s.f.Stat()
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.size, s.pieces = 0, false
	if _, err := s.f.ReadAt(found[:], 0); err == nil && found == mark {
		s.size = st.Size() - markSize
		s.pieces = s.size > 0
		return nil
	}
	if err := s.f.Truncate(0); err != nil {
		return err
	}
	_, err = s.f.WriteAt(mark[:], 0)
	return err
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

// add appends to the file. Only one goroutine may call add and restart.
func (s *spool) add(p []byte) error {
	if _, err := s.f.WriteAt(p, markSize+s.length()); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.size += int64(len(p))
	s.more.Broadcast()
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
	s.f.Truncate(markSize) // else the old bytes are written over
	s.more.Broadcast()
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
func (s *spool) reader() io.Reader {
	s.mu.Lock()
	defer s.mu.Unlock()
	return &spoolReader{s: s, round: s.round}
}

type spoolReader struct {
	s     *spool
	off   int64
	round int
}

func (r *spoolReader) Read(p []byte) (int, error) {
	r.s.mu.Lock()
	for r.off == r.s.size && r.round == r.s.round && !r.s.ended {
		r.s.more.Wait()
	}
	there, round, err := r.s.size-r.off, r.s.round, r.s.err
	r.s.mu.Unlock()
	switch {
	case round != r.round:
		return 0, errRestarted
	case there > 0:
		n, err := r.s.f.ReadAt(p[:min(int64(len(p)), there)], markSize+r.off)
		r.off += int64(n)
		r.s.mu.Lock()
		defer r.s.mu.Unlock()
		if r.round != r.s.round { // meanwhile
			return 0, errRestarted
		}
		return n, err
	case err != nil:
		return 0, err
	}
	return 0, io.EOF
}

// close gives the lock up. The file stays for the next run if keep is set and
// there is enough of it.
func (s *spool) close(rest rest) {
	if rest == drop || s.length() < worthKeeping {
		os.Remove(s.f.Name())
	}
	s.f.Close()
}

// rest says what becomes of a download that did not end in an object.
type rest int

const (
	drop rest = iota
	keep
)

// sweep removes the spool at path, which has a size and a time, if it is of no
// use: its NAR is there, or it is too short or too old. Those that a process
// works on stay.
func sweep(path, nar string, now time.Time) error {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); errors.Is(err, unix.EWOULDBLOCK) {
		return nil
	}
	st, err := f.Stat()
	if err != nil {
		return err
	}
	_, narErr := os.Lstat(nar)
	if narErr == nil || st.Size() < markSize+worthKeeping || now.Sub(st.ModTime()) > oldestRest {
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
