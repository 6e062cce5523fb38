package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"thaw/assemble"
	"thaw/fhs"
	"thaw/internal/atomicfile"
	"thaw/resolve"
	"thaw/rootfs"
	"thaw/spec"
)

// buildOptions are those of the build verb.
type buildOptions struct {
	output    string
	format    string
	size      string
	label     string
	uuid      string
	seed      string
	arch      string
	link      []string
	kernelOut string
	initrdOut string
	locked    bool
	check     bool
	json      bool
}

func (a *app) build() *cobra.Command {
	var o buildOptions
	cmd := &cobra.Command{
		Use:   "build PATH…|SPEC -o FILE",
		Short: "Make an image of store paths, or of a spec",
		Long: `Make an image that holds the given store paths and all they refer to, under
/nix/store, and a merged view of the given paths as links: /bin, /lib, /share and
so on. --link chooses the places of the view. Where a path has an init and
no other /sbin/init is there, it becomes that.

A SPEC is a YAML or JSON file (- for standard input) that says all this and more:
accounts, files, services, several outputs; docs/spec.md lists its keys, and thaw
init writes one to begin with. The options that describe the image are for store
paths; a spec says these things itself. If it has several outputs, -o is a
directory, and they are called by their names in it.

Formats: disk is a GPT disk with one ext4 partition, also as disk.gz, disk.xz,
disk.zst, qcow2, vdi, vhd, vhd-fixed, vhdx and vmdk; ext4, squashfs and erofs are
file systems alone; tar and cpio archives, also tar.gz, tar.zst, cpio.gz and cpio.zst
(FILE may be - for standard output); dir a directory; oci a container image as a
directory, oci.tar as a file for docker load. iso and files need a spec. Without
--format the ending of FILE chooses: an ending that no format has makes a disk.
A directory is a new one, or takes the place of one that an earlier build wrote, if
nothing in that has changed since.

--size is the file system's for ext4 and the whole disk's for disk: fit for the
smallest, fit+256M or fit+10% to leave that much free, or a fixed one such as 2G.

The same paths and options give the same bytes. The result line has the file, its
size in bytes and its SHA-256; for dir, the bytes and the SHA-256 of its manifest,
a line for each entry; for oci, the bytes and the digest of the image.`,
		Example: `  thaw build --cache testdata/example --trusted-key testdata/example/key.pub -o hello.img \
      /nix/store/iv6mnmnw8z16ca4yawz70zfapazdfyvq-hello-static-1.0
  thaw build vm.yaml -o vm.img --kernel-out vm.kernel --initrd-out vm.initrd`,
		GroupID: "make",
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if len(args) > 0 && o.output == "" {
				return usage("for example -o image.img", "build needs -o FILE")
			}
			t, err := a.target(cmd, args)
			if err != nil {
				return err
			}
			if o.locked && t.lock == nil {
				if err := t.pin(); err != nil {
					return err
				}
			}
			outs, err := o.apply(cmd, t, a.stdout)
			if err != nil {
				return err
			}
			if o.check && outs[0].path == "-" {
				return usage("give -o FILE", "--check compares files, and there is none")
			}
			made, err := ready(outs, o.kernelOut, o.initrdOut)
			defer func() {
				if err != nil && made != "" {
					os.Remove(made) // if it is still empty
				}
			}()
			if err != nil {
				return err
			}
			w, err := a.resolveAndFetch(cmd.Context(), t)
			if err != nil {
				return err
			}
			defer w.close()
			start := time.Now()
			r, boot, err := w.build(cmd.Context(), &o, outs, a.stdout)
			if err != nil {
				return err
			}
			return a.built(w, &o, r, boot, time.Since(start))
		},
	}
	f := cmd.Flags()
	f.StringVarP(&o.output, "output", "o", "", "the `FILE` to write, or the directory to make")
	f.StringVar(&o.format, "format", "", "the `FORMAT`, one of those above (default by the ending of FILE)")
	f.StringVar(&o.size, "size", "", "`SIZE`, fit, fit+SIZE or fit+N%; K, M and G are powers of 1024 (default fit)")
	f.StringVar(&o.label, "label", "", "`TEXT`: label of the file system, and name of the partition (default nixos)")
	f.StringVar(&o.uuid, "uuid", "", "`UUID` of the file system (default derived from the content)")
	f.StringVar(&o.seed, "seed", "", "derive all UUIDs from this `TEXT` instead of the content")
	f.StringVar(&o.arch, "arch", "", "what the paths run on, like `x86_64-linux`: container images say it")
	f.StringArrayVar(&o.link, "link", nil, "a `DIR` of the merged view, / for all, none for none; may be repeated (default "+strings.Join(spec.New().Rootfs.Merge.Link, " ")+")")
	f.StringVar(&o.kernelOut, "kernel-out", "", "also copy the kernel to this `FILE`")
	f.StringVar(&o.initrdOut, "initrd-out", "", "also copy the initrd to this `FILE`")
	f.BoolVar(&o.locked, "locked", false, "build what the spec's lock pins, and fail if it is out of date")
	f.BoolVar(&o.check, "check", false, "build twice, the second time in another way, and fail if the outputs differ")
	f.BoolVar(&o.json, "json", false, "print the result as one JSON object")
	return cmd
}

// apply writes the options into the spec of store paths, and returns the outputs
// of the spec with the files that they become.
func (o *buildOptions) apply(cmd *cobra.Command, t *target, stdout *results) ([]*destination, error) {
	s := t.spec
	if !t.paths() {
		for _, name := range []string{"seed", "arch", "link"} {
			if cmd.Flags().Changed(name) {
				return nil, usage("write it into "+t.file, "--%s is for store paths; a spec says it itself", name)
			}
		}
	}
	if o.seed != "" {
		s.Seed = o.seed
	}
	if o.arch != "" {
		if systems := resolve.Systems(); !slices.Contains(systems, o.arch) {
			return nil, usage("give one of "+strings.Join(systems, ", "), "--arch %q is not a system that images are for", o.arch)
		}
		s.Arch = o.arch
	}
	if len(o.link) > 0 {
		var err error
		if s.Rootfs.Merge.Link, err = linkPlaces(o.link); err != nil {
			return nil, err
		}
	}
	if len(s.Outputs) == 0 {
		out, err := o.described()
		if err != nil {
			return nil, err
		}
		if t.paths() && (out.ISO != nil || out.Files != nil) {
			return nil, usage("write a spec for it; docs/boot.md has some", "the format %s is for what boots, and store paths do not say how", out.Type)
		}
		s.Outputs = []spec.Output{out}
		if err := t.complete(); err != nil {
			return nil, err
		}
	} else if i := slices.IndexFunc([]string{"format", "size", "label", "uuid"}, cmd.Flags().Changed); i >= 0 {
		return nil, usage("write it into "+t.file, "--%s is for store paths; the outputs of the spec say it", []string{"format", "size", "label", "uuid"}[i])
	}
	if err := t.loads(); err != nil {
		return nil, err
	}
	outs, err := o.files(s, stdout)
	if err != nil || len(outs) != 1 {
		return outs, err
	}
	if !t.paths() {
		return outs, outs[0].suits()
	}
	if m := outs[0].misnamed(); m != "" {
		t.doubts = append(t.doubts, "the image is "+m)
	}
	return outs, nil
}

// complete checks and completes the spec after outputs were added to it.
func (t *target) complete() error {
	n := *t.spec
	if err := n.Normalise(); err != nil {
		var all spec.Errors
		if errors.As(err, &all) && strings.HasPrefix(all[0].Path, "outputs.image") { // which nobody has written
			return usage("", "%s", all[0].Text)
		}
		return usage("", "%v", err)
	}
	if t.paths() {
		*t.spec = n
	} else {
		t.spec.Outputs = n.Outputs // all else is canonical, and has its lines
	}
	return nil
}

// linkPlaces turns the values of --link into places of the spec.
func linkPlaces(values []string) ([]string, error) {
	out := []string{}
	for _, v := range values {
		if v == "" || v == "none" && len(values) > 1 {
			return nil, usage("give a directory of the image, such as /bin, or none alone", "--link %q makes no sense here", v)
		}
		if v == "none" {
			return out, nil
		}
		p := path.Clean("/" + v)
		if p != "/" && !rootfs.ValidPath(p[1:]) || p == "/nix" || strings.HasPrefix(p, "/nix/") {
			return nil, usage("give a directory of the image, such as /bin", "--link %s cannot be part of the view", v)
		}
		if !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	return out, nil
}

// build writes the outputs and the boot files beside them. They appear when all are
// whole, all or none.
func (w *work) build(ctx context.Context, o *buildOptions, outs []*destination, stdout io.Writer) (rs []*result, boot *booting, err error) {
	err = w.while(func(ctx context.Context) error {
		source := w.newContent(ctx, filepath.Dir(outs[0].path))
		defer source.spool.close()
		if boot, err = source.booting(); err != nil { // before much is written
			return err
		}
		images, root, err := w.write(ctx, outs, source, stdout)
		for _, img := range images {
			defer img.abort()
		}
		if err != nil {
			return err
		}
		w.report(root)
		if o.check {
			if err := w.rebuild(ctx, outs, images); err != nil {
				return err
			}
		}
		var whole []atomicfile.Part
		for _, img := range images {
			rs = append(rs, img.result)
			if img.part != nil {
				whole = append(whole, img.part)
			}
		}
		files, err := source.besides(o)
		for _, f := range files {
			defer f.Abort()
			whole = append(whole, f)
		}
		if err != nil {
			return err
		}
		err = atomicfile.CommitAll(whole...)
		var left *atomicfile.LeftError
		if errors.As(err, &left) { // the outputs are whole, and at their places
			w.ui.warn(left.Error())
			return nil
		}
		return err
	})
	return rs, boot, err
}

// write writes the outputs, all from one reading of the objects. The caller aborts or
// commits the images, of which there may be some where there is an error.
func (w *work) write(ctx context.Context, outs []*destination, source *content, stdout io.Writer) (images []*image, root *assemble.Root, err error) {
	var sinks []rootfs.Sink
	for _, out := range outs {
		img, err := w.create(out, source, stdout)
		if err != nil {
			return images, nil, err
		}
		images, sinks = append(images, img), append(sinks, img.sinks...)
	}
	if root, err = w.assemble(ctx, rootfs.Tee(sinks...)); err != nil {
		return images, nil, err
	}
	for i, img := range images {
		if err := img.finish(ctx); err != nil {
			return images, nil, err
		}
		if err := outs[i].within(img.result.Size); err != nil {
			return images, nil, err
		}
	}
	return images, root, nil
}

// assemble sends the root file system to sink.
func (w *work) assemble(ctx context.Context, sink rootfs.Sink) (*assemble.Root, error) {
	root, err := assemble.Build(ctx, w.src, w.plan, sink)
	var clash fhs.CollisionError
	if errors.As(err, &clash) {
		return nil, &collisionError{clash, w}
	}
	if err != nil {
		return nil, err
	}
	return root, nil
}

// report lists the collisions that were settled, if the spec asks for it.
func (w *work) report(root *assemble.Root) {
	for _, s := range root.Settled {
		w.ui.step("merging", "%s", s)
	}
}

// result is what was written.
type result struct {
	Path       string      `json:"path"`
	Size       int64       `json:"size"`
	Digest     string      `json:"digest"`
	Format     string      `json:"format"`
	Partitions []partition `json:"partitions,omitempty"` // of a disk, as they lie on it
	Image      *container  `json:"image,omitempty"`
}

// partition is where a partition is on a disk.
type partition struct {
	Number int    `json:"number"`
	Name   string `json:"name,omitempty"`
	Start  int64  `json:"start"` // bytes
	Size   int64  `json:"size"`  // bytes
}

func (a *app) built(w *work, o *buildOptions, rs []*result, boot *booting, took time.Duration) error {
	objects, received, byCache, warnings := w.ui.totals()
	if len(w.toFetch) > 0 {
		w.ui.step("fetching", "%s, %s", count(objects, "path"), inBytes(received))
	}
	var out io.Writer = a.stdout
	for _, r := range rs {
		w.ui.step("writing", "%s, %s", r.Format, inBytes(r.Size))
		if r.Path == "-" {
			out = a.stderr
		}
	}
	if !o.json {
		for _, r := range rs {
			if _, err := fmt.Fprintf(out, "%s\t%d\t%s\n", r.Path, r.Size, r.Digest); err != nil {
				return err
			}
		}
		return nil
	}
	var only *result // its fields stand beside the rest
	if len(rs) == 1 {
		only = rs[0]
	}
	degraded := w.src.list.Degraded()
	return json.NewEncoder(out).Encode(struct {
		*result
		Outputs  []*result          `json:"outputs"`
		Boot     *booting           `json:"boot,omitempty"`
		Closure  closureTotals      `json:"closure"`
		Fetched  int                `json:"fetched"`
		Received map[string]int64   `json:"received"`
		Degraded []string           `json:"degraded"`
		Warnings []string           `json:"warnings"`
		Seconds  map[string]float64 `json:"seconds"`
	}{only, rs, boot, closureTotals{len(w.plan.Infos), w.plan.NarSize()}, objects, byCache, append([]string{}, degraded...), warnings,
		map[string]float64{"resolve": w.resolved.Seconds(), "build": took.Seconds()}})
}
