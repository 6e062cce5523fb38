package substituter

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"thaw/narinfo"
	"thaw/storepath"
)

// Stored is a narinfo of a [Disk] and what is known of its NAR.
type Stored struct {
	Info *narinfo.Info
	File string    // of the narinfo
	Used time.Time // when a run last wanted the NAR; zero if that is not there
}

// Stored lists what the directory has, sorted by path. Files that are no
// narinfos of store objects are returned as broken.
func (d *Disk) Stored() (stored []Stored, broken []string, err error) {
	files, err := filepath.Glob(filepath.Join(d.Dir, "*.narinfo"))
	if err != nil {
		return nil, nil, err
	}
	unsigned, err := filepath.Glob(filepath.Join(d.Dir, "unsigned", "*", "*.narinfo"))
	if err != nil {
		return nil, nil, err
	}
	for _, file := range append(files, unsigned...) {
		text, err := os.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed by another process
		}
		if err != nil {
			return nil, nil, err
		}
		info, err := narinfo.Parse(text)
		if err != nil || info.StorePath.Hash()+".narinfo" != filepath.Base(file) {
			broken = append(broken, file)
			continue
		}
		s := Stored{Info: info, File: file}
		if st, err := os.Lstat(d.nar(info)); err == nil {
			s.Used = st.ModTime()
		}
		stored = append(stored, s)
	}
	slices.SortStableFunc(stored, func(a, b Stored) int { return a.Info.StorePath.Compare(b.Info.StorePath) })
	return stored, broken, nil
}

// use notes that a run wants a NAR. That this fails costs only the order in
// which [Disk.GC] removes.
func (d *Disk) use(info *narinfo.Info) {
	now := time.Now()
	os.Chtimes(d.nar(info), now, now)
}

// Bounds says what [Disk.GC] may keep. Zero fields are no bound.
type Bounds struct {
	Size int64         // bytes of all NARs
	Age  time.Duration // since a NAR was last wanted
}

// fresh is the age below which a NAR without a narinfo may still get one.
const fresh = time.Hour

// GC removes NARs, and the narinfos that point to them, until the bounds hold:
// those not wanted for longest first. NARs without a narinfo go in any case.
// What another process fetches at the moment stays. It returns how many NARs
// and bytes went, and how many stayed.
func (d *Disk) GC(b Bounds) (gone, kept Total, err error) {
	stored, broken, err := d.Stored()
	if err != nil {
		return gone, kept, err
	}
	for _, file := range broken {
		if err := remove(file); err != nil {
			return gone, kept, err
		}
	}
	infos := map[string][]string{} // files of narinfos, by the NAR's
	for _, s := range stored {
		nar := d.nar(s.Info)
		infos[nar] = append(infos[nar], s.File)
	}
	nars, err := d.nars()
	if err != nil {
		return gone, kept, err
	}
	now := time.Now()
	for _, n := range nars {
		kept.Objects++
		kept.Bytes += n.size
	}
	for _, n := range nars { // the longest unused first
		age := now.Sub(n.used)
		orphan := infos[n.file] == nil && age > fresh
		if !orphan && (b.Age == 0 || age <= b.Age) && (b.Size == 0 || kept.Bytes <= b.Size) {
			continue
		}
		ok, err := d.evict(n.file, infos[n.file])
		if err != nil {
			return gone, kept, err
		}
		if ok {
			gone.Objects, gone.Bytes = gone.Objects+1, gone.Bytes+n.size
			kept.Objects, kept.Bytes = kept.Objects-1, kept.Bytes-n.size
		}
		delete(infos, n.file)
	}
	for nar, files := range infos { // narinfos whose NAR is not there
		if _, err := os.Lstat(nar); errors.Is(err, fs.ErrNotExist) {
			for _, f := range files {
				if err := remove(f); err != nil {
					return gone, kept, err
				}
			}
		}
	}
	return gone, kept, nil
}

// Total counts NARs and their bytes.
type Total struct {
	Objects int
	Bytes   int64
}

// narFile is a NAR in the directory.
type narFile struct {
	file string
	size int64
	used time.Time
}

// nars lists the NARs that are there, the longest unused first.
func (d *Disk) nars() ([]narFile, error) {
	list, err := os.ReadDir(filepath.Join(d.Dir, "nar"))
	if err != nil {
		return nil, err
	}
	var out []narFile
	for _, e := range list {
		st, err := e.Info()
		if err == nil && st.Mode().IsRegular() && strings.HasSuffix(e.Name(), ".nar") && !strings.HasPrefix(e.Name(), ".") {
			out = append(out, narFile{filepath.Join(d.Dir, "nar", e.Name()), st.Size(), st.ModTime()})
		}
	}
	slices.SortStableFunc(out, func(a, b narFile) int { return a.used.Compare(b.used) })
	return out, nil
}

// evict removes a NAR after its narinfos, unless a process is fetching it.
func (d *Disk) evict(nar string, infos []string) (bool, error) {
	s, err := openSpool(strings.TrimSuffix(nar, ".nar") + partSuffix)
	if err == errBusy {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer s.close(drop)
	for _, f := range append(infos, nar) {
		if err := remove(f); err != nil {
			return false, err
		}
	}
	return true, nil
}

// remove removes a file that may be gone.
func remove(file string) error {
	if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Check holds a stored object against its narinfo: it reads the NAR once.
func (d *Disk) Check(ctx context.Context, s Stored) error {
	if s.Used.IsZero() {
		return errMissing
	}
	if !d.has(s.Info) {
		return errors.New("its NAR has another length")
	}
	return d.read(ctx, s.Info, nil)
}

// Evict removes a stored object, and others that share its NAR.
func (d *Disk) Evict(p storepath.Path) error {
	stored, _, err := d.Stored()
	if err != nil {
		return err
	}
	nar, infos := "", []string(nil)
	for _, s := range stored {
		if s.Info.StorePath == p {
			nar = d.nar(s.Info)
		}
	}
	for _, s := range stored {
		if d.nar(s.Info) == nar {
			infos = append(infos, s.File)
		}
	}
	if nar != "" {
		_, err = d.evict(nar, infos)
	}
	return err
}
