package fhs

import (
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"thaw/storepath"
)

// Collision is two different files at one place.
type Collision struct {
	Path          string // in the view
	First, Second Side   // in the order in which they are merged
}

// Side is what a package has at a place that another has, too.
type Side struct {
	Package storepath.Path
	Index   int         // in the list of packages; -1 for one that is only propagated
	Mode    fs.FileMode // of what its path leads to: a regular file, fs.ModeDir, or fs.ModeSymlink for a link to what is not in the image's store
	Size    int64       // of a regular file, in bytes
}

// What returns kind and size in words.
func (s Side) What() string {
	kind := "file"
	switch {
	case s.Mode.IsDir():
		return "directory"
	case !s.Mode.IsRegular():
		return "dangling link"
	case s.Mode&0o111 != 0:
		kind = "executable"
	}
	if s.Size == 1 {
		return kind + " of 1 byte"
	}
	return fmt.Sprintf("%s of %d bytes", kind, s.Size)
}

func (s Side) String() string { return fmt.Sprintf("%s (%s)", s.Package.Base(), s.What()) }

func (c Collision) String() string {
	return fmt.Sprintf("%s comes from both %s and %s", printable(c.Path), c.First, c.Second)
}

// Settled is a collision that is no error: the view has what the winner has.
type Settled struct {
	Path          string // in the view
	Winner, Loser Side
}

func (s Settled) String() string {
	return fmt.Sprintf("%s comes from %s, not from %s", printable(s.Path), s.Winner, s.Loser)
}

// printable returns a path as it is if nothing in it can deceive a terminal, and
// quoted otherwise.
func printable(path string) string {
	if q := strconv.Quote(path); q[1:len(q)-1] != path {
		return q
	}
	return path
}

// CollisionError lists all collisions of a view, sorted by path and then in the
// order of the packages.
type CollisionError []Collision

func (e CollisionError) Error() string {
	lines := make([]string, 0, len(e))
	for i, c := range e {
		if i == 20 {
			lines = append(lines, fmt.Sprintf("and %d more collisions", len(e)-i))
			break
		}
		lines = append(lines, c.String())
	}
	return strings.Join(lines, "\n")
}

// same reports whether two paths lead to one file. Links are one, too, that both
// lead to what is not there, if it is the same: perhaps a running system has it.
func (f *found) same(g *found) bool {
	return f.node == g.node && (f.node != nil || f.lost != "" && f.lost == g.lost)
}

// contender is a package that has something at a place.
type contender struct {
	owner *owner
	node  *node // nil for a link that dangles
}

func (c *contender) side() Side {
	s := Side{Package: c.owner.Path, Index: c.owner.index, Mode: fs.ModeSymlink}
	if c.node != nil {
		s.Mode, s.Size = c.node.mode, c.node.size
	}
	return s
}

// clash is two files at one place: the first and the second, or winner and loser.
type clash struct {
	rel  string
	a, b contender
}

// inDoubt reports whether only contents can tell the files of a clash apart.
func (c *clash) inDoubt() bool {
	a, b := c.a.node, c.b.node
	return a != nil && b != nil && a.mode.IsRegular() && a.mode == b.mode && a.size == b.size
}

// loser is a package that has a place, when another has the view's. Who won in the
// end is known at the end.
type loser struct {
	rel   string
	owner *owner
	found found
}

// clash notes that p has f at rel, and another package old. decided says that
// priorities tell who wins.
func (m *merge) clash(rel string, old *place, p *owner, f *found, decided bool) {
	if old.file.same(f) {
		return
	}
	replaced := decided && p.Priority < old.owner.Priority
	switch policy := m.opt.Collisions; {
	case p.index != propagated && (policy == Strict || !decided && (policy != First || p.Priority < old.owner.Priority)):
		m.collisions = append(m.collisions, clash{rel, contender{old.owner, old.file.node}, contender{p, f.node}})
	case !m.opt.Report:
	case replaced:
		m.losers = append(m.losers, loser{rel, old.owner, old.file.found})
	default:
		m.losers = append(m.losers, loser{rel, p, *f})
	}
}

// settle returns the collisions as an error, or those that are settled, without
// those of files that are the same.
func (m *merge) settle(same SameFunc) ([]Settled, error) {
	collisions, err := m.objects.different(m.collisions, same)
	if err != nil {
		return nil, err
	}
	if len(collisions) > 0 {
		var out CollisionError
		for _, c := range collisions {
			out = append(out, Collision{c.rel, c.a.side(), c.b.side()})
		}
		return nil, out
	}
	var settled []clash
	for _, l := range m.losers {
		if winner := m.at[l.rel]; !winner.file.same(&l.found) {
			settled = append(settled, clash{l.rel, contender{winner.owner, winner.file.node}, contender{l.owner, l.found.node}})
		}
	}
	if settled, err = m.objects.different(settled, same); err != nil {
		return nil, err
	}
	var out []Settled
	for _, c := range settled {
		out = append(out, Settled{c.rel, c.a.side(), c.b.side()})
	}
	return out, nil
}

// different returns, sorted by path, the clashes that are not of files with equal
// contents.
func (o *objects) different(all []clash, same SameFunc) ([]clash, error) {
	var pairs [][2]string
	for _, c := range all {
		if c.inDoubt() {
			pairs = append(pairs, [2]string{o.pathOf(c.a.node), o.pathOf(c.b.node)})
		}
	}
	if len(pairs) > 0 {
		equal, err := same(pairs)
		if err != nil {
			return nil, err
		}
		all = slices.DeleteFunc(all, func(c clash) bool {
			if !c.inDoubt() {
				return false
			}
			isSame := equal[0]
			equal = equal[1:]
			return isSame
		})
	}
	slices.SortStableFunc(all, func(a, b clash) int { return strings.Compare(a.rel, b.rel) })
	return all, nil
}
