// Package localstore adds store objects to a Nix store in a directory of this
// machine, and checks those that are there.
//
// An object appears by renaming, after its NAR has been verified: what is in the
// store is whole. While a Store is open it holds an advisory lock on the
// directory, so only one process adds objects, and the next one removes what a
// killed one left behind.
//
// There is no database: the store is what `nix copy --to DIR` unpacks, without
// what Nix notes about it.
package localstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"thaw/assemble"
	"thaw/image/dir"
	"thaw/narinfo"
	"thaw/rootfs"
	"thaw/storepath"
)

// Store is a directory of store objects. It is safe for concurrent use.
type Store struct {
	root    *os.Root
	lock    *os.File
	owners  dir.Owners
	hashing chan struct{} // one for each object that is being hashed
}

// Puller gives NARs: see [substituter.Disk.Pull].
type Puller interface {
	Pull(ctx context.Context, info *narinfo.Info, take func(nar io.Reader) error) error
}

// Open opens the store below root, DIR/nix/store, and makes what is missing of
// that path. No link on it may lead out of root. It waits for other processes that have
// it open, and says so once by calling waiting, unless that is nil.
func Open(ctx context.Context, root string, owners dir.Owners, waiting func()) (*Store, error) {
	if err := os.MkdirAll(root, 0o755); err != nil {
		return nil, err
	}
	top, err := os.OpenRoot(root)
	if err != nil {
		return nil, err
	}
	defer top.Close()
	// A link that leads out of root is an error: what looks like the store of
	// another system would be this one's.
	if err := top.MkdirAll(storepath.Dir[1:], 0o755); err != nil {
		return nil, err
	}
	r, err := top.OpenRoot(storepath.Dir[1:])
	if err != nil {
		return nil, err
	}
	s := &Store{root: r, owners: owners, hashing: make(chan struct{}, runtime.GOMAXPROCS(0))}
	if s.lock, err = r.Open("."); err == nil {
		if err = s.wait(ctx, waiting); err == nil {
			err = s.removeOrphans()
		}
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// wait takes the lock.
func (s *Store) wait(ctx context.Context, waiting func()) error {
	for {
		err := unix.Flock(int(s.lock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err != unix.EWOULDBLOCK && err != unix.EINTR {
			return nil // locked, or a file system without locks
		}
		if waiting != nil {
			waiting()
			waiting = nil
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// Close gives the store up.
func (s *Store) Close() error {
	if s.lock != nil {
		s.lock.Close()
	}
	return s.root.Close()
}

// Names of what is not an object, or not yet.
const (
	tempPrefix = ".thaw-"
	newSuffix  = ".part" // being unpacked
	oldSuffix  = ".old"  // being replaced
)

func (s *Store) removeOrphans() error {
	names, err := list(s.root, ".")
	if err != nil {
		return err
	}
	for _, n := range names {
		if strings.HasPrefix(n, tempPrefix) && (strings.HasSuffix(n, newSuffix) || strings.HasSuffix(n, oldSuffix)) {
			if err := s.remove(n); err != nil {
				return err
			}
		}
	}
	return nil
}

// remove removes a tree whose directories may be read-only, if it is there.
func (s *Store) remove(name string) error {
	if err := s.makeWritable(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return s.root.RemoveAll(name)
}

// makeWritable lets the owner change the directories of a tree.
func (s *Store) makeWritable(path string) error {
	st, err := s.root.Lstat(path)
	if err != nil || !st.IsDir() {
		return err
	}
	if err := s.root.Chmod(path, 0o700); err != nil {
		return err
	}
	names, err := list(s.root, path)
	for _, n := range names {
		if err == nil {
			err = s.makeWritable(path + "/" + n)
		}
	}
	return err
}

// Outcome is what [Store.Add] did.
type Outcome int

// The outcomes.
const (
	Unpacked Outcome = iota // it was not there
	Kept                    // it was there, and right
	Repaired                // it was there, wrong, and was replaced
)

// DamagedError says that an object in the store is not what its narinfo says.
type DamagedError struct {
	Path string // of the object, on this machine
	Err  error
}

func (e *DamagedError) Error() string { return fmt.Sprintf("%s is damaged: %v", e.Path, e.Err) }
func (e *DamagedError) Unwrap() error { return e.Err }

// OnDamage says what [Store.Add] does with an object that is there and wrong.
type OnDamage int

const (
	// Refuse leaves it alone and returns a [*DamagedError].
	Refuse OnDamage = iota
	// Repair replaces it.
	Repair
)

// Has reports whether something is there under the object's name, right or wrong.
func (s *Store) Has(info *narinfo.Info) bool {
	_, err := s.root.Lstat(info.StorePath.Base())
	return err == nil
}

// Add makes sure that the store has an object: it is unpacked if it is not
// there, and hashed if it is. Objects that are not there are decoded and unpacked
// as many at a time as from allows.
func (s *Store) Add(ctx context.Context, from Puller, info *narinfo.Info, damage OnDamage) (Outcome, error) {
	base := info.StorePath.Base()
	old := ""
	switch _, err := s.root.Lstat(base); {
	case err == nil:
		err := s.Verify(ctx, info)
		if err == nil {
			return Kept, nil
		}
		var damaged *DamagedError
		if !errors.As(err, &damaged) || damage != Repair {
			return 0, err
		}
		old = tempPrefix + base + oldSuffix
	case !errors.Is(err, fs.ErrNotExist):
		return 0, err
	}
	err := from.Pull(ctx, info, func(nar io.Reader) error { return s.unpack(nar, info, old) })
	if err != nil {
		return 0, err
	}
	if old != "" {
		return Repaired, nil
	}
	return Unpacked, nil
}

// unpack writes the object beside its place and moves it there. What is in its
// place is first moved to old.
func (s *Store) unpack(nar io.Reader, info *narinfo.Info, old string) (err error) {
	base := info.StorePath.Base()
	temp := tempPrefix + base + newSuffix
	if err := s.root.Mkdir(temp, 0o700); err != nil {
		return err
	}
	defer func() {
		if removed := s.remove(temp); err == nil {
			err = removed
		}
	}()
	inner, err := s.root.OpenRoot(temp)
	if err != nil {
		return err
	}
	defer inner.Close()
	w, err := dir.NewWriter(inner, dir.Options{Owners: s.owners})
	if err != nil {
		return err
	}
	sink := rootfs.Check(w)
	place := temp // of the object
	err = assemble.ReadNAR(nar, info, func(e rootfs.Entry, data io.Reader) error {
		if e.Path == "." && !e.Mode.IsDir() {
			// A file or a link: it needs a directory around it.
			if err := sink.Add(rootfs.Entry{Path: ".", Mode: fs.ModeDir | 0o700, ModTime: e.ModTime}, nil); err != nil {
				return err
			}
			e.Path, place = base, temp+"/"+base
		}
		return sink.Add(e, data)
	})
	if closed := w.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return err
	}
	if old != "" {
		if err := s.root.Rename(base, old); err != nil {
			return err
		}
	}
	if err := s.root.Rename(place, base); err != nil {
		if old != "" {
			err = errors.Join(err, s.root.Rename(old, base))
		}
		return err
	}
	if old != "" {
		return s.remove(old)
	}
	return nil
}
