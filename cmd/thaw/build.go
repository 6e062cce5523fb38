package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"thaw/assemble"
	"thaw/fhs"
	"thaw/internal/atomicfile"
	"thaw/rootfs"
)

// buildOptions are those of the build verb.
type buildOptions struct {
	output    string
	format    string
	size      string
	label     string
	uuid      string
	seed      string
	link      []string
	kernelOut string
	initrdOut string
	json      bool
}

func (a *app) build() *cobra.Command {
	var o buildOptions
	cmd := &cobra.Command{
		Use:   "build PATH… -o FILE",
		Short: "Make an image of store paths and all they refer to",
		Long: `Make an image that holds the given store paths and all they refer to, under
/nix/store, and a merged view of the given paths as links: /bin, /lib, /share and
so on. --link chooses the places of the view. Where a path has an init and
no other /sbin/init is there, it becomes that.

Formats: disk is a GPT disk with one ext4 partition, ext4 that file system alone,
tar an archive (FILE may be - for standard output), dir a new directory. Without
--format, a name that ends in .ext4 or .tar chooses that, any other a disk.

--size is the file system's for ext4 and the whole disk's for disk: fit for the
smallest, fit+256M to leave that much free, or a fixed one such as 2G.

The same paths and options give the same bytes. The result line has the file, its
size in bytes and its SHA-256; for dir, the bytes and the SHA-256 of its manifest,
a line for each entry.`,
		Example: `  thaw build --cache testdata/example --trusted-key testdata/example/key.pub -o hello.img \
      /nix/store/iv6mnmnw8z16ca4yawz70zfapazdfyvq-hello-static-1.0
  thaw build /nix/store/…-nixos-system -o vm.img --size fit+512M --label nixos \
      --kernel-out vm.kernel --initrd-out vm.initrd`,
		GroupID: "make",
		RunE: func(cmd *cobra.Command, args []string) error {
			paths, err := storePaths(args, "build")
			if err != nil {
				return err
			}
			out, err := o.check(a.stdout)
			if err != nil {
				return err
			}
			link, err := linkPlaces(o.link)
			if err != nil {
				return err
			}
			if err := out.ready(o.kernelOut, o.initrdOut); err != nil {
				return err
			}
			w, err := a.resolve(cmd.Context(), paths, assemble.Request{Link: link, Seed: o.seed})
			if err != nil {
				return err
			}
			defer w.close()
			start := time.Now()
			r, err := w.build(cmd.Context(), &o, out, a.stdout)
			if err != nil {
				return err
			}
			return a.built(w, &o, r, time.Since(start))
		},
	}
	f := cmd.Flags()
	f.StringVarP(&o.output, "output", "o", "", "the `FILE` to write, or the directory to make")
	f.StringVar(&o.format, "format", "", "the `FORMAT`: disk, ext4, tar or dir")
	f.StringVar(&o.size, "size", "fit", "`SIZE`, fit or fit+SIZE; K, M and G are powers of 1024")
	f.StringVar(&o.label, "label", "", "`TEXT`: label of the file system, and name of the partition (default nixos)")
	f.StringVar(&o.uuid, "uuid", "", "`UUID` of the file system (default derived from the content)")
	f.StringVar(&o.seed, "seed", "", "derive all UUIDs from this `TEXT` instead of the content")
	f.StringArrayVar(&o.link, "link", nil, "a `DIR` of the merged view, / for all, none for none; may be repeated (default /"+strings.Join(fhs.DefaultLink, " /")+")")
	f.StringVar(&o.kernelOut, "kernel-out", "", "also copy the kernel of a path to this `FILE`")
	f.StringVar(&o.initrdOut, "initrd-out", "", "also copy the initrd of a path to this `FILE`")
	f.BoolVar(&o.json, "json", false, "print the result as one JSON object")
	return cmd
}

// linkPlaces turns the values of --link into paths of the view.
func linkPlaces(values []string) ([]string, error) {
	if len(values) == 0 {
		return fhs.DefaultLink, nil
	}
	var out []string
	for _, v := range values {
		if v == "" || v == "none" && len(values) > 1 {
			return nil, usage("give a directory of the image, such as /bin, or none alone", "--link %q makes no sense here", v)
		}
		if v == "none" && len(values) == 1 {
			return nil, nil
		}
		p := strings.TrimPrefix(path.Clean("/"+v), "/")
		if p == "" {
			p = "."
		}
		if !rootfs.ValidPath(p) || p == "nix" || strings.HasPrefix(p, "nix/") {
			return nil, usage("give a directory of the image, such as /bin", "--link %s cannot be part of the view", v)
		}
		if !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	slices.Sort(out)
	return out, nil
}

// build writes the image and the boot files beside it. None appears before all
// are whole.
func (w *work) build(ctx context.Context, o *buildOptions, out *output, stdout io.Writer) (*result, error) {
	img, err := out.create(w.plan, stdout)
	if err != nil {
		return nil, err
	}
	defer img.abort()
	var root *assemble.Root
	err = w.while(func(ctx context.Context) (err error) {
		root, err = assemble.Build(ctx, w.src, w.plan, img.sink)
		return err
	})
	if err != nil {
		return nil, err
	}
	var beside []*atomicfile.File
	defer func() {
		for _, f := range beside {
			f.Abort()
		}
	}()
	for _, b := range []struct {
		file string
		find func() (*assemble.BootFile, error)
	}{{o.kernelOut, root.Kernel}, {o.initrdOut, root.Initrd}} {
		if b.file == "" {
			continue
		}
		f, err := copyBootFile(ctx, b.file, b.find)
		if err != nil {
			return nil, err
		}
		beside = append(beside, f)
	}
	r, err := img.finish(ctx)
	if err != nil {
		return nil, err
	}
	if err := img.commit(); err != nil {
		return nil, err
	}
	for _, f := range beside {
		if err := f.Commit(); err != nil {
			return nil, err
		}
	}
	return r, nil
}

func copyBootFile(ctx context.Context, file string, find func() (*assemble.BootFile, error)) (*atomicfile.File, error) {
	boot, err := find()
	if err != nil {
		return nil, err
	}
	f, err := atomicfile.Create(file, 0o666)
	if err != nil {
		return nil, err
	}
	err = boot.Copy(ctx, f)
	if err == nil {
		err = f.Sync()
	}
	if err != nil {
		f.Abort()
		return nil, err
	}
	return f, nil
}

// result is what was written.
type result struct {
	Path   string `json:"path"`
	Size   int64  `json:"size"`
	Digest string `json:"digest"`
	Format string `json:"format"`
}

func (a *app) built(w *work, o *buildOptions, r *result, took time.Duration) error {
	objects, received, byCache, warnings := w.ui.totals()
	if len(w.toFetch) > 0 {
		w.ui.step("fetching", "%s, %s", count(objects, "path"), inBytes(received))
	}
	w.ui.step("writing", "%s, %s", r.Format, inBytes(r.Size))
	var out io.Writer = a.stdout
	if r.Path == "-" {
		out = a.stderr
	}
	if !o.json {
		_, err := fmt.Fprintf(out, "%s\t%d\t%s\n", r.Path, r.Size, r.Digest)
		return err
	}
	degraded := w.src.list.Degraded()
	return json.NewEncoder(out).Encode(struct {
		*result
		Closure  closureTotals      `json:"closure"`
		Fetched  int                `json:"fetched"`
		Received map[string]int64   `json:"received"`
		Degraded []string           `json:"degraded"`
		Warnings []string           `json:"warnings"`
		Seconds  map[string]float64 `json:"seconds"`
	}{r, closureTotals{len(w.plan.Infos), w.plan.NarSize()}, objects, byCache, append([]string{}, degraded...), warnings,
		map[string]float64{"resolve": w.resolved.Seconds(), "build": took.Seconds()}})
}
