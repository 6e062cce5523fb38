package substituter

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"thaw/narinfo"
)

// identity tells one state of a file from another: who writes to it, puts another in
// its place or sets its times changes something here. Before Linux 6.13 times go by
// ticks of up to 10 ms: a second change within one is not seen.
type identity struct {
	device, inode uint64
	size          int64
	written       unix.Timespec
	changed       unix.Timespec
}

func newIdentity(st *unix.Stat_t) identity {
	return identity{uint64(st.Dev), st.Ino, st.Size, st.Mtim, st.Ctim}
}

// identify returns the state of an open file.
func identify(f *os.File) (identity, error) {
	var st unix.Stat_t
	err := unix.Fstat(int(f.Fd()), &st)
	return newIdentity(&st), err
}

// verified returns the state that the NAR's file had when it was verified in this
// run.
func (d *Disk) verified(info *narinfo.Info) (identity, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	was, ok := d.sound[info.NarHash.Digest32()]
	return was, ok
}

// setVerified notes that the NAR was verified when its file was in that state.
func (d *Disk) setVerified(info *narinfo.Info, now identity) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sound[info.NarHash.Digest32()] = now
}

// setStored notes that the NAR was written to a file, and verified, that has got its
// name since.
func (d *Disk) setStored(info *narinfo.Info, written identity) {
	var st unix.Stat_t
	var now identity // of no file, if there is any doubt: then it is hashed again
	if unix.Lstat(d.nar(info), &st) == nil {
		if now = newIdentity(&st); written.renamed(now) != now {
			now = identity{}
		}
	}
	d.setVerified(info, now)
}

// renamed returns i with the time at which it was renamed, which only now has.
func (i identity) renamed(now identity) identity {
	i.changed = now.changed
	return i
}

// forget makes the next [Disk.Ensure] verify the NAR, or fetch it.
func (d *Disk) forget(info *narinfo.Info) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.sound, info.NarHash.Digest32())
}

// Open implements [Substituter]. The object is fetched first if it is not there
// or is damaged.
func (d *Disk) Open(ctx context.Context, info *narinfo.Info) (io.ReadCloser, error) {
	if err := d.Ensure(ctx, info); err != nil {
		return nil, err
	}
	f, err := os.Open(d.nar(info))
	if errors.Is(err, fs.ErrNotExist) { // another process has collected it
		d.forget(info)
		if err := d.Ensure(ctx, info); err != nil {
			return nil, err
		}
		f, err = os.Open(d.nar(info))
	}
	if err != nil {
		return nil, err
	}
	if was, ok := d.verified(info); ok {
		if now, err := identify(f); err == nil && now == was {
			return &unchanged{cached{f, newVerifier(&withContext{ctx, f}, info).unhashed(), info}, was}, nil
		}
	}
	return &cached{f, newVerifier(&withContext{ctx, f}, info), info}, nil
}

// cached is a NAR that is read from the directory.
type cached struct {
	file *os.File
	v    *verifier
	info *narinfo.Info
}

func (c *cached) Read(p []byte) (int, error) {
	n, err := c.v.Read(p)
	if err != nil && err != io.EOF && KindOf(err) == 0 && c.v.err != nil && !errors.Is(err, context.Canceled) {
		err = c.wrong(err)
	}
	return n, err
}

func (c *cached) wrong(err error) error {
	return &Error{Object: nameOf(c.info), URL: "file://" + c.file.Name(), Kind: Integrity, Err: err}
}

func (c *cached) Close() error { return c.file.Close() }

// unchanged is a NAR that was verified in this run. It is not hashed once more: the
// file has to be in the same state when all of it has been read.
type unchanged struct {
	cached
	was identity
}

func (u *unchanged) Read(p []byte) (int, error) {
	n, err := u.cached.Read(p)
	if err != io.EOF {
		return n, err
	}
	now, statErr := identify(u.file)
	if statErr == nil && now != u.was {
		// Another process may have noted that it uses the file. What was read must be
		// what is right now.
		if _, statErr = u.file.Seek(0, io.SeekStart); statErr == nil {
			_, statErr = copyBuffer(io.Discard, newVerifier(u.v.r, u.info))
		}
	}
	if statErr != nil {
		return n, u.wrong(errors.Join(errors.New("the file was changed while it was read"), statErr))
	}
	return n, io.EOF
}
