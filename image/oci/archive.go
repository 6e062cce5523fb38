package oci

import (
	"encoding/json"
	"fmt"
	"io"
	"time"

	"thaw/image/tarball"
	"thaw/rootfs"
)

// dockerImage is an image in manifest.json, as docker load reads it.
type dockerImage struct {
	Config   string   // path of the configuration
	RepoTags []string // names
	Layers   []string // paths
}

// Archive writes a finished layout as one tar archive, whose files have the time
// modified. If the layout has one image, the archive is a docker archive too, of the
// name that [Layout.Finish] was given. It has what the index leads to and nothing
// else.
func (l *Layout) Archive(w io.Writer, modified time.Time) error {
	list, err := l.read("index.json", maxJSON)
	if err != nil {
		return err
	}
	images, err := l.images(list, "index.json", 0)
	if err != nil {
		return err
	}
	var top index
	if err := json.Unmarshal(list, &top); err != nil {
		return fmt.Errorf("%s/index.json: %w", l.root.Name(), err)
	}
	var tree rootfs.Tree
	put := func(name string, content []byte) {
		tree.Put(rootfs.Entry{Path: name, Mode: 0o644, ModTime: modified}, content)
	}
	put("index.json", list)
	put("oci-layout", []byte(marker))
	var docker []dockerImage
	held := top.Manifests // and below, what they lead to
	for _, d := range images {
		m, err := l.manifest(d)
		if err != nil {
			return err
		}
		held = append(append(held, d, m.Config), m.Layers...)
		image := dockerImage{Config: blobPath(m.Config.Digest), Layers: []string{}}
		for _, layer := range m.Layers {
			image.Layers = append(image.Layers, blobPath(layer.Digest))
		}
		if name := top.Manifests[0].Annotations[containerdName]; name != "" {
			image.RepoTags = []string{name}
		}
		docker = append(docker, image)
	}
	if len(docker) == 1 {
		b, err := marshal(docker)
		if err != nil {
			return err
		}
		put("manifest.json", b)
	}
	for _, d := range held {
		if err := l.valid(d); err != nil {
			return err
		}
		name := blobPath(d.Digest)
		e := rootfs.Entry{Path: name, Mode: 0o644, ModTime: modified, Size: d.Size}
		tree.PutFile(e, func() (io.ReadCloser, error) { return l.root.Open(name) })
	}
	dir := rootfs.Dir("", 0o755)
	dir.ModTime = modified
	tree.Dirs(blobs+"/x", dir)
	tar := tarball.NewWriter(w)
	if err := tree.Send(tar); err != nil {
		return err
	}
	return tar.Close()
}
