// Package rootfstest is the conformance suite that the writer of every image
// format passes.
//
// A format's test says in a [Format] how an image is written, how it is read
// back by the format's own real tool, and what the format can hold. [Test] then
// holds the writer to six laws:
//
//   - what the format can hold comes back equal, entry by entry, whatever the
//     order the entries came in;
//   - what it cannot hold is refused by one [*rootfs.EntryError] that names the
//     path;
//   - the same entries in the same order make the same bytes, however the data
//     was cut into reads;
//   - a reader's or the destination's failure comes out as the error it is,
//     whichever write fails;
//   - after an error every call fails, Close too;
//   - no goroutine is left behind a writer that is closed.
//
// These trees are fixed and hard, each in one way. [TestMatrix] has many more,
// which are of chance, and varies the writer's own options with them.
package rootfstest

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"thaw/rootfs"
)

// Format is what a test says about the writer under test. All fields but Can
// are required.
type Format struct {
	// Create opens a writer of a new image under dir, an empty directory.
	// The image's destination takes limit bytes and then fails; it is
	// [math.MaxInt64] where the destination is not meant to fail. If it is
	// negative, write number -limit fails. [OpenFile] makes such a
	// destination. A directory, which cannot count, fails at once at any
	// other limit, and answers [errors.ErrUnsupported] if it is negative.
	Create func(dir string, limit int64) (Writer, error)
	// Read reads the finished image under dir, in any order, without what
	// the format itself adds (a lost+found).
	Read func(dir string) ([]Node, error)
	Can  Abilities
}

// Writer is an image being written. Close finishes the image; it fails if an
// earlier call did.
type Writer interface {
	rootfs.Sink
	io.Closer
}

// Node is an entry as an image holds it.
type Node struct {
	rootfs.Entry
	SHA256 [32]byte // of a regular file's content, as [Digest] finds it
	Inode  uint64   // equal on several regular files that are one file; 0 if it is one alone
}

// Abilities says what a format can hold. Whatever the zero value leaves out is
// refused, except that names, paths and sizes are without limit.
type Abilities struct {
	// Names reports whether an entry may have this last element. If nil,
	// every name may be.
	Names     func(name string) bool
	FoldsCase bool  // names that differ in case only clash: the second is refused
	MaxPath   int   // bytes of a whole path, 0 if there is no limit
	MaxFile   int64 // bytes of a file, 0 if there is no limit
	MaxTarget int   // bytes of a link's target, 0 if there are no links

	MaxMajor, MaxMinor uint32 // of a device number, both 0 if there are no devices
	Fifos              bool
	HardLinks          bool // AddSame makes one file of several paths

	Modes  Support // permissions other than 0644, and 0755 of directories
	Owners Support // owners other than 0:0
	MaxID  uint32  // of UID and GID, 0 for all of 32 bits

	// Times are held if they are within MinTime and MaxTime (seconds since
	// 1970), cut down to a multiple of Resolution.
	Times            Support
	MinTime, MaxTime int64
	Resolution       time.Duration

	// Xattrs reports whether e may have its extended attributes. If nil, no
	// entry may have any.
	Xattrs func(e rootfs.Entry) bool
}

// Support says what becomes of a property of an entry.
type Support int

const (
	Refused Support = iota // an EntryError
	Held                   // comes back equal
	Dropped                // accepted and lost, as the writer's document says
)

// Test runs the suite. Under -short it leaves out the file of more than 4 GiB
// and thins the large directory.
func Test(t *testing.T, f Format) {
	size := full
	if testing.Short() {
		size = short
	}
	for _, tree := range trees(size, f.Can) {
		held, refused := tree.sift(f.Can)
		t.Run("holds/"+tree.name, func(t *testing.T) {
			check(t, func(dir string) error { return testHolds(f, dir, held) })
		})
		for _, reason := range slices.Sorted(maps.Keys(refused)) {
			t.Run("refuses/"+tree.name+"/"+reason, func(t *testing.T) {
				for _, steps := range refused[reason] {
					check(t, func(dir string) error { return testRefuses(f, dir, steps) })
				}
			})
		}
	}
	held, _ := sampleTree().sift(f.Can)
	t.Run("chunks", func(t *testing.T) {
		var want map[string]string
		check(t, func(dir string) (err error) { want, err = testBytes(f, dir, held, wholeReader); return })
		for _, c := range chunkings {
			t.Run(c.name, func(t *testing.T) {
				check(t, func(dir string) error {
					got, err := testBytes(f, dir, held, c.chunk)
					if err == nil && !maps.Equal(got, want) {
						err = errors.New("the image's bytes differ from those of the first image")
					}
					return err
				})
			})
		}
	})
	t.Run("read error", func(t *testing.T) {
		check(t, func(dir string) error { return testReadError(f, dir, held) })
	})
	t.Run("after close", func(t *testing.T) {
		check(t, func(dir string) error { return testAfterClose(f, dir, held) })
	})
	t.Run("faults", func(t *testing.T) {
		steps, _ := faultsTree().sift(f.Can)
		check(t, func(dir string) error { return testFaults(f, dir, steps) })
	})
	for _, limit := range []int64{0, 1, 1000, 4096, 100_000} {
		t.Run(fmt.Sprintf("full/%d", limit), func(t *testing.T) {
			check(t, func(dir string) error { return testFull(f, dir, held, limit) })
		})
	}
}

// check runs one test in a directory of its own.
func check(t *testing.T, test func(dir string) error) {
	t.Helper()
	dir := t.TempDir()
	t.Cleanup(func() { makeRemovable(dir) })
	if err := owned(patience, func() error { return test(dir) }); err != nil {
		t.Error(err)
	}
}

type chunker func(io.Reader) io.Reader

func wholeReader(r io.Reader) io.Reader { return r }

var chunkings = []struct {
	name  string
	chunk chunker
}{
	{"same again", wholeReader},
	{"one byte", iotest.OneByteReader},
	{"half", iotest.HalfReader},
	{"data with EOF", iotest.DataErrReader},
}

// write adds steps to a new image and closes it. Hard links that the format
// does not make are added in full.
func write(f Format, dir string, steps []step, chunk chunker) error {
	w, err := f.Create(dir, noLimit)
	if err != nil {
		return err
	}
	sink := rootfs.Check(w)
	for _, s := range steps {
		if err := s.add(sink, f.Can, chunk); err != nil {
			return errors.Join(fmt.Errorf("adding %.300q: %w", s.entry.Path, err), w.Close())
		}
	}
	return w.Close()
}

func testHolds(f Format, dir string, steps []step) error {
	if err := write(f, dir, steps, wholeReader); err != nil {
		return err
	}
	nodes, err := f.Read(dir)
	if err != nil {
		return err
	}
	return Diff(f.Can, expected(steps, f.Can), nodes)
}

func testBytes(f Format, dir string, steps []step, chunk chunker) (map[string]string, error) {
	if err := write(f, dir, steps, chunk); err != nil {
		return nil, err
	}
	return fingerprint(dir)
}

// testRefuses adds steps, whose last one the format cannot hold.
func testRefuses(f Format, dir string, steps []step) error {
	bad := steps[len(steps)-1].entry
	w, err := f.Create(dir, noLimit)
	if err != nil {
		return err
	}
	for _, s := range steps {
		if err = s.add(w, f.Can, wholeReader); err != nil {
			break
		}
	}
	err = broken(w, err)
	var refusal *rootfs.EntryError
	switch {
	case err == nil:
		return fmt.Errorf("%.300q was accepted", bad.Path)
	case !errors.As(err, &refusal):
		return fmt.Errorf("%.300q: the error is no EntryError: %w", bad.Path, err)
	case refusal.Path != bad.Path:
		return fmt.Errorf("the error is to name %.300q: %w", bad.Path, err)
	case refusal.Reason == "":
		return fmt.Errorf("the error gives no reason: %w", err)
	case strings.Count(err.Error(), fmt.Sprintf("%q", bad.Path)) != 1:
		return fmt.Errorf("the error is to name the path once: %w", err)
	}
	return nil
}

func testReadError(f Format, dir string, steps []step) error {
	w, err := f.Create(dir, noLimit)
	if err != nil {
		return err
	}
	for _, s := range steps {
		if err := s.add(w, f.Can, wholeReader); err != nil {
			return errors.Join(err, w.Close())
		}
	}
	cause := errors.New("the reader's error")
	e := rootfs.Entry{Path: "short", Mode: 0o644, Size: 300_000, ModTime: baseTime}
	half := io.MultiReader(content(step{entry: rootfs.Entry{Size: 150_000}}), iotest.ErrReader(cause))
	err = broken(w, w.Add(e, half))
	if !errors.Is(err, cause) {
		return fmt.Errorf("a reader's error came out as: %w", err)
	}
	return nil
}

func testAfterClose(f Format, dir string, steps []step) error {
	w, err := f.Create(dir, noLimit)
	if err != nil {
		return err
	}
	for _, s := range steps {
		if err := s.add(w, f.Can, wholeReader); err != nil {
			return errors.Join(err, w.Close())
		}
	}
	if err := w.Close(); err != nil {
		return err
	}
	if w.Add(rootfs.Entry{Path: "late", Mode: fs.ModeDir | 0o755, ModTime: baseTime}, nil) == nil {
		return errors.New("an entry is accepted after Close")
	}
	return nil
}

func testFull(f Format, dir string, steps []step, limit int64) error {
	err := writeFaulty(f, dir, steps, limit)
	if err == nil {
		return fmt.Errorf("a destination that takes %d bytes was written without an error", limit)
	}
	return notEntryError(err)
}

func notEntryError(err error) error {
	if e := (*rootfs.EntryError)(nil); errors.As(err, &e) {
		return fmt.Errorf("the destination's failure is put on an entry: %w", err)
	}
	return nil
}

// broken closes w after the error err, which it returns. If err is nil, the
// first error may come of closing. It answers another error if w is not broken
// as it should be.
func broken(w Writer, err error) error {
	if err == nil {
		return w.Close()
	}
	again := w.Add(rootfs.Entry{Path: "after", Mode: fs.ModeDir | 0o755, ModTime: baseTime}, nil)
	closed := w.Close()
	switch {
	case again == nil:
		return errors.New("after an error, Add works")
	case closed == nil:
		return errors.New("after an error, Close works")
	}
	return err
}

// lines writes each node as one line, by path, as far as the format holds it.
func (a *Abilities) lines(nodes []Node) map[string]string {
	first := make(map[uint64]string) // the least path of each inode
	count := make(map[uint64]int)
	for _, n := range nodes {
		if p, ok := first[n.Inode]; !ok || n.Path < p {
			first[n.Inode] = n.Path
		}
		count[n.Inode]++
	}
	m := make(map[string]string)
	for _, n := range nodes {
		var b strings.Builder
		mode := n.Mode
		if a.Modes == Dropped {
			mode = mode.Type()
		}
		fmt.Fprintf(&b, "%v", mode)
		if a.Owners == Held {
			fmt.Fprintf(&b, " %d:%d", n.UID, n.GID)
		}
		if a.Times == Held {
			t := n.ModTime.Truncate(a.Resolution)
			fmt.Fprintf(&b, " %d.%09d", t.Unix(), t.Nanosecond())
		}
		switch n.Kind() {
		case 0:
			fmt.Fprintf(&b, " %d bytes %x", n.Size, n.SHA256[:8])
			if n.Inode != 0 && count[n.Inode] > 1 {
				fmt.Fprintf(&b, " same as %.300q", first[n.Inode])
			}
		case fs.ModeSymlink:
			fmt.Fprintf(&b, " -> %.300q", n.Target)
			if len(n.Target) > 300 {
				fmt.Fprintf(&b, "… (%d bytes, %x)", len(n.Target), digestString(n.Target))
			}
		case fs.ModeDevice, fs.ModeDevice | fs.ModeCharDevice:
			fmt.Fprintf(&b, " %d,%d", rootfs.Major(n.Dev), rootfs.Minor(n.Dev))
		}
		for _, x := range n.Xattrs {
			fmt.Fprintf(&b, " %.300q=%.100q (%d bytes, %x)", x.Name, x.Value, len(x.Value), digestString(string(x.Value)))
		}
		if _, ok := m[n.Path]; ok {
			b.WriteString(" TWICE")
		}
		m[n.Path] = b.String()
	}
	return m
}

// Diff says where got differs from want, at most ten times, as far as a format
// that can hold this much may be asked.
func Diff(can Abilities, wantNodes, gotNodes []Node) error {
	want, got := can.lines(wantNodes), can.lines(gotNodes)
	var errs []error
	all := maps.Clone(want)
	maps.Copy(all, got)
	for _, path := range slices.Sorted(maps.Keys(all)) {
		w, inWant := want[path]
		g, inGot := got[path]
		switch {
		case !inGot:
			errs = append(errs, fmt.Errorf("%.300q is not in the image: %s", path, w))
		case !inWant:
			errs = append(errs, fmt.Errorf("%.300q was never added: %s", path, g))
		case w != g:
			errs = append(errs, fmt.Errorf("%.300q\n\tis   %s\n\twant %s", path, g, w))
		}
		if len(errs) == 10 {
			errs = append(errs, errors.New("…"))
			break
		}
	}
	return errors.Join(errs...)
}
