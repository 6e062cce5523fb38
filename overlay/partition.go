package overlay

import (
	"thaw/rootfs"
	"thaw/spec"
)

// ReadPartition makes the tree of the files of its own of a partition, which is
// called key in messages: "outputs.vm.partitions[0]". Left out are files that come
// from store paths.
func ReadPartition(s *spec.Spec, p *spec.Partition, key string) (*rootfs.Tree, error) {
	files := make([]spec.File, 0, len(p.Files))
	mode := spec.Mode(0o644)
	for _, f := range p.Files {
		if f.Store == "" {
			files = append(files, spec.File{Path: f.Path, Content: f.Content, Source: f.Source, Mode: &mode, Origin: f.Origin})
		}
	}
	bare := *s
	bare.Rootfs = spec.Rootfs{Files: files, Trees: p.Trees}
	b := newBuilder(&bare)
	b.key = key
	for _, step := range []func() error{b.trees, b.files} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	return &b.over.Tree, nil
}
