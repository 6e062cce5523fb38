package assemble

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"strings"

	"thaw/rootfs"
	"thaw/storepath"
)

// same reports which pairs of files in the store have equal contents. Each
// object that they are in is read once more.
func (r *Root) same(ctx context.Context, pairs [][2]string) ([]bool, error) {
	type file struct {
		object storepath.Path
		rel    string // "." for an object that is a file
	}
	files := make([][2]file, len(pairs))
	wanted := map[storepath.Path]map[string]bool{}
	for i, pair := range pairs {
		for k, path := range pair {
			object, rel, err := splitStore(path)
			if err != nil {
				return nil, err
			}
			files[i][k] = file{object, rel}
			if wanted[object] == nil {
				wanted[object] = map[string]bool{}
			}
			wanted[object][rel] = true
		}
	}
	sums := map[file][]byte{}
	for object, rels := range wanted {
		err := r.read(ctx, object, func(e rootfs.Entry, data io.Reader) error {
			if data == nil || !rels[e.Path] {
				return nil
			}
			h := sha256.New()
			_, err := io.Copy(h, data)
			sums[file{object, e.Path}] = h.Sum(nil)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	equal := make([]bool, len(pairs))
	for i, f := range files {
		a, b := sums[f[0]], sums[f[1]]
		if a == nil || b == nil {
			return nil, fmt.Errorf("%s or %s is not where it was", pairs[i][0], pairs[i][1])
		}
		equal[i] = bytes.Equal(a, b)
	}
	return equal, nil
}

func (r *Root) read(ctx context.Context, object storepath.Path, visit func(rootfs.Entry, io.Reader) error) error {
	info := r.plan.Info(object)
	if info == nil {
		return fmt.Errorf("%s is not in the closure", object)
	}
	return ReadObject(ctx, r.from, info, visit)
}

// splitStore splits /nix/store/HASH-NAME/REL.
func splitStore(path string) (object storepath.Path, rel string, err error) {
	base, rel, _ := strings.Cut(strings.TrimPrefix(path, storepath.Dir+"/"), "/")
	object, err = storepath.ParseBase(base)
	return object, cmp.Or(rel, "."), err
}
