package output

import (
	"io"
	"io/fs"
	"os"

	"thaw/estimate"
	"thaw/image/oci"
	"thaw/rootfs"
	"thaw/spec"
)

// An Image is a container image that was written.
type Image struct {
	Digest string // of its manifest
	Layers []oci.Descriptor
}

// platforms are what container images call Nix's systems.
var platforms = map[string]oci.Platform{
	"x86_64-linux": {Architecture: "amd64"}, "i686-linux": {Architecture: "386"},
	"aarch64-linux": {Architecture: "arm64"}, "armv7l-linux": {Architecture: "arm", Variant: "v7"}, "armv6l-linux": {Architecture: "arm", Variant: "v6"},
	"riscv64-linux": {Architecture: "riscv64"}, "powerpc64le-linux": {Architecture: "ppc64le"}, "s390x-linux": {Architecture: "s390x"},
	"loongarch64-linux": {Architecture: "loong64"},
}

// NewLayout makes a Writer of a container image to an empty directory, which becomes
// an OCI image layout. If archive is not nil, all of it is then written there as one
// file, too, which Size is about. Of Params it uses Spec, Arch, Layers and Time.
func NewLayout(dir *os.Root, archive io.Writer, o *spec.Output, p *Params) (*Writer, error) {
	layout, err := oci.Create(dir)
	if err != nil {
		return nil, err
	}
	img, err := layout.NewWriter(imageOptions(o.OCI, p))
	if err != nil {
		return nil, at(p.whole(o), err)
	}
	w := &Writer{sinks: []rootfs.Sink{img}, leave: img.Abort}
	w.finish = func() (int64, error) {
		if err := img.Close(); err != nil {
			return 0, err
		}
		top, err := layout.Finish(o.OCI.Name, img.Image())
		if err != nil {
			return 0, err
		}
		w.image = &Image{top.Digest, img.Layers()}
		if archive == nil {
			return filesSize(dir)
		}
		counted := &counter{w: archive}
		err = layout.Archive(counted, p.Time)
		return counted.n, err
	}
	return w, nil
}

func imageOptions(o *spec.OCI, p *Params) oci.Options {
	opt := oci.Options{
		Platform: platforms[p.Arch],
		Config: oci.Config{
			Entrypoint: o.Entrypoint, Cmd: o.Cmd, User: o.User, WorkingDir: o.Workdir,
			Labels: labels(o.Labels), Ports: o.Ports, Volumes: o.Volumes, StopSignal: o.StopSignal,
		},
		Compression: o.Compress, Created: p.Time, Annotations: labels(o.Annotations),
	}
	for _, v := range o.Env {
		opt.Config.Env = append(opt.Config.Env, v.Name+"="+v.Value)
	}
	if o.MaxLayers > 1 { // the last is for what is in none of these
		opt.Layers = p.Layers(o.MaxLayers - 1)
	}
	return opt
}

func labels(list []spec.Label) map[string]string {
	m := map[string]string{}
	for _, l := range list {
		m[l.Name] = l.Value
	}
	return m
}

// filesSize returns the bytes of all files in a directory.
func filesSize(dir *os.Root) (size int64, err error) {
	err = fs.WalkDir(dir.FS(), ".", func(_ string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		st, err := d.Info()
		if err == nil {
			size += st.Size()
		}
		return err
	})
	return size, err
}

// estimateOCI estimates the layers as one archive, and what comes with each.
func estimateOCI(c *estimate.Content, o *spec.OCI) estimate.Size {
	s := estimate.Tar(c, o.Compress)
	texts := int64(len(o.Name) + len(o.User) + len(o.Workdir))
	for _, list := range [][]string{o.Entrypoint, o.Cmd, o.Ports, o.Volumes} {
		for _, t := range list {
			texts += int64(len(t))
		}
	}
	for _, v := range o.Env {
		texts += int64(len(v.Name) + len(v.Value))
	}
	for _, l := range append(o.Labels[:len(o.Labels):len(o.Labels)], o.Annotations...) {
		texts += int64(len(l.Name) + len(l.Value))
	}
	// A layer repeats three directories, ends by itself, and is in the manifest, in
	// the configuration and twice in an archive. JSON takes six bytes for one at
	// most, and a text is in it no more than thrice, with 64 bytes around it.
	layers := int64(min(o.MaxLayers, len(c.Objects)+1))
	return estimate.Size{
		Least: s.Least, Likely: s.Likely + layers<<10 + 4<<10, Most: s.Most + layers<<14 + 64<<10 + 18*texts + 64*int64(len(o.Env)+len(o.Labels)),
	}
}
