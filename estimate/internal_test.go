package estimate

import (
	"strings"
	"testing"

	"thaw/rootfs"
)

// A link of the merged view takes no more of an archive than what is counted for
// it.
func TestViewLinks(t *testing.T) {
	for _, into := range []string{".", "usr", strings.Repeat("into/", 30) + "x"} {
		for n := 1; n < 3500; n += 1 + n/20 {
			rel := strings.Repeat("n/", n)[:n]
			e := rootfs.Link(into+"/"+rel, strings.Repeat("t", viewTarget+n))
			for name, a := range map[string]*archive{"tar": &tar, "cpio": &newc} {
				_, most := a.entry(&e)
				if counted := a.link + int64(len(into)+1) + 2*int64(n); most > counted {
					t.Errorf("%s: a link of %d bytes takes %d, and %d are counted", name, n, most, counted)
				}
			}
		}
	}
}

func TestLongest(t *testing.T) {
	for _, test := range []struct{ nar, longest int64 }{{0, 256}, {416, 512}, {1 << 20, 1023 * 256}, {1<<63 - 1, 1023 * 256}} {
		if got := longest(test.nar); got != test.longest {
			t.Errorf("longest(%d) = %d, want %d", test.nar, got, test.longest)
		}
	}
}
