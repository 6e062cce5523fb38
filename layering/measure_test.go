package layering

import (
	"bytes"
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"thaw/internal/testbed"
	"thaw/narinfo"
	"thaw/nixhash"
	"thaw/storepath"
)

// closureOf reads the narinfos of a list of the large test caches.
func closureOf(t testing.TB, list string) []*narinfo.Info {
	dir := testbed.Dir(t, "caches")
	b, err := os.ReadFile(filepath.Join(dir, "lists", list+".closure"))
	if err != nil {
		t.Fatal(err)
	}
	var infos []*narinfo.Info
	for line := range bytes.Lines(b) {
		p, err := storepath.Parse(strings.TrimSpace(string(line)))
		if err != nil {
			t.Fatal(err)
		}
		var text []byte
		for _, cache := range []string{"xz", "small"} {
			if text, err = os.ReadFile(filepath.Join(dir, cache, p.Hash()+".narinfo")); err == nil {
				break
			}
		}
		if err != nil {
			t.Fatal(err)
		}
		info, err := narinfo.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		infos = append(infos, info)
	}
	return infos
}

// rebuilt is a closure in which one path is another one, as change makes it of the old
// one, and all that refer to it are others too. What change returns comes along.
func rebuilt(infos []*narinfo.Info, at int, name string, change func(*narinfo.Info) []*narinfo.Info) (out []*narinfo.Info, changed map[storepath.Path]bool) {
	changed = map[storepath.Path]bool{infos[at].StorePath: true}
	for grew := true; grew; {
		grew = false
		for _, i := range infos {
			if !changed[i.StorePath] && slices.ContainsFunc(i.References, func(r storepath.Path) bool { return changed[r] }) {
				changed[i.StorePath] = true
				grew = true
			}
		}
	}
	other := func(p storepath.Path) storepath.Path {
		if !changed[p] {
			return p
		}
		as := p.Name()
		if p == infos[at].StorePath {
			as = name
		}
		return pathOf([]byte(fmt.Sprintf("%x", p.Hash())[7:27]), as)
	}
	for k, i := range infos {
		n := &narinfo.Info{StorePath: other(i.StorePath), NarSize: i.NarSize}
		for _, r := range i.References {
			n.References = append(n.References, other(r))
		}
		if out = append(out, n); k == at {
			out = append(out, change(n)...)
		}
	}
	slices.SortFunc(out, func(a, b *narinfo.Info) int { return a.StorePath.Compare(b.StorePath) })
	return out, changed
}

func pathOf(hash []byte, name string) storepath.Path {
	p, err := storepath.New(nixhash.Encode32(hash), name)
	if err != nil {
		panic(err)
	}
	return p
}

type division func(infos []*narinfo.Info, most int) [][]storepath.Path

// sizes returns the sizes of groups, by what is in them.
func sizes(infos []*narinfo.Info, groups [][]storepath.Path) map[string]int64 {
	size := map[storepath.Path]int64{}
	for _, i := range infos {
		size[i.StorePath] = i.NarSize
	}
	m := map[string]int64{}
	for _, g := range groups {
		n := int64(0)
		for _, p := range g {
			n += size[p]
		}
		m[fmt.Sprint(g)] = n
	}
	return m
}

// upload returns how much of a closure is sent on the average when one of its paths
// is built anew, and how much of it has changed.
func upload(infos []*narinfo.Info, most int, divide division) (sent, changed float64) {
	before := sizes(infos, divide(infos, most))
	total := int64(0)
	for _, i := range infos {
		total += i.NarSize
	}
	for at := range infos {
		after, others := rebuilt(infos, at, infos[at].StorePath.Name(), func(n *narinfo.Info) []*narinfo.Info {
			n.NarSize += n.NarSize * (int64(at%7) - 3) / 100
			return nil
		})
		for g, n := range sizes(after, divide(after, most)) {
			if _, ok := before[g]; !ok {
				sent += float64(n)
			}
		}
		for _, i := range infos {
			if others[i.StorePath] {
				changed += float64(i.NarSize)
			}
		}
	}
	n := float64(total) * float64(len(infos))
	return sent / n, changed / n
}

// popular gives each of the paths that most others refer to a group, and the rest
// one: as buildLayeredImage of nixpkgs does.
func popular(infos []*narinfo.Info, most int) [][]storepath.Path {
	nodes := order(infos)
	users := map[storepath.Path]int{}
	for _, n := range nodes {
		stack, seen := []*node{n}, map[*node]bool{n: true}
		for len(stack) > 0 {
			m := stack[len(stack)-1]
			stack = stack[:len(stack)-1]
			users[m.info.StorePath]++
			for _, r := range m.refs {
				if !seen[r] {
					seen[r] = true
					stack = append(stack, r)
				}
			}
		}
	}
	slices.SortStableFunc(nodes, func(a, b *node) int { return cmp.Compare(users[b.info.StorePath], users[a.info.StorePath]) })
	var out [][]storepath.Path
	for i, n := range nodes {
		if i < most {
			out = append(out, nil)
		}
		out[len(out)-1] = append(out[len(out)-1], n.info.StorePath)
	}
	return out
}

// When a path is built anew, little more is sent than has changed. The popularity of
// paths alone has nearly all of a system sent.
func TestUpload(t *testing.T) {
	for _, test := range []struct {
		list string
		most int
		sent float64 // at most, as a part of all
	}{
		{"system", 10, 0.13}, {"system", 25, 0.09}, {"small", 25, 0.04},
	} {
		infos := closureOf(t, test.list)
		sent, changed := upload(infos, test.most, Groups)
		theirs, _ := upload(infos, test.most, popular)
		t.Logf("%s, %d paths in %d groups: %.1f%% sent, %.1f%% by popularity; %.1f%% have changed",
			test.list, len(infos), test.most, 100*sent, 100*theirs, 100*changed)
		if sent > test.sent || sent < changed {
			t.Errorf("%s in %d groups: %.3f sent, %.3f have changed", test.list, test.most, sent, changed)
		}
	}
}

// Two closures that have paths in common have groups in common.
func TestShared(t *testing.T) {
	system, all := closureOf(t, "system"), closureOf(t, "all")
	groups := sizes(all, Groups(all, 100))
	shared, total := int64(0), int64(0)
	for g, n := range sizes(system, Groups(system, 100)) {
		total += n
		if _, ok := groups[g]; ok {
			shared += n
		}
	}
	if shared*100 < total*95 {
		t.Errorf("%d of %d bytes are in groups of both", shared, total)
	}
}

// A path that has another name or size, is new, or has one reference more or less,
// leaves the groups as they are that it is not in: hardly more is sent than the
// groups with a path that has changed, were they those of before.
func TestStable(t *testing.T) {
	fresh := func(refs ...storepath.Path) *narinfo.Info {
		return &narinfo.Info{StorePath: pathOf(make([]byte, 20), "new-1.0"), NarSize: 64 << 10, References: refs}
	}
	edits := []struct {
		what string
		edit func(infos []*narinfo.Info, at int) []*narinfo.Info
	}{
		{"another version", func(infos []*narinfo.Info, at int) []*narinfo.Info {
			out, _ := rebuilt(infos, at, infos[at].StorePath.Name()+".1", func(*narinfo.Info) []*narinfo.Info { return nil })
			return out
		}},
		{"another name", func(infos []*narinfo.Info, at int) []*narinfo.Info {
			out, _ := rebuilt(infos, at, "new-"+infos[at].StorePath.Name(), func(*narinfo.Info) []*narinfo.Info { return nil })
			return out
		}},
		{"a third more", func(infos []*narinfo.Info, at int) []*narinfo.Info {
			out, _ := rebuilt(infos, at, infos[at].StorePath.Name(), func(n *narinfo.Info) []*narinfo.Info {
				n.NarSize += n.NarSize / 3
				return nil
			})
			return out
		}},
		{"a new dependency", func(infos []*narinfo.Info, at int) []*narinfo.Info {
			out, _ := rebuilt(infos, at, infos[at].StorePath.Name(), func(n *narinfo.Info) []*narinfo.Info {
				n.References = append(n.References, fresh().StorePath)
				return []*narinfo.Info{fresh()}
			})
			return out
		}},
		{"a reference less", func(infos []*narinfo.Info, at int) []*narinfo.Info {
			out, _ := rebuilt(infos, at, infos[at].StorePath.Name(), func(n *narinfo.Info) []*narinfo.Info {
				n.References = n.References[:max(len(n.References)-1, 0)]
				return nil
			})
			return out
		}},
		{"a new package", func(infos []*narinfo.Info, at int) []*narinfo.Info {
			return append([]*narinfo.Info{fresh(infos[at].StorePath)}, infos...)
		}},
	}
	for _, test := range []struct {
		list  string
		most  int
		bound float64 // what may be sent beyond that on the average, as a part of all
	}{
		{"system", 10, 0.03}, {"system", 25, 0.005}, {"system", 99, 0}, {"small", 25, 0.01}, {"wide", 99, 0.035}, {"large", 99, 0.002}, {"all", 25, 0.005}, {"all", 99, 0.002},
	} {
		infos := closureOf(t, test.list)
		groups := Groups(infos, test.most)
		before := sizes(infos, groups)
		total := float64(0)
		for _, i := range infos {
			total += float64(i.NarSize)
		}
		for _, e := range edits {
			sent, needed, layers, tries := 0.0, 0.0, 0, 0
			for at := 0; at < len(infos); at += 1 + len(infos)/11 {
				after := e.edit(infos, at)
				size := map[storepath.Path]int64{}
				for _, i := range after {
					size[i.StorePath] = i.NarSize
				}
				for g, n := range sizes(after, Groups(after, test.most)) {
					if _, ok := before[g]; !ok {
						sent += float64(n)
						layers++
					}
				}
				// With the groups of before, those with a path that is gone are sent,
				// and what has come.
				old := map[storepath.Path]int64{}
				for _, i := range infos {
					old[i.StorePath] = i.NarSize
				}
				for _, g := range groups {
					if slices.ContainsFunc(g, func(p storepath.Path) bool { return size[p] == 0 }) {
						for _, p := range g {
							if size[p] > 0 {
								needed += float64(size[p])
							}
						}
					}
				}
				for p, n := range size {
					if old[p] == 0 {
						needed += float64(n)
					}
				}
				tries++
			}
			all := total * float64(tries)
			t.Logf("%s, %d paths in %d groups, %s: %.2f%% in %.1f groups sent, %.2f%% with the groups of before",
				test.list, len(infos), test.most, e.what, 100*sent/all, float64(layers)/float64(tries), 100*needed/all)
			if sent > needed+test.bound*all+1 {
				t.Errorf("%s in %d groups, %s: %.4f are sent, %.4f with the groups of before", test.list, test.most, e.what, sent/all, needed/all)
			}
		}
	}
}
