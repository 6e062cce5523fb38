package main

import (
	"context"
	"fmt"
	"io"

	"thaw/assemble"
	"thaw/internal/atomicfile"
	"thaw/output"
)

// booting is what an image boots with, as JSON.
type booting struct {
	Kernel  string `json:"kernel,omitempty"` // in the store
	Initrd  string `json:"initrd,omitempty"` // in the store
	Cmdline string `json:"cmdline,omitempty"`
}

// boots returns what the spec says of booting, nil for nothing.
func (c *content) booting() (b *booting, err error) {
	w := c.work
	if w.target.spec.Boot == nil {
		return nil, nil
	}
	b = &booting{}
	kernel, err := w.kernel(c.ctx, c.files)
	if err != nil {
		return nil, fmt.Errorf("boot.kernel: %w", err)
	}
	initrd, err := w.initrd(c.ctx, c.files)
	if err != nil {
		return nil, fmt.Errorf("boot.initrd: %w", err)
	}
	if kernel != nil {
		b.Kernel = kernel.String()
		if b.Cmdline, err = w.cmdline(c.ctx, c.files); err != nil {
			return nil, fmt.Errorf("boot.cmdline: %w", err)
		}
	}
	if initrd != nil {
		b.Initrd = initrd.String()
	}
	if w.target.spec.Boot.Initrd == "generate" {
		b.Initrd = "generated"
	}
	return b, nil
}

// beside begins a file beside the outputs with what the system boots with.
func beside(name, what string, data *io.SectionReader) (*atomicfile.File, error) {
	if data == nil {
		return nil, usage("leave out --"+what+"-out", "there is no %s to copy: the spec has none", what)
	}
	f, err := atomicfile.Create(name, 0o666)
	if err != nil {
		return nil, err
	}
	if _, err = io.Copy(f, io.NewSectionReader(data, 0, data.Size())); err == nil {
		err = f.Sync()
	}
	if err != nil {
		f.Abort()
		return nil, err
	}
	return f, nil
}

// besides begins the files beside the outputs that are asked for.
func (c *content) besides(o *buildOptions) (files []*atomicfile.File, err error) {
	add := func(name, what string, data *io.SectionReader, err error) error {
		if err != nil {
			return err
		}
		f, err := beside(name, what, data)
		if err == nil {
			files = append(files, f)
		}
		return err
	}
	if o.kernelOut != "" {
		kernel, err := c.place(c.work.kernel)
		if err := add(o.kernelOut, "kernel", kernel, err); err != nil {
			return files, err
		}
	}
	if o.initrdOut != "" {
		var initrd *io.SectionReader
		if b := c.work.target.spec.Boot; b != nil && b.Initrd == "generate" {
			if initrd, err = c.generate(c.firstRoot()); err != nil {
				err = fmt.Errorf("boot.generate: %w", err)
			}
		} else {
			initrd, err = c.place(c.work.initrd)
		}
		if err := add(o.initrdOut, "initrd", initrd, err); err != nil {
			return files, err
		}
	}
	return files, nil
}

// place returns the content of a file that is to be found, nil for none.
func (c *content) place(find func(context.Context, *assemble.Files) (*assemble.Place, error)) (*io.SectionReader, error) {
	p, err := find(c.ctx, c.files)
	if p == nil || err != nil {
		return nil, err
	}
	return c.at(p)
}

// firstRoot is where the root file system is on the first disk or CD.
func (c *content) firstRoot() (root output.RootPlace) {
	for i := range c.work.target.spec.Outputs {
		if root = output.FindRoot(&c.work.target.spec.Outputs[i], c.work.plan.ID); root.Device != "" {
			break
		}
	}
	return root
}
