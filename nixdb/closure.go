package nixdb

import (
	"fmt"
	"slices"

	"thaw/narinfo"
	"thaw/storepath"
)

// closure is a closure in the order of its rows in the database.
type closure struct {
	infos []*narinfo.Info          // references first; the row's id is the index plus 1
	ids   map[storepath.Path]int64 // what is not there is 0
}

func (c *closure) has(p storepath.Path) bool { return c.ids[p] != 0 }

// newClosure orders infos, in a way that depends only on what they are. Paths may
// refer to themselves; circles of several, which Nix refuses to register, are an
// error, and so are a path that comes twice and a reference that is missing.
func newClosure(infos []*narinfo.Info) (*closure, error) {
	infos = sorted(infos)
	index := make(map[storepath.Path]int, len(infos))
	for i, info := range infos {
		if _, twice := index[info.StorePath]; twice {
			return nil, fmt.Errorf("%s is in the closure twice", info.StorePath)
		}
		index[info.StorePath] = i
	}
	waiting := make([]int, len(infos))     // how many references have no id yet
	referrers := make([][]int, len(infos)) // who waits for it
	for i, info := range infos {
		for _, ref := range info.References {
			if ref == info.StorePath {
				continue
			}
			j, ok := index[ref]
			if !ok {
				return nil, fmt.Errorf("%s refers to %s, which is not in the closure", info.StorePath, ref.Base())
			}
			waiting[i]++
			referrers[j] = append(referrers[j], i)
		}
	}
	var ready []int
	for i, n := range waiting {
		if n == 0 {
			ready = append(ready, i)
		}
	}
	c := &closure{make([]*narinfo.Info, 0, len(infos)), make(map[storepath.Path]int64, len(infos))}
	for len(ready) > 0 {
		i := ready[0]
		ready = ready[1:]
		c.infos = append(c.infos, infos[i])
		c.ids[infos[i].StorePath] = int64(len(c.infos))
		for _, j := range referrers[i] {
			if waiting[j]--; waiting[j] == 0 {
				ready = append(ready, j)
			}
		}
	}
	for i, n := range waiting {
		if n > 0 {
			return nil, fmt.Errorf("%s refers to itself by way of others, or to paths that do", infos[i].StorePath)
		}
	}
	return c, nil
}

// sorted returns infos sorted by path.
func sorted(infos []*narinfo.Info) []*narinfo.Info {
	infos = slices.Clone(infos)
	slices.SortStableFunc(infos, func(a, b *narinfo.Info) int { return a.StorePath.Compare(b.StorePath) })
	return infos
}

// sortedReferences returns the references of a path as Nix sorts them.
func sortedReferences(info *narinfo.Info) []storepath.Path {
	return slices.SortedFunc(slices.Values(info.References), storepath.Path.Compare)
}
