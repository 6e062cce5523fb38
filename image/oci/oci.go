// Package oci writes root file systems as container images.
//
// A [Layout] is a directory as OCI's image layout describes it, version 1.0. It
// takes any number of images, each by a [Writer], and then an index that names
// them: one image, or one for each platform. [Layout.Archive] makes one file of it,
// which is an OCI archive and a docker archive at once.
//
// A layer is a whole tar archive, by package image/tarball: each has the entries of
// the directories above what it holds. The caller names the paths that go into each
// layer; the rest goes into the last one. Any order of entries is right. A layer is
// packed, beside what goes on, as soon as the stream has left the last of its paths;
// what comes below them later goes into the last layer.
//
// Until a layer is packed, its tar lies in the layout's directory; so that takes up
// to the uncompressed size of the layers in work, beside the layout. The last layer
// is packed as it comes. A writer keeps about 300 bytes for each directory, about
// 0.5 MiB for each layer that is open, and what package internal/compress takes for
// each packer, of which there are as many as processors.
//
// Names that begin with ".wh." mean in layers that a file is not there, and are
// refused. Layers are not made smaller by what lies below them: this is no tool to
// build images upon images.
//
// Same entries in the same order make the same bytes, whatever the machine. Nothing
// here knows what the paths are.
package oci

import (
	"fmt"
	"time"

	"thaw/rootfs"
)

// MaxLayers is how many layers an image can have: Linux's overlayfs, as Docker uses
// it, takes no more.
const MaxLayers = 127

// Options say what an image is. The zero value of all but Platform will do.
type Options struct {
	Platform Platform
	Config   Config
	// Layers are what goes into each layer but the last, from the first on:
	// paths as in [rootfs.Entry], each with all that is below it. Of several
	// that fit, the longest counts. Layers without an entry are left out.
	Layers []Layer
	// Compression is that of layers: "gzip", "zstd", or "none" and "" for none.
	// Docker before 23 does not read zstd.
	Compression string
	// Created is the time that the image's configuration tells, in whole
	// seconds; the zero value tells none.
	Created time.Time
	// Annotations are those of the image's manifest.
	Annotations map[string]string
}

// Layer names what goes into a layer.
type Layer struct {
	Comment string // in the image's history, what the layer is
	Paths   []string
}

// Platform is where an image runs, in Go's words.
type Platform struct {
	Architecture string `json:"architecture"`      // "amd64", "arm64", …
	OS           string `json:"os"`                // "linux", if it is ""
	Variant      string `json:"variant,omitempty"` // "v7" of arm, "v8" of arm64
}

func (p Platform) String() string {
	s := p.OS + "/" + p.Architecture
	if p.Variant != "" {
		s += "/" + p.Variant
	}
	return s
}

// Descriptor points to a blob.
type Descriptor struct {
	MediaType   string            `json:"mediaType"`
	Digest      string            `json:"digest"` // "sha256:" and 64 hexadecimal digits
	Size        int64             `json:"size"`
	Platform    *Platform         `json:"platform,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

// The media types of OCI's image specification, version 1.1.
const (
	typeIndex    = "application/vnd.oci.image.index.v1+json"
	typeManifest = "application/vnd.oci.image.manifest.v1+json"
	typeConfig   = "application/vnd.oci.image.config.v1+json"
	typeLayer    = "application/vnd.oci.image.layer.v1.tar"
)

// layerType returns the media type of a layer.
func layerType(compression string) string {
	switch compression {
	case "gzip", "zstd":
		return typeLayer + "+" + compression
	}
	return typeLayer
}

// manifest is an image (image-spec, manifest.md).
type manifest struct {
	SchemaVersion int               `json:"schemaVersion"` // 2
	MediaType     string            `json:"mediaType"`
	Config        Descriptor        `json:"config"`
	Layers        []Descriptor      `json:"layers"`
	Annotations   map[string]string `json:"annotations,omitempty"`
}

// index is a list of images (image-spec, image-index.md).
type index struct {
	SchemaVersion int          `json:"schemaVersion"` // 2
	MediaType     string       `json:"mediaType"`
	Manifests     []Descriptor `json:"manifests"`
}

// plan is where paths go.
type plan struct {
	place map[string]*place
	left  []int // of each layer, how many of its paths the stream has not left
}

// place is a path of a layer.
type place struct {
	layer int
	left  bool // the stream was there, and has left it
}

// check refuses options that do not make an image.
func (o *Options) check() (*plan, error) {
	if len(o.Layers) >= MaxLayers {
		return nil, fmt.Errorf("an image has at most %d layers, and the last one is for the rest: %d are too many", MaxLayers, len(o.Layers))
	}
	if err := o.checkConfig(); err != nil {
		return nil, err
	}
	p := &plan{place: map[string]*place{}, left: make([]int, len(o.Layers))}
	for i, l := range o.Layers {
		if err := text("comment of a layer", l.Comment); err != nil {
			return nil, err
		}
		for _, path := range l.Paths {
			if !rootfs.ValidPath(path) || path == "." {
				return nil, fmt.Errorf("a layer cannot have the path %q", path)
			}
			if _, ok := p.place[path]; ok {
				return nil, fmt.Errorf("the path %q is in layers twice", path)
			}
			p.place[path] = &place{layer: i}
			p.left[i]++
		}
	}
	return p, nil
}
