package oci

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync/atomic"
)

const (
	algorithm = "sha256:"
	blobs     = "blobs/sha256"
	// maxJSON bounds manifests, configurations and indexes that are read. Registries
	// take manifests of up to 4 MiB.
	maxJSON = 4 << 20
	// marker is the file oci-layout.
	marker = `{"imageLayoutVersion":"1.0.0"}` + "\n"

	refName        = "org.opencontainers.image.ref.name" // the tag
	containerdName = "io.containerd.image.name"          // the whole name
)

// Layout is a directory of images (image-spec, image-layout.md). Its methods may be
// called side by side.
type Layout struct {
	root  *os.Root
	temps atomic.Int64
}

// Create begins a layout in an empty directory. It is one when [Layout.Finish] has
// ended it.
func Create(root *os.Root) (*Layout, error) {
	return &Layout{root: root}, root.MkdirAll(blobs, 0o777)
}

// Open opens a layout that was finished.
func Open(root *os.Root) (*Layout, error) {
	l := &Layout{root: root}
	b, err := l.read("oci-layout", 1<<10)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s is no OCI image layout: it has no file oci-layout", root.Name())
	} else if err != nil {
		return nil, err
	}
	var version struct {
		Version string `json:"imageLayoutVersion"`
	}
	if err := json.Unmarshal(b, &version); err != nil || !strings.HasPrefix(version.Version, "1.") {
		return nil, fmt.Errorf("%s/oci-layout: not of version 1", root.Name())
	}
	return l, nil
}

// Finish writes the index of the layout: one image, or several for different
// platforms, under a name like "example.org/hello:1.0" or "". It returns what the
// name stands for, whose digest is the image's.
func (l *Layout) Finish(name string, images ...Descriptor) (Descriptor, error) {
	if len(images) == 0 {
		return Descriptor{}, errors.New("a layout without an image")
	}
	var ref *reference
	if name != "" {
		var err error
		if ref, err = parseReference(name); err != nil {
			return Descriptor{}, err
		}
	}
	top := images[0]
	if len(images) > 1 {
		seen := map[Platform]bool{}
		for _, d := range images {
			if d.Platform == nil || seen[*d.Platform] {
				return Descriptor{}, fmt.Errorf("two images for the platform %v", d.Platform)
			}
			seen[*d.Platform] = true
		}
		var err error
		if top, err = l.putJSON(typeIndex, index{2, typeIndex, images}); err != nil {
			return Descriptor{}, err
		}
	}
	named := top
	if ref != nil {
		named.Annotations = map[string]string{
			refName:        ref.tag,
			containerdName: ref.full(),
		}
	}
	list, err := marshal(index{2, typeIndex, []Descriptor{named}})
	if err == nil {
		err = l.root.WriteFile("index.json", list, 0o666)
	}
	if err == nil {
		err = l.root.WriteFile("oci-layout", []byte(marker), 0o666)
	}
	return top, err
}

// marshal makes JSON for people and machines, one line that ends.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return b.Bytes(), err
}

// putJSON adds a blob of JSON.
func (l *Layout) putJSON(mediaType string, v any) (Descriptor, error) {
	b, err := marshal(v)
	if err != nil {
		return Descriptor{}, err
	}
	sum := sha256.Sum256(b)
	d := Descriptor{MediaType: mediaType, Digest: algorithm + hex.EncodeToString(sum[:]), Size: int64(len(b))}
	f, err := l.temp()
	if err != nil {
		return d, err
	}
	if _, err := f.Write(b); err != nil {
		l.remove(f)
		return d, err
	}
	return d, l.rename(f, d.Digest)
}

// temp makes a file that is not at its place yet.
func (l *Layout) temp() (*os.File, error) {
	name := fmt.Sprintf("%s/.%d.part", blobs, l.temps.Add(1))
	return l.root.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
}

// rename closes a file of temp and makes it the blob of a digest.
func (l *Layout) rename(f *os.File, digest string) error {
	if err := f.Close(); err != nil {
		return err
	}
	return l.root.Rename(l.name(f), blobPath(digest))
}

// remove closes and removes a file of temp, if it is not at its place.
func (l *Layout) remove(f *os.File) {
	f.Close()
	l.root.Remove(l.name(f))
}

// name is the name in the root of a file of temp.
func (l *Layout) name(f *os.File) string {
	return blobs + f.Name()[strings.LastIndexByte(f.Name(), '/'):]
}

// blobPath is where the blob of a digest lies.
func blobPath(digest string) string { return blobs + "/" + strings.TrimPrefix(digest, algorithm) }

// read reads a small file.
func (l *Layout) read(name string, limit int64) ([]byte, error) {
	f, err := l.root.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("%s/%s has more than %d bytes", l.root.Name(), name, limit)
	}
	return b, err
}
