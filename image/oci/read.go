package oci

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"regexp"
)

// maxImages bounds the images of a layout that is read.
const maxImages = 1000

// Images returns the images of a finished layout, each with its platform: those
// that the index has, and those of indexes in it.
func (l *Layout) Images() ([]Descriptor, error) {
	b, err := l.read("index.json", maxJSON)
	if err != nil {
		return nil, err
	}
	return l.images(b, "index.json", 0)
}

func (l *Layout) images(list []byte, name string, depth int) (out []Descriptor, err error) {
	var x index
	if err := json.Unmarshal(list, &x); err != nil {
		return nil, fmt.Errorf("%s/%s: %w", l.root.Name(), name, err)
	}
	for _, d := range x.Manifests {
		var found []Descriptor
		switch {
		case d.MediaType == typeIndex && depth < 1:
			b, err := l.blob(d)
			if err != nil {
				return nil, err
			}
			if found, err = l.images(b, d.Digest, depth+1); err != nil {
				return nil, err
			}
		case d.MediaType == typeManifest:
			if d, err = l.image(d); err != nil {
				return nil, err
			}
			found = []Descriptor{d}
		default:
			return nil, fmt.Errorf("%s/%s: %s has the type %q, which is not an image's", l.root.Name(), name, d.Digest, d.MediaType)
		}
		if out = append(out, found...); len(out) > maxImages {
			return nil, fmt.Errorf("%s has more than %d images", l.root.Name(), maxImages)
		}
	}
	return out, nil
}

// image returns the descriptor of an image, with the platform that its configuration
// tells, and without annotations.
func (l *Layout) image(d Descriptor) (Descriptor, error) {
	m, err := l.manifest(d)
	if err != nil {
		return d, err
	}
	var p Platform
	if err := l.unmarshal(m.Config, &p); err != nil {
		return d, err
	}
	d.Platform, d.Annotations = &p, nil
	return d, nil
}

func (l *Layout) manifest(d Descriptor) (*manifest, error) {
	m := &manifest{}
	return m, l.unmarshal(d, m)
}

// blob reads a small blob and verifies it.
func (l *Layout) blob(d Descriptor) ([]byte, error) {
	if err := l.valid(d); err != nil {
		return nil, err
	}
	if d.Size > maxJSON {
		return nil, fmt.Errorf("%s: %s is to have %d bytes, the limit is %d", l.root.Name(), d.Digest, d.Size, maxJSON)
	}
	b, err := l.read(blobPath(d.Digest), d.Size)
	if err != nil {
		return nil, err
	}
	h := sha256.New()
	h.Write(b)
	return b, l.verify(d, digest(h), int64(len(b)))
}

var sha256Digest = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

func (l *Layout) valid(d Descriptor) error {
	if !sha256Digest.MatchString(d.Digest) || d.Size < 0 {
		return fmt.Errorf("%s: no blob has the digest %.100q and %d bytes", l.root.Name(), d.Digest, d.Size)
	}
	return nil
}

func (l *Layout) verify(d Descriptor, digest string, size int64) error {
	if digest != d.Digest || size != d.Size {
		return fmt.Errorf("%s/%s is damaged: it has %d bytes with the digest %s, and is to have %d",
			l.root.Name(), blobPath(d.Digest), size, digest, d.Size)
	}
	return nil
}

// Import copies the images of another layout, verifies them, and returns them for
// [Layout.Finish]. Blobs that are there are not copied again.
func (l *Layout) Import(from *Layout) ([]Descriptor, error) {
	images, err := from.Images()
	if err != nil {
		return nil, err
	}
	for _, d := range images {
		m, err := from.manifest(d)
		if err != nil {
			return nil, err
		}
		for _, b := range append([]Descriptor{d, m.Config}, m.Layers...) {
			if err := l.copyBlob(from, b); err != nil {
				return nil, err
			}
		}
	}
	return images, nil
}

func (l *Layout) copyBlob(from *Layout, d Descriptor) error {
	if err := from.valid(d); err != nil {
		return err
	}
	if _, err := l.root.Stat(blobPath(d.Digest)); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	src, err := from.root.Open(blobPath(d.Digest))
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := l.temp()
	if err != nil {
		return err
	}
	h := sha256.New()
	n, err := io.Copy(io.MultiWriter(dst, h), io.LimitReader(src, d.Size+1))
	if err == nil {
		err = from.verify(d, digest(h), n)
	}
	if err != nil {
		l.remove(dst)
		return err
	}
	return l.rename(dst, d.Digest)
}

// unmarshal reads a small blob of JSON and verifies it.
func (l *Layout) unmarshal(d Descriptor, v any) error {
	b, err := l.blob(d)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("%s/%s: %w", l.root.Name(), blobPath(d.Digest), err)
	}
	return nil
}

// Size returns the bytes of all that the index leads to, each blob once.
func (l *Layout) Size() (size int64, err error) {
	held, err := l.held()
	for _, d := range held {
		size += d.Size
	}
	return size, err
}

// held returns all that the index leads to, each blob once. It verifies manifests and
// configurations.
func (l *Layout) held() (out []Descriptor, err error) {
	var top index
	b, err := l.read("index.json", maxJSON)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(b, &top); err != nil {
		return nil, fmt.Errorf("%s/index.json: %w", l.root.Name(), err)
	}
	images, err := l.images(b, "index.json", 0)
	if err != nil {
		return nil, err
	}
	all := top.Manifests
	for _, d := range images {
		m, err := l.manifest(d)
		if err != nil {
			return nil, err
		}
		all = append(append(all, d, m.Config), m.Layers...)
	}
	seen := map[string]bool{}
	for _, d := range all {
		if err := l.valid(d); err != nil {
			return nil, err
		}
		if !seen[d.Digest] {
			seen[d.Digest] = true
			out = append(out, d)
		}
	}
	return out, nil
}
