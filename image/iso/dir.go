package iso

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"thaw/internal/names"
)

// A dir is a directory whose entries are still coming in; later, one that is
// listed.
type dir struct {
	path    string
	node    uint32              // place in nodes
	parent  *dir                // nil for the root
	entries names.Table[uint32] // places in nodes

	id      string // in its parent's listing
	number  int    // by level, the root's is 1
	sector  uint32 // of its listing
	sectors uint32 // of its records
	more    uint32 // sectors behind these, of what did not fit into them
}

const (
	maxID  = 31 // characters of an identifier without its version
	maxExt = 8  // behind its dot
)

// identify gives each entry an identifier (ECMA-119, section 7.5), and sorts the
// entries by these. It is the same whatever order they came in.
func (w *Writer) identify(d *dir) []string {
	d.entries.Sort()
	type named struct {
		id string
		names.Entry[uint32]
	}
	all := make([]named, len(d.entries.List))
	taken := make(map[string]bool, len(all))
	next := map[string]int{}
	for i, e := range d.entries.List {
		isDir := w.nodes[e.Ref].kind() == modeDir
		stem, ext := mangle(e.Name, isDir)
		id := stem + ext
		for taken[id] {
			next[stem+ext]++
			tail := fmt.Sprintf("_%d", next[stem+ext])
			id = stem[:min(len(stem), maxID-1-len(ext)-len(tail))] + tail + ext
		}
		taken[id] = true
		switch {
		case isDir:
		case ext == "":
			id += ".;1"
		default:
			id += ";1"
		}
		all[i] = named{id, e}
	}
	// The version is no part of what is compared, and a dot is less than what
	// may stand in its place, as the blank that pads names is (section 9.3).
	slices.SortFunc(all, func(a, b named) int {
		return cmp.Or(strings.Compare(strings.TrimSuffix(a.id, ";1"), strings.TrimSuffix(b.id, ";1")), strings.Compare(a.Name, b.Name))
	})
	ids := make([]string, len(all))
	for i, n := range all {
		ids[i], d.entries.List[i] = n.id, n.Entry
	}
	return ids
}

// mangle makes the two parts of an identifier, the second of which is empty or
// begins with a dot. Together they have less than maxID characters.
func mangle(name string, isDir bool) (stem, ext string) {
	stem = name
	if dot := strings.LastIndexByte(name, '.'); !isDir && dot > 0 && dot < len(name)-1 {
		stem, ext = name[:dot], "."+letters(name[dot+1:], maxExt)
	}
	return letters(stem, maxID-1-len(ext)), ext
}

// letters makes up to n d-characters of a string (ECMA-119, section 7.4.1).
func letters(s string, n int) string {
	b := []byte(s[:min(len(s), n)])
	for i, c := range b {
		switch {
		case c >= 'a' && c <= 'z':
			b[i] = c - 'a' + 'A'
		case c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		default:
			b[i] = '_'
		}
	}
	return string(b)
}

// list makes the listing of a directory. Its length is right before it is known where
// directories lie, and its content afterwards.
func (w *Writer) list(d *dir, l *listing) error {
	ids := w.identify(d)
	l.reset(d)
	parent := d
	if d.parent != nil {
		parent = d.parent
	}
	self, above := &w.nodes[d.node], &w.nodes[parent.node]
	su := attributes(d.node, self)
	if d.parent == nil {
		su = slices.Concat([][]byte{useSharing}, su, [][]byte{extensions})
	}
	l.add("\x00", self.date, d.extent(), flagDir, su)
	l.add("\x01", above.date, parent.extent(), flagDir, attributes(parent.node, above))
	for i, e := range d.entries.List {
		n := &w.nodes[e.Ref]
		su := append(attributes(e.Ref, n), nameEntries(e.Name)...)
		switch n.kind() {
		case modeDir:
			sub := w.dirs.All[n.index]
			sub.id = ids[i]
			l.add(ids[i], n.date, sub.extent(), flagDir, su)
		case modeFile:
			at := extent{n.sector, n.size}
			for ; at.size > maxExtent; at.size -= maxExtent {
				l.add(ids[i], n.date, extent{at.sector, maxExtent}, flagMore, su)
				at.sector += maxExtent / sectorSize
			}
			l.add(ids[i], n.date, at, 0, su)
		case modeLink:
			l.add(ids[i], n.date, extent{}, 0, append(su, links(w.targets[n.index])...))
		default:
			l.add(ids[i], n.date, extent{}, 0, su)
		}
	}
	if len(l.records) > maxExtent {
		return fmt.Errorf("iso: %q: its listing has more than %d bytes", d.path, int64(maxExtent))
	}
	return nil
}

// extent is where the records of the directory lie.
func (d *dir) extent() extent { return extent{d.sector, int64(d.sectors) * sectorSize} }

// placeDirs finds the places of all directories from a sector on, by level, and
// returns the sector behind them.
func (w *Writer) placeDirs(sector int64) (int64, error) {
	if len(w.dirs.All) == 0 {
		return 0, errors.New("iso: no root directory was added")
	}
	var l listing
	byLevel := make([]*dir, 1, len(w.dirs.All))
	byLevel[0] = w.dirs.All[0]
	for i := 0; i < len(byLevel); i++ {
		d := byLevel[i]
		if err := w.list(d, &l); err != nil {
			return 0, err
		}
		for _, e := range d.entries.List {
			if n := &w.nodes[e.Ref]; n.kind() == modeDir {
				byLevel = append(byLevel, w.dirs.All[n.index])
			}
		}
		d.number = i + 1
		d.sectors, d.more = uint32(sectors(int64(len(l.records)))), uint32(sectors(int64(len(l.more))))
		d.sector = uint32(sector)
		if sector += int64(d.sectors) + int64(d.more); sector > maxSectors {
			return 0, errFull
		}
	}
	w.byLevel = byLevel
	return sector, nil
}

// writeDirs writes all directories.
func (w *Writer) writeDirs() error {
	var l listing
	for _, d := range w.byLevel {
		if err := w.list(d, &l); err != nil {
			return err
		}
		w.write(l.records)
		w.write(l.more)
	}
	return w.out.Err()
}
