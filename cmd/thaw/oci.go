package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"thaw/image/oci"
	"thaw/internal/atomicfile"
	"thaw/layering"
	"thaw/output"
	"thaw/spec"
)

// pipes reports whether an output can go to standard output.
func pipes(o *spec.Output) bool {
	return output.Archive(o) || o.OCI != nil && o.OCI.Archive == "tar"
}

// createOCI writes a container image: a directory beside its place, or a file of
// such a directory, which goes away.
func (w *work) createOCI(o *destination, stdout io.Writer) (*image, error) {
	var file *atomicfile.File // nil for a directory, and standard output
	var archive io.Writer
	dir, sum := o.path, sha256.New()
	if o.of.OCI.Archive == "tar" {
		dir, archive = o.path+".layout", io.MultiWriter(stdout, sum)
		if o.path == "-" {
			dir = filepath.Join(os.TempDir(), "thaw.layout")
		} else {
			var err error
			if file, err = atomicfile.Create(o.path, 0o666); err != nil {
				return nil, err
			}
			archive = io.MultiWriter(file, sum)
		}
	}
	layout, err := o.newLayout(dir)
	if err != nil {
		if file != nil {
			file.Abort()
		}
		return nil, err
	}
	out, err := output.NewLayout(layout.root, archive, &o.of, &output.Params{
		Spec: w.target.places(), Time: w.plan.Time, Arch: w.target.spec.Arch, Layers: w.layers,
	})
	abort := func() {
		if out != nil {
			out.Abort()
		}
		layout.remove()
		if file != nil {
			file.Abort()
		}
	}
	if err != nil {
		abort()
		return nil, err
	}
	img := &image{path: layout.Path, sinks: out.Sinks(), abort: abort, part: layout.Dir}
	switch {
	case file != nil:
		img.path, img.part = file.Name(), file
	case o.path == "-":
		img.path, img.part = "", nil
	}
	img.finish = func(context.Context) error {
		if err := out.Close(); err != nil {
			return err
		}
		made := out.Image()
		img.result = o.result(out.Size(), made.Digest)
		img.result.Image = &container{made.Digest, []layer{}}
		for _, l := range made.Layers {
			img.result.Image.Layers = append(img.result.Image.Layers, layer{l.Digest, l.Size})
		}
		if archive == nil {
			return errors.Join(os.Chmod(layout.Path, 0o755), settle(layout.Path, w.plan.Time))
		}
		img.result.Digest = digest(sum)
		layout.remove()
		if file == nil {
			return nil
		}
		return file.Sync()
	}
	return img, nil
}

// layout is a directory for the layout of a container image.
type layout struct {
	*atomicfile.Dir
	root *os.Root
}

func (o *destination) newLayout(path string) (*layout, error) {
	d, err := o.newDir(path)
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(d.Path)
	if err != nil {
		d.Abort()
		return nil, err
	}
	return &layout{d, root}, nil
}

// remove removes a layout that is not at its place.
func (l *layout) remove() {
	l.root.Close()
	l.Abort()
}

// layers divides the store objects into layers of a container image.
func (w *work) layers(most int) (layers []oci.Layer) {
	for _, group := range layering.Groups(w.plan.Infos, most) {
		var l oci.Layer
		var names []string
		for _, p := range group {
			l.Paths = append(l.Paths, strings.TrimPrefix(p.String(), "/"))
			names = append(names, p.Name())
		}
		const told = 3
		l.Comment = strings.Join(names[:min(told, len(names))], ", ")
		if more := len(names) - told; more > 0 {
			l.Comment += fmt.Sprintf(" and %d more", more)
		}
		layers = append(layers, l)
	}
	return layers
}

// container is a container image that was written.
type container struct {
	Digest string  `json:"digest"` // of the manifest
	Layers []layer `json:"layers"`
}

// layer is a layer of a container image.
type layer struct {
	Digest string `json:"digest"`
	Size   int64  `json:"size"` // compressed
}

// difference says where two images differ that have other manifests.
func (c *container) difference(other *container) string {
	if len(c.Layers) != len(other.Layers) {
		return fmt.Sprintf("%d layers and %d", len(c.Layers), len(other.Layers))
	}
	for i, l := range c.Layers {
		if o := other.Layers[i]; l != o {
			return fmt.Sprintf("layer %d of %d is %s and %s", i+1, len(c.Layers), l.Digest, o.Digest)
		}
	}
	return "the configuration or the manifest"
}
