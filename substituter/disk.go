package substituter

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
	"golang.org/x/sys/unix"

	"thaw/internal/atomicfile"
	"thaw/internal/decompress"
	"thaw/internal/keylock"
	"thaw/narinfo"
	"thaw/storepath"
)

// Disk keeps the objects of a [List] in a directory that is itself a binary
// cache, readable as file://DIR by thaw and by Nix:
//
//	nix-cache-info
//	HASH.narinfo            signatures as they were served
//	nar/NARHASH.nar         plain, named by its own hash
//	unsigned/CACHE/HASH.narinfo
//
//	nar/NARHASH.part        what has come of a NAR's file; see spool
//
// A narinfo is written after its NAR, and both by renaming: what is there is
// whole. Each run verifies each NAR before it is read, once: a damaged one is
// fetched anew. When it is read, its file has to be the same as it was then. A
// narinfo is held against the keys of this run, so changing keys never lets an old
// answer in. The narinfos of caches that need no signatures lie apart, by cache,
// and are used only while that cache still needs none.
//
// Several processes may share the directory: each NAR is fetched by one of them.
type Disk struct {
	Dir     string
	Next    *List
	Keys    narinfo.Keys
	Offline bool    // nothing is fetched; Next only says which caches are exempt
	Events  *Events // may be nil

	slots   *slots              // one for each NAR that is being decoded
	follow  chan struct{}       // one for each of these that is decoded while it arrives
	flight  *semaphore.Weighted // bytes of files that arrive
	decoder decoder             // whose team takes the slots that nobody wants
	locks   keylock.Set         // by NarHash
	mu      sync.Mutex
	noted   map[string]bool     // base names whose narinfos are there, as far as this run cares
	sound   map[string]identity // of NARs that were verified in this run, by NarHash
}

// OpenDisk opens or makes the cache in dir. At most jobs NARs are decoded at a
// time. What processes that died have left unfinished is removed. A directory
// that is there and cannot be written gives what it has.
func OpenDisk(dir string, next *List, keys narinfo.Keys, jobs int, events *Events) (*Disk, error) {
	slots := newSlots(jobs)
	d := &Disk{
		Dir: dir, Next: next, Keys: keys, Events: events,
		slots: slots, follow: make(chan struct{}, max(jobs-1, 1)), flight: semaphore.NewWeighted(inFlight),
		decoder: decoder{budget: decompress.NewBudget(jobs), team: decompress.Team{Jobs: jobs, Spare: slots.try}},
		noted:   map[string]bool{}, sound: map[string]identity{},
	}
	if err := os.MkdirAll(filepath.Join(dir, "nar"), 0o755); err != nil {
		return nil, err
	}
	for _, sub := range []string{dir, filepath.Join(dir, "nar")} {
		if err := atomicfile.RemoveOrphans(sub, ""); err != nil {
			return nil, err
		}
	}
	if err := d.sweep(); err != nil && !errors.Is(err, unix.EROFS) {
		return nil, err
	}
	about := filepath.Join(dir, "nix-cache-info")
	if _, err := os.Stat(about); errors.Is(err, fs.ErrNotExist) {
		if err := write(about, []byte("StoreDir: "+storepath.Dir+"\nWantMassQuery: 1\nPriority: 30\n")); err != nil {
			return nil, err
		}
	}
	return d, nil
}

func write(path string, text []byte) error {
	f, err := atomicfile.CreateNew(path, 0o644)
	if err != nil {
		return err
	}
	defer f.Abort()
	if _, err := f.Write(text); err != nil {
		return err
	}
	return f.Commit()
}

// diskSource is the Source of infos that were read from the directory.
const diskSource = "the local cache"

// Info implements [Substituter]. It asks the caches only for what is not there.
func (d *Disk) Info(ctx context.Context, p storepath.Path) (*narinfo.Info, error) {
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	if info := d.local(p); info != nil {
		return info, nil
	}
	if d.offline() {
		return nil, &Error{Object: "narinfo of " + p.Name(), URL: "file://" + d.Dir, Kind: NotFound, Err: fmt.Errorf("%s is not in the local cache, and --offline forbids to fetch it", p)}
	}
	return d.Next.Info(ctx, p)
}

// local returns what is known here of a path whose NAR is here too, or nil.
func (d *Disk) local(p storepath.Path) *narinfo.Info {
	file := p.Hash() + ".narinfo"
	if text, err := os.ReadFile(filepath.Join(d.Dir, file)); err == nil {
		if info, err := narinfo.Open(text, p, d.Keys); err == nil && d.has(info) {
			info.Source = diskSource
			return info
		}
	}
	for _, c := range d.caches() {
		if !c.Exempt {
			continue
		}
		if text, err := os.ReadFile(filepath.Join(d.unsigned(c.String()), file)); err == nil {
			if info, err := narinfo.OpenExempt(text, p); err == nil && d.has(info) {
				info.Source = diskSource
				return info
			}
		}
	}
	return nil
}

// Missing returns the paths among roots and all they refer to that are not here,
// sorted. What those refer to is not known.
func (d *Disk) Missing(ctx context.Context, roots []storepath.Path) (missing []storepath.Path, err error) {
	seen := map[string]bool{}
	for todo := slices.Clone(roots); len(todo) > 0; {
		p := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if seen[p.Hash()] {
			continue
		}
		seen[p.Hash()] = true
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if info := d.local(p); info != nil {
			todo = append(todo, info.References...)
		} else {
			missing = append(missing, p)
		}
	}
	slices.SortFunc(missing, storepath.Path.Compare)
	return missing, nil
}

// sweep removes the rests of downloads that are of no use.
func (d *Disk) sweep() error {
	rests, err := filepath.Glob(filepath.Join(d.Dir, "nar", "*"+partSuffix))
	if err != nil {
		return err
	}
	for _, path := range rests {
		if err := sweep(path, strings.TrimSuffix(path, partSuffix)+".nar", time.Now()); err != nil {
			return err
		}
	}
	return nil
}

// part returns where the NAR's file arrives.
func (d *Disk) part(info *narinfo.Info) string {
	return filepath.Join(d.Dir, "nar", info.NarHash.Digest32()+partSuffix)
}

func (d *Disk) offline() bool { return d.Offline || d.Next == nil }

// caches returns the caches of the run, which may be none.
func (d *Disk) caches() []*Remote {
	if d.Next == nil {
		return nil
	}
	return d.Next.Caches
}

// unsigned returns where the narinfos of an exempt cache lie.
func (d *Disk) unsigned(cache string) string {
	sum := sha256.Sum256([]byte(cache))
	return filepath.Join(d.Dir, "unsigned", hex.EncodeToString(sum[:16]))
}

func (d *Disk) nar(info *narinfo.Info) string {
	return filepath.Join(d.Dir, "nar", info.NarHash.Digest32()+".nar")
}

// has reports whether a NAR of the right length is there.
func (d *Disk) has(info *narinfo.Info) bool {
	st, err := os.Lstat(d.nar(info))
	return err == nil && st.Mode().IsRegular() && st.Size() == info.NarSize
}

// Ensure makes sure that the object is there and right: a NAR that lies there is
// verified once a run, what is missing or wrong is fetched.
func (d *Disk) Ensure(ctx context.Context, info *narinfo.Info) error {
	key := info.NarHash.Digest32()
	unlock, err := d.locks.Lock(ctx, key)
	if err != nil {
		return err
	}
	defer unlock()
	if _, ok := d.verified(info); !ok {
		if err := d.ensureNAR(ctx, info, nil); err != nil {
			return err
		}
	}
	// Several paths may share one NAR.
	if base := info.StorePath.Base(); info.Source != diskSource && !d.isNoted(base) {
		if !d.knows(info) {
			if err := d.writeInfo(info); err != nil {
				return err
			}
		}
		d.setNoted(base)
	}
	return nil
}

// knows reports whether the narinfo that a lock has is here too.
func (d *Disk) knows(info *narinfo.Info) bool {
	if !info.Pinned {
		return false
	}
	here := d.local(info.StorePath)
	return here != nil && equalContent(here, info)
}

// ensureNAR gives the NAR to take, or, without one, makes sure that it is there. The
// caller has the lock of its key.
func (d *Disk) ensureNAR(ctx context.Context, info *narinfo.Info, take taker) error {
	why := "it is not in the local cache"
	if d.has(info) {
		d.use(info) // before its times count
		err := d.read(ctx, info, take)
		var taken takenError
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.As(err, &taken):
			return taken.err
		}
		d.Events.warn("%s: %v; fetching it again", d.nar(info), err)
		if err := os.Remove(d.nar(info)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		why = "the copy in the local cache is damaged"
	}
	if d.offline() {
		return &Error{Object: nameOf(info), URL: "file://" + d.nar(info), Kind: NotFound, Err: errors.New(why + ", and --offline forbids to fetch it")}
	}
	if info.Source == diskSource {
		again, err := d.again(ctx, info)
		if err != nil {
			return err
		}
		info = again
	}
	return d.fetch(ctx, info, take)
}

// Pull gives the plain, verified NAR of an object to take, which reads it as far as
// it likes, and keeps nothing. The object may be in the directory or come from the
// caches: then it is decoded while take reads. take sees bytes before their hash is
// known to be right, and may be called again, for another attempt: what it made before
// is then worthless, as it is if Pull returns an error.
func (d *Disk) Pull(ctx context.Context, info *narinfo.Info, take func(nar io.Reader) error) error {
	unlock, err := d.locks.Lock(ctx, info.NarHash.Digest32())
	if err != nil {
		return err
	}
	defer unlock()
	return d.ensureNAR(ctx, info, take)
}

func (d *Disk) isNoted(base string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.noted[base]
}

func (d *Disk) setNoted(base string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.noted[base] = true
}

// read gives the NAR that lies in the directory to take, which may be nil, and
// verifies it. In which state its file was is noted.
func (d *Disk) read(ctx context.Context, info *narinfo.Info, take taker) error {
	release, err := d.slots.take(ctx, info.NarSize)
	if err != nil {
		return err
	}
	defer release()
	f, err := os.Open(d.nar(info))
	if err != nil {
		return err
	}
	defer f.Close()
	aside := take != nil && d.decoder.team.Wide()
	if take == nil {
		take = writeTo(io.Discard)
	}
	was, err := identify(f)
	if err != nil {
		return err
	}
	v := newVerifier(&withContext{ctx, f}, info)
	defer v.close()
	if err := v.give(take, aside); err != nil {
		return err
	}
	now, err := identify(f)
	if err != nil {
		return err
	}
	if now != was {
		now = identity{} // of no file: it is hashed again
	}
	d.setVerified(info, now)
	return nil
}

// again asks the caches for an object whose copy here is gone or damaged.
func (d *Disk) again(ctx context.Context, info *narinfo.Info) (*narinfo.Info, error) {
	again, err := d.Next.Info(ctx, info.StorePath)
	if err == nil && !equalContent(again, info) {
		err = &Error{Object: nameOf(info), URL: again.Source, Kind: NotFound,
			Err: errors.New("the copy in the local cache is damaged, and this cache now has other content for the path")}
	}
	return again, err
}

// writeInfo writes an object's narinfo, pointing to the NAR as it is stored.
func (d *Disk) writeInfo(info *narinfo.Info) error {
	dir := d.Dir
	here := *info
	here.URL = "nar/" + info.NarHash.Digest32() + ".nar"
	if len(info.Trust.Keys) == 0 && !info.Trust.ByCA {
		dir = d.unsigned(info.Source)
		here.URL = "../../" + here.URL
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	here.Compression = "none"
	here.FileHash, here.FileSize = info.NarHash, info.NarSize
	return write(filepath.Join(dir, info.StorePath.Hash()+".narinfo"), here.Text())
}

var _ Substituter = (*Disk)(nil)

var buffers = sync.Pool{New: func() any { return new([256 << 10]byte) }}

// copyBuffer is [io.Copy] through a pooled buffer of 256 KiB.
func copyBuffer(w io.Writer, r io.Reader) (int64, error) {
	buf := buffers.Get().(*[256 << 10]byte)
	defer buffers.Put(buf)
	return io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{r}, buf[:])
}

// Local reports whether the NAR of an info is in the directory and need not be
// fetched.
func (d *Disk) Local(info *narinfo.Info) bool {
	return info.Source == diskSource || info.Pinned && d.has(info)
}
