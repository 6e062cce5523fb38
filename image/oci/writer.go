package oci

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"runtime"
	"strings"
	"sync"

	"thaw/image/tarball"
	"thaw/rootfs"
)

// Writer writes an image into a [Layout]. It is a [rootfs.SameAdder] and trusts the
// laws of package rootfs. Close or Abort must be called, after an error too: they
// wait for the packers.
type Writer struct {
	layout  *Layout
	opt     Options
	plan    *plan
	layers  []*layer // as in Options, and the last one
	dirs    map[string]*dir
	inside  string // the path of a layer that the stream is in, "" for none
	image   Descriptor
	written []Descriptor // layers
	err     error        // sticky

	slots chan struct{} // taken by packers
	wg    sync.WaitGroup
	stop  chan struct{} // closed at the first error of a packer
	fail  sync.Once
	cause error // that error; read it when stop is closed
}

var _ rootfs.SameAdder = (*Writer)(nil)

// dir is a directory, which layers repeat.
type dir struct {
	entry rootfs.Entry
	in    [2]uint64 // which layers have it, by bits
}

// put marks that layer i has the directory, and reports whether it had not.
func (d *dir) put(i int) bool {
	bit := uint64(1) << (i % 64)
	had := d.in[i/64]&bit != 0
	d.in[i/64] |= bit
	return !had
}

// maxPackers bounds the memory: zstd takes 25 MiB.
const maxPackers = 8

// NewWriter begins an image. Several at a time may be written into one layout.
func (l *Layout) NewWriter(o Options) (*Writer, error) {
	plan, err := o.check()
	if err != nil {
		return nil, err
	}
	packers := 1 // gzip works on all processors
	if o.Compression == "zstd" {
		packers = min(runtime.GOMAXPROCS(0), maxPackers)
	}
	w := &Writer{
		layout: l, opt: o, plan: plan, layers: make([]*layer, len(o.Layers)+1), dirs: make(map[string]*dir),
		slots: make(chan struct{}, packers), stop: make(chan struct{}),
	}
	// The last layer is there always, and shows that the compression is one.
	last, err := l.newPackedLayer(o.Compression)
	if err != nil {
		return nil, err
	}
	w.layers[len(o.Layers)] = last
	return w, nil
}

// Add implements [rootfs.Sink].
func (w *Writer) Add(e rootfs.Entry, data io.Reader) error {
	if w.err == nil {
		w.err = w.add(e, data)
	}
	return w.err
}

func (w *Writer) add(e rootfs.Entry, data io.Reader) error {
	i, err := w.route(e.Path)
	if err != nil {
		return err
	}
	to, err := w.open(i, e.Path)
	if err != nil {
		return err
	}
	if e.Mode.IsDir() {
		d := &dir{entry: e}
		d.put(i)
		w.dirs[e.Path] = d
	}
	return to.Add(e, data)
}

// AddSame implements [rootfs.SameAdder]. A link within a layer is one; others are
// not supported.
func (w *Writer) AddSame(path, earlier string) error {
	if w.err != nil {
		return w.err
	}
	var i int
	if i, w.err = w.route(path); w.err != nil {
		return w.err
	}
	// What is below a path whose layer is complete is in that or in the last one.
	if j := w.layerOf(earlier); i != j || j < len(w.opt.Layers) && w.layers[j] == nil {
		return errors.ErrUnsupported
	}
	var to *tarball.Writer
	if to, w.err = w.open(i, path); w.err == nil {
		w.err = to.AddSame(path, earlier)
	}
	return w.err
}

// above returns the path of a layer that path is or is below of, "" for none.
func (w *Writer) above(path string) string {
	for ; path != "."; path, _ = rootfs.Split(path) {
		if _, ok := w.plan.place[path]; ok {
			return path
		}
	}
	return ""
}

// layerOf returns the number of the layer that is for path.
func (w *Writer) layerOf(path string) int {
	if p := w.above(path); p != "" {
		return w.plan.place[p].layer
	}
	return len(w.opt.Layers)
}

// route returns the number of the layer that takes path. It has the layer packed
// that the stream leaves with it, if that is complete.
func (w *Writer) route(path string) (int, error) {
	if _, name := rootfs.Split(path); strings.HasPrefix(name, whiteout) {
		return 0, &rootfs.EntryError{Path: path, Reason: "in a layer, " + whiteout + " at the beginning of a name removes a file"}
	}
	last := len(w.opt.Layers)
	p := w.above(path)
	if p != w.inside {
		if err := w.leave(); err != nil {
			return 0, err
		}
		w.inside = p
	}
	if p == "" {
		return last, nil
	}
	i := w.plan.place[p].layer
	if l := w.layers[i]; l != nil && l.complete {
		return last, nil
	}
	return i, nil
}

// whiteout is how names begin that remove files (image-spec, layer.md).
const whiteout = ".wh."

// leave says that the stream has left the path that it was in.
func (w *Writer) leave() error {
	if w.inside == "" {
		return nil
	}
	p := w.plan.place[w.inside]
	if p.left {
		return nil
	}
	p.left = true
	w.plan.left[p.layer]--
	if l := w.layers[p.layer]; l != nil && w.plan.left[p.layer] == 0 {
		return w.pack(l)
	}
	return nil
}

// open returns the writer of a layer, which has the directories above path.
func (w *Writer) open(i int, path string) (*tarball.Writer, error) {
	l := w.layers[i]
	if l == nil {
		var err error
		if l, err = w.layout.newLayer(); err != nil {
			return nil, err
		}
		w.layers[i] = l
	}
	if path == "." {
		return l.tar, nil
	}
	parent, _ := rootfs.Split(path)
	return l.tar, w.repeat(i, path, parent)
}

// repeat adds a directory that is above path to a layer, after those above it.
func (w *Writer) repeat(i int, path, above string) error {
	d, ok := w.dirs[above]
	if !ok {
		return &rootfs.EntryError{Path: path, Reason: fmt.Sprintf("comes before its parent %q", above)}
	}
	if !d.put(i) {
		return nil
	}
	if above != "." {
		parent, _ := rootfs.Split(above)
		if err := w.repeat(i, path, parent); err != nil {
			return err
		}
	}
	return w.layers[i].tar.Add(d.entry, nil)
}

// pack has a layer packed that is complete. It waits while all packers are busy, so
// that no more layers wait for them on disk than there are packers.
func (w *Writer) pack(l *layer) error {
	if err := l.end(); err != nil {
		return err
	}
	select {
	case w.slots <- struct{}{}:
	case <-w.stop:
		return w.cause
	}
	w.wg.Go(func() {
		defer func() { <-w.slots }()
		if err := l.pack(w.opt.Compression, w.stop); err != nil {
			w.fail.Do(func() {
				w.cause = err
				close(w.stop)
			})
		}
	})
	return nil
}

// Close ends the image, unless there was an error, which it returns.
func (w *Writer) Close() error {
	err := w.err
	if err == nil {
		err = w.finish()
	}
	if err != nil {
		w.fail.Do(func() {
			w.cause = err
			close(w.stop)
		})
	}
	w.wg.Wait()
	for _, l := range w.layers {
		if l != nil {
			l.abandon()
		}
	}
	if w.err = fs.ErrClosed; err != nil {
		w.err = err
	}
	return err
}

// finish packs what is left and writes the configuration and the manifest.
func (w *Writer) finish() error {
	last := len(w.opt.Layers)
	for _, l := range w.layers[:last] {
		if l != nil && !l.complete {
			if err := w.pack(l); err != nil {
				return err
			}
		}
	}
	if err := w.layers[last].end(); err != nil {
		return err
	}
	w.wg.Wait()
	select {
	case <-w.stop:
		return w.cause
	default:
	}
	file := w.opt.file()
	m := manifest{SchemaVersion: 2, MediaType: typeManifest, Annotations: w.opt.Annotations}
	for i, l := range w.layers {
		if l == nil {
			continue
		}
		h := history{Created: file.Created, CreatedBy: "thaw"}
		if i < last {
			h.Comment = w.opt.Layers[i].Comment
		}
		file.History = append(file.History, h)
		file.RootFS.DiffIDs = append(file.RootFS.DiffIDs, l.diffID)
		m.Layers = append(m.Layers, Descriptor{MediaType: layerType(w.opt.Compression), Digest: l.digest, Size: l.size})
	}
	w.written = m.Layers
	var err error
	if m.Config, err = w.layout.putJSON(typeConfig, file); err != nil {
		return err
	}
	if w.image, err = w.layout.putJSON(typeManifest, &m); err != nil {
		return err
	}
	platform := w.opt.Platform
	w.image.Platform = &platform
	return nil
}

// Abort ends a writer that makes no image. After Close it does nothing.
func (w *Writer) Abort() {
	if w.err == nil {
		w.err = fs.ErrClosed
	}
	w.Close()
}

// Layers points to the layers, after Close.
func (w *Writer) Layers() []Descriptor { return w.written }

// Image points to the manifest, after Close.
func (w *Writer) Image() Descriptor { return w.image }
