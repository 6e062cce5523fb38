package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/klauspost/compress/zstd"

	"thaw/internal/decompress"
	"thaw/internal/faultserver"
	"thaw/nar"
	"thaw/narinfo"
	"thaw/nixhash"
	"thaw/storepath"
)

// Files among the caches that are no caches.
const (
	ready    = "ready" // all the others are there
	keysFile = "keys"  // that sign the caches, one a line
	narsFile = "nars"  // compressed NARs of the system closure, by their full names, largest first
)

// Of the caches that are made up.
const (
	signer    = faultserver.Signer("bench-1")
	hugeSize  = 200 << 20
	xzBlock   = 24 << 20 // as Nix has them: three dictionaries
	zstdFrame = 16 << 20 // as Nix has them from 2.35 on
	flatPaths = 10_000
	flatWidth = 10
	deepChain = 40
)

// Roots of the caches that are made up.
var (
	hugePath = faultserver.Path("huge")
	flatRoot = faultserver.Path("object-0") // as faultserver.Files.Wide has it
	deepRoot = faultserver.Path(fmt.Sprintf("chain-%d", deepChain-1))
)

// prepare makes a directory of caches: xz is the test bed's; zstd and none have its
// system closure and its 20,000 small files as Nix writes them; huge-… have one file
// of 200 MiB; flat and deep have 10,000 paths.
func prepare(ctx context.Context, bed, dir string) error {
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	xz := filepath.Join(bed, "caches", "xz")
	if err := os.Symlink(xz, filepath.Join(dir, "xz")); err != nil {
		return err
	}
	key, err := os.ReadFile(filepath.Join(bed, "caches", "keys", "testbed-1.pub"))
	if err != nil {
		return err
	}
	keys := strings.TrimSpace(string(key)) + "\n" + signer.Key().String() + "\n"
	if err := os.WriteFile(filepath.Join(dir, keysFile), []byte(keys), 0o666); err != nil {
		return err
	}
	lists := filepath.Join(bed, "caches", "lists")
	roots, err := words(filepath.Join(lists, "system.roots"))
	if err != nil {
		return err
	}
	many, err := named(filepath.Join(lists, "large.roots"), manyName)
	if err != nil {
		return err
	}
	for _, c := range []string{"zstd", "none"} {
		args := append(strings.Fields(nixCommand), "copy", "--no-check-sigs", "--from", "file://"+xz,
			"--to", "file://"+filepath.Join(dir, c)+"?compression="+c, many)
		cmd := exec.CommandContext(ctx, args[0], append(args[1:], roots...)...)
		cmd.Env = append(os.Environ(), "HOME="+dir, "XDG_CACHE_HOME="+filepath.Join(dir, ".cache"))
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%v: %w: %s", cmd.Args, err, out)
		}
	}
	nars, err := largest(xz, filepath.Join(lists, "system.closure"))
	if err != nil {
		return err
	}
	var list strings.Builder
	for _, i := range nars {
		fmt.Fprintln(&list, filepath.Join(xz, i.URL))
	}
	if err := os.WriteFile(filepath.Join(dir, narsFile), []byte(list.String()), 0o666); err != nil {
		return err
	}
	if err := huge(ctx, dir, xz, nars); err != nil {
		return err
	}
	if err := manyPaths(dir); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, ready), nil, 0o666)
}

// words returns what a list of store paths has.
func words(file string) ([]string, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	list := strings.Fields(string(text))
	for _, w := range list {
		if _, err := storepath.Parse(w); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("%s: no store path", file)
	}
	return list, nil
}

// named returns the store path of that name.
func named(file, name string) (string, error) {
	list, err := words(file)
	if err != nil {
		return "", err
	}
	i := slices.IndexFunc(list, func(w string) bool { return strings.HasSuffix(w, "-"+name) })
	if i < 0 {
		return "", fmt.Errorf("%s: no %s", file, name)
	}
	return list[i], nil
}

// largest returns the narinfos of a list, those of large files first.
func largest(cache, file string) ([]*narinfo.Info, error) {
	list, err := words(file)
	if err != nil {
		return nil, err
	}
	var infos []*narinfo.Info
	for _, w := range list {
		p, err := storepath.Parse(w)
		if err != nil {
			return nil, err
		}
		text, err := os.ReadFile(filepath.Join(cache, p.Hash()+".narinfo"))
		if err != nil {
			return nil, err
		}
		i, err := narinfo.Parse(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", w, err)
		}
		infos = append(infos, i)
	}
	slices.SortStableFunc(infos, func(a, b *narinfo.Info) int { return int(b.FileSize - a.FileSize) })
	return infos, nil
}

// huge makes caches of one store path: a file of all NARs, one after the other, as far
// as they fit.
func huge(ctx context.Context, dir, cache string, nars []*narinfo.Info) error {
	plain := filepath.Join(dir, "huge.nar")
	f, err := os.Create(plain)
	if err != nil {
		return err
	}
	defer f.Close()
	hash := sha256.New()
	w := nar.NewWriter(io.MultiWriter(f, hash))
	if err := w.WriteHeader(&nar.Header{Path: ".", Kind: nar.Regular, Size: hugeSize}); err != nil {
		return err
	}
	left := int64(hugeSize)
	for _, i := range nars {
		if err := add(w, filepath.Join(cache, i.URL), i, &left); err != nil {
			return fmt.Errorf("%s: %w", i.URL, err)
		}
	}
	if err := w.Close(); err != nil { // says so if too few bytes came
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}

	for _, c := range []struct {
		cache, compression string
		pack               func(in, out string) error
	}{
		{"huge-none", "none", os.Link},
		{"huge-xz", "xz", tool(ctx, "xz", "-6", fmt.Sprintf("-T%d", runtime.GOMAXPROCS(0)), fmt.Sprintf("--block-size=%d", xzBlock), "-c")},
		{"huge-zstd", "zstd", tool(ctx, "zstd", "-q", "-3", "-c")},
		{"huge-frames", "zstd", frames},
	} {
		to := filepath.Join(dir, c.cache)
		if err := os.Mkdir(to, 0o777); err != nil {
			return err
		}
		if err := c.pack(plain, filepath.Join(to, "huge.nar")); err != nil {
			return err
		}
		packed, err := os.Stat(filepath.Join(to, "huge.nar"))
		if err != nil {
			return err
		}
		i := &narinfo.Info{
			StorePath: hugePath, NarHash: nixhash.Of(nixhash.SHA256, hash.Sum(nil)), NarSize: info.Size(),
			Compression: c.compression, URL: "huge.nar", FileSize: packed.Size(),
		}
		signer.Sign(i)
		files := faultserver.Files{"nix-cache-info": []byte(faultserver.CacheInfo)}
		files.Put(i)
		if err := write(to, files); err != nil {
			return err
		}
	}
	return os.Remove(plain)
}

// add adds a NAR to w, but no more than *left bytes.
func add(w io.Writer, file string, i *narinfo.Info, left *int64) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	r, err := decompress.NewReader(i.Compression, f, i.NarSize)
	if err != nil {
		return err
	}
	defer r.Close()
	n, err := io.Copy(w, io.LimitReader(r, *left))
	*left -= n
	return err
}

// tool returns what packs a file with a program.
func tool(ctx context.Context, args ...string) func(in, out string) error {
	return func(in, out string) error {
		f, err := os.Create(out)
		if err != nil {
			return err
		}
		defer f.Close()
		cmd := exec.CommandContext(ctx, args[0], append(args[1:], in)...)
		var stderr strings.Builder
		cmd.Stdout, cmd.Stderr = f, &stderr
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("%v: %w: %s", cmd.Args, err, &stderr)
		}
		return f.Close()
	}
}

// frames packs a file with zstd, in frames that say how large they are.
func frames(in, out string) error {
	r, err := os.Open(in)
	if err != nil {
		return err
	}
	defer r.Close()
	w, err := os.Create(out)
	if err != nil {
		return err
	}
	defer w.Close()
	e, err := zstd.NewWriter(nil)
	if err != nil {
		return err
	}
	defer e.Close()
	frame := make([]byte, zstdFrame)
	for {
		n, err := io.ReadFull(r, frame)
		if n > 0 {
			if _, err := w.Write(e.EncodeAll(frame[:n], nil)); err != nil {
				return err
			}
		}
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return w.Close()
		}
		if err != nil {
			return err
		}
	}
}

// manyPaths makes two caches of 10,000 paths: flat has five layers; deep is as
// closures are, a long chain of references beside much that is not.
func manyPaths(dir string) error {
	flat := faultserver.Files{}
	flat.Wide(signer, flatPaths, flatWidth)
	if err := write(filepath.Join(dir, "flat"), flat); err != nil {
		return err
	}
	deep := faultserver.Files{}
	last := deep.Wide(signer, flatPaths-deepChain, flatWidth)
	for i := range deepChain {
		name := fmt.Sprintf("chain-%d", i)
		refs := []storepath.Path{last}
		if i == 0 {
			refs = nil
		}
		if i == deepChain-1 {
			refs = append(refs, faultserver.Path("object-0"))
		}
		deep.Add(signer, name, "none", faultserver.NAR([]byte(name)), refs...)
		last = faultserver.Path(name)
	}
	return write(filepath.Join(dir, "deep"), deep)
}

// write writes the files of a cache.
func write(dir string, files faultserver.Files) error {
	for name, text := range files {
		file := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o777); err != nil {
			return err
		}
		if err := os.WriteFile(file, text, 0o666); err != nil {
			return err
		}
	}
	return nil
}
