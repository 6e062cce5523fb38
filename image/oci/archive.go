package oci

import (
	"encoding/json"
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
	held, err := l.held()
	if err != nil {
		return err
	}
	docker, err := l.docker(list)
	if err != nil {
		return err
	}
	var tree rootfs.Tree
	put := func(name string, content []byte) {
		tree.Put(rootfs.Entry{Path: name, Mode: 0o644, ModTime: modified}, content)
	}
	put("index.json", list)
	put("oci-layout", []byte(marker))
	if docker != nil {
		put("manifest.json", docker)
	}
	for _, d := range held {
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

// docker returns the manifest.json of a layout of one image, nil for others.
func (l *Layout) docker(list []byte) ([]byte, error) {
	var top index
	if err := json.Unmarshal(list, &top); err != nil {
		return nil, err
	}
	if len(top.Manifests) != 1 || top.Manifests[0].MediaType != typeManifest {
		return nil, nil
	}
	m, err := l.manifest(top.Manifests[0])
	if err != nil {
		return nil, err
	}
	image := dockerImage{Config: blobPath(m.Config.Digest), Layers: []string{}}
	for _, layer := range m.Layers {
		image.Layers = append(image.Layers, blobPath(layer.Digest))
	}
	if name := top.Manifests[0].Annotations[containerdName]; name != "" {
		image.RepoTags = []string{name}
	}
	return marshal([]dockerImage{image})
}
