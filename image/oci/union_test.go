package oci

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"os"
	"reflect"
	"slices"
	"strings"

	"github.com/klauspost/compress/zstd"

	"thaw/rootfs"
	"thaw/rootfs/rootfstest"
)

// read reads the one image of a layout: the union of its layers, and the paths that
// each layer has. It holds all digests.
func read(dir string) (nodes []rootfstest.Node, layers [][]string, err error) {
	l, images, err := images(dir)
	if err != nil {
		return nil, nil, err
	}
	defer l.root.Close()
	if len(images) != 1 {
		return nil, nil, fmt.Errorf("%d images", len(images))
	}
	if names, err := fs.Glob(l.root.FS(), blobs+"/.*"); err != nil || len(names) > 0 {
		return nil, nil, fmt.Errorf("left over: %q, %v", names, err)
	}
	m, err := l.manifest(images[0])
	if err != nil {
		return nil, nil, err
	}
	var c configFile
	if err := l.unmarshal(m.Config, &c); err != nil {
		return nil, nil, err
	}
	if len(c.RootFS.DiffIDs) != len(m.Layers) || len(c.History) != len(m.Layers) {
		return nil, nil, fmt.Errorf("%d layers, %d digests, %d steps of history", len(m.Layers), len(c.RootFS.DiffIDs), len(c.History))
	}
	at := map[string]int{}
	for i, d := range m.Layers {
		b, err := l.root.ReadFile(blobPath(d.Digest))
		if err != nil {
			return nil, nil, err
		}
		if err := l.verify(d, fmt.Sprintf("sha256:%x", sha256.Sum256(b)), int64(len(b))); err != nil {
			return nil, nil, err
		}
		if b, err = unpack(d.MediaType, b); err != nil {
			return nil, nil, err
		}
		if c.RootFS.DiffIDs[i] != fmt.Sprintf("sha256:%x", sha256.Sum256(b)) {
			return nil, nil, fmt.Errorf("layer %d has another digest", i)
		}
		found, err := readTar(b)
		if err != nil {
			return nil, nil, fmt.Errorf("layer %d: %w", i, err)
		}
		var paths []string
		here := map[string]bool{}
		for _, n := range found {
			if n.Inode != 0 {
				n.Inode += uint64(i+1) << 32
			}
			if parent, _ := rootfs.Split(n.Path); n.Path != "." && !here[parent] || here[n.Path] {
				return nil, nil, fmt.Errorf("layer %d: %q is without its parent, or there twice", i, n.Path)
			}
			here[n.Path] = true
			paths = append(paths, n.Path)
			k, ok := at[n.Path]
			if ok && (!n.Mode.IsDir() || !reflect.DeepEqual(nodes[k], n)) {
				return nil, nil, fmt.Errorf("layer %d has %q once more, and otherwise", i, n.Path)
			}
			if !ok {
				at[n.Path] = len(nodes)
				nodes = append(nodes, n)
			}
		}
		layers = append(layers, paths)
	}
	return nodes, layers, nil
}

func images(dir string) (*Layout, []Descriptor, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, nil, err
	}
	l, err := Open(root)
	if err != nil {
		return nil, nil, err
	}
	images, err := l.Images()
	return l, images, err
}

func unpack(mediaType string, b []byte) ([]byte, error) {
	switch {
	case strings.HasSuffix(mediaType, "+gzip"):
		z, err := gzip.NewReader(bytes.NewReader(b))
		if err != nil {
			return nil, err
		}
		return io.ReadAll(z)
	case strings.HasSuffix(mediaType, "+zstd"):
		z, err := zstd.NewReader(nil)
		if err != nil {
			return nil, err
		}
		defer z.Close()
		return z.DecodeAll(b, nil)
	}
	return b, nil
}

// readTar reads an archive. Inode is a number within it.
func readTar(b []byte) (nodes []rootfstest.Node, err error) {
	files := make(map[string]int)
	for r := tar.NewReader(bytes.NewReader(b)); ; {
		h, err := r.Next()
		if err == io.EOF {
			return nodes, nil
		} else if err != nil {
			return nil, err
		}
		n := rootfstest.Node{Entry: rootfs.Entry{
			Path: h.Name, Mode: rootfstest.FileMode(0o100000 | uint32(h.Mode)), UID: uint32(h.Uid), GID: uint32(h.Gid),
			ModTime: h.ModTime, Size: h.Size, Target: h.Linkname,
		}}
		for key, value := range h.PAXRecords {
			if name, ok := strings.CutPrefix(key, "SCHILY.xattr."); ok {
				n.Xattrs = append(n.Xattrs, rootfs.Xattr{Name: name, Value: []byte(value)})
			}
		}
		slices.SortFunc(n.Xattrs, func(a, b rootfs.Xattr) int { return strings.Compare(a.Name, b.Name) })
		switch h.Typeflag {
		case tar.TypeReg:
			if n.SHA256, _, err = rootfstest.Digest(r); err != nil {
				return nil, err
			}
			files[n.Path] = len(nodes)
		case tar.TypeLink:
			i, ok := files[h.Linkname]
			if !ok {
				return nil, fmt.Errorf("%q is a link to %q, which is not there", h.Name, h.Linkname)
			}
			first := &nodes[i]
			if first.Inode == 0 {
				first.Inode = uint64(len(nodes))
			}
			files[n.Path] = i
			n.Target, n.Size, n.SHA256, n.Inode, n.Xattrs = "", first.Size, first.SHA256, first.Inode, first.Xattrs
		case tar.TypeDir:
			n.Mode |= fs.ModeDir
			n.Path = strings.TrimSuffix(n.Path, "/")
		case tar.TypeSymlink:
			n.Mode |= fs.ModeSymlink
		case tar.TypeFifo:
			n.Mode |= fs.ModeNamedPipe
		case tar.TypeBlock:
			n.Mode |= fs.ModeDevice
		case tar.TypeChar:
			n.Mode |= fs.ModeDevice | fs.ModeCharDevice
		}
		if n.Kind()&fs.ModeDevice != 0 {
			n.Dev = rootfs.Mkdev(uint32(h.Devmajor), uint32(h.Devminor))
		}
		nodes = append(nodes, n)
	}
}
