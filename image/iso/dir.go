package iso

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// A dir is a directory whose entries are still coming in; later, one that is
// listed.
type dir struct {
	path     string
	node     uint32 // place in nodes
	parent   *dir   // nil for the root
	children []child
	byName   map[string]uint32 // of the first named children; made when needed
	named    int

	id      string // in its parent's listing
	number  int    // by level, the root's is 1
	sector  uint32 // of its listing
	sectors uint32 // of its records
	more    uint32 // sectors behind these, of what did not fit into them
}

type child struct {
	name string
	node uint32 // place in nodes
}

func (d *dir) add(name string, node uint32) {
	d.children = append(d.children, child{name, node})
}

// scanned is how many children are looked through rather than named in a map.
const scanned = 32

// lookup returns the node of a child.
func (d *dir) lookup(name string) (uint32, bool) {
	if len(d.children) > scanned {
		if d.byName == nil {
			d.byName = make(map[string]uint32, len(d.children))
		}
		for _, c := range d.children[d.named:] {
			d.byName[c.name] = c.node
		}
		d.named = len(d.children)
		node, ok := d.byName[name]
		return node, ok
	}
	i := slices.IndexFunc(d.children, func(c child) bool { return c.name == name })
	if i < 0 {
		return 0, false
	}
	return d.children[i].node, true
}

const (
	maxID  = 31 // characters of an identifier without its version
	maxExt = 8  // behind its dot
)

// identify gives each child an identifier (ECMA-119, section 7.5), and sorts the
// children by these. It is the same whatever order they came in.
func (w *Writer) identify(d *dir) []string {
	d.byName, d.named = nil, 0
	slices.SortFunc(d.children, func(a, b child) int { return strings.Compare(a.name, b.name) })
	type named struct {
		id string
		child
	}
	all := make([]named, len(d.children))
	taken := make(map[string]bool, len(all))
	next := map[string]int{}
	for i, c := range d.children {
		isDir := w.nodes[c.node].kind() == modeDir
		stem, ext := mangle(c.name, isDir)
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
		all[i] = named{id, c}
	}
	// The version is no part of what is compared, and a dot is less than what
	// may stand in its place, as the blank that pads names is (section 9.3).
	slices.SortFunc(all, func(a, b named) int {
		return cmp.Or(strings.Compare(strings.TrimSuffix(a.id, ";1"), strings.TrimSuffix(b.id, ";1")), strings.Compare(a.name, b.name))
	})
	ids := make([]string, len(all))
	for i, n := range all {
		ids[i], d.children[i] = n.id, n.child
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
	for i, c := range d.children {
		n := &w.nodes[c.node]
		su := append(attributes(c.node, n), names(c.name)...)
		switch n.kind() {
		case modeDir:
			sub := w.dirs[n.index]
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
	if len(w.dirs) == 0 {
		return 0, errors.New("iso: no root directory was added")
	}
	var l listing
	byLevel := make([]*dir, 1, len(w.dirs))
	byLevel[0] = w.dirs[0]
	for i := 0; i < len(byLevel); i++ {
		d := byLevel[i]
		if err := w.list(d, &l); err != nil {
			return 0, err
		}
		for _, c := range d.children {
			if n := &w.nodes[c.node]; n.kind() == modeDir {
				byLevel = append(byLevel, w.dirs[n.index])
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
