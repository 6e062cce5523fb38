package main

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/klauspost/compress/zstd"

	"thaw/internal/faultserver"
	"thaw/nar"
	"thaw/narinfo"
	"thaw/nixhash"
)

// A shape says how large a closure is.
type shape struct {
	paths int
	files int   // of a path, besides a program
	bytes int64 // of a file
	codec string
}

// signer signs all.
const signer faultserver.Signer = "scale-1"

const (
	width       = 10  // how many other paths a path refers to at most
	inDirectory = 100 // files
)

// entries is how many files and directories all paths have.
func (s shape) entries() int {
	return s.paths * (s.files + (s.files+inDirectory-1)/inDirectory + 5)
}

// A cache makes up what it serves as it is asked for it; only hashes are kept.
type cache struct {
	shape
	infos   map[string]*narinfo.Info // by the name of the narinfo
	numbers map[string]int           // of paths, by the name of the NAR
}

func name(n int) string { return fmt.Sprintf("object-%d", n) }

// newCache makes each NAR once, for its hash.
func newCache(s shape) *cache {
	c := &cache{shape: s, infos: map[string]*narinfo.Info{}, numbers: map[string]int{}}
	var mu sync.Mutex
	var wg sync.WaitGroup
	next := 0
	for range runtime.NumCPU() {
		wg.Go(func() {
			for {
				mu.Lock()
				n := next
				next++
				mu.Unlock()
				if n >= s.paths {
					return
				}
				info := c.info(n)
				mu.Lock()
				c.infos[info.StorePath.Hash()+".narinfo"] = info
				c.numbers[info.URL] = n
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return c
}

func (c *cache) info(n int) *narinfo.Info {
	sum := &counter{h: sha256.New()}
	check(c.nar(n, sum))
	path := faultserver.Path(name(n))
	i := &narinfo.Info{StorePath: path, URL: "nar/" + path.Hash() + ".nar", Compression: c.codec, NarHash: nixhash.Of(nixhash.SHA256, sum.h.Sum(nil)), NarSize: sum.n}
	for _, j := range references(n, c.paths) {
		i.References = append(i.References, faultserver.Path(name(j)))
	}
	signer.Sign(i)
	return i
}

// references returns what path n of so many refers to: two, which make the closure
// whole, and others by chance, so that most paths need most of those after them.
func references(n, paths int) (to []int) {
	chance := rand.New(rand.NewPCG(1, uint64(n)))
	for k := range width {
		j := 2*n + 1 + k
		if k >= 2 {
			j = n + 1 + chance.IntN(paths)
		}
		if j < paths && !slices.Contains(to, j) {
			to = append(to, j)
		}
	}
	return to
}

// counter hashes and counts.
type counter struct {
	h hash.Hash
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	return c.h.Write(p)
}

// nar writes the archive of a path: a program, and files in directories of its own.
func (c *cache) nar(n int, out io.Writer) error {
	w := nar.NewWriter(out)
	var err error
	add := func(path string, kind nar.Kind, size int64) {
		h := nar.Header{Path: path, Kind: kind, Size: size}
		err = errors.Join(err, w.WriteHeader(&h))
		if size > 0 {
			err = errors.Join(err, content(w, path, size))
		}
	}
	own := "share/" + name(n)
	add(".", nar.Directory, 0)
	add("bin", nar.Directory, 0)
	add("bin/"+name(n), nar.Executable, 100)
	add("share", nar.Directory, 0)
	add(own, nar.Directory, 0)
	for f := 0; f < c.files && err == nil; f++ {
		dir := fmt.Sprintf("%s/directory%04d", own, f/inDirectory)
		if f%inDirectory == 0 {
			add(dir, nar.Directory, 0)
		}
		add(fmt.Sprintf("%s/file%04d", dir, f), nar.Regular, c.bytes)
	}
	return errors.Join(err, w.Close())
}

// text is what contents begin with, and large ones every MiB: it shrinks to about
// a third. The rest of those is zeros, for which an image needs no room.
var text = func() []byte {
	var b bytes.Buffer
	for _, c := range faultserver.Noise("text", 64<<10/4) {
		fmt.Fprintf(&b, "%02x, ", c)
	}
	return append(b.Bytes(), make([]byte, 15*b.Len())...)
}()

// content writes size bytes that begin with a name, as does each part of them.
func content(w io.Writer, name string, size int64) error {
	for at := int64(0); at < size; {
		head := fmt.Sprintf("%s %d ", name, at)
		for _, b := range [][]byte{[]byte(head), text[:len(text)-len(head)]} {
			b = b[:min(int64(len(b)), size-at)]
			if _, err := w.Write(b); err != nil {
				return err
			}
			at += int64(len(b))
		}
	}
	return nil
}

func (c *cache) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	file := strings.TrimPrefix(r.URL.Path, "/")
	if info := c.infos[file]; info != nil {
		w.Write(info.Text())
		return
	}
	n, ok := c.numbers[file]
	switch {
	case file == "nix-cache-info":
		io.WriteString(w, faultserver.CacheInfo)
	case !ok:
		http.NotFound(w, r)
	case c.codec == "zstd":
		z, err := zstd.NewWriter(w, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
		check(err)
		if c.nar(n, z) == nil {
			z.Close()
		}
	case c.codec == "xz":
		// As fast as it gets, with the dictionary of xz -9.
		cmd := exec.CommandContext(r.Context(), "xz", "--stdout", "--lzma2=preset=0,dict=64MiB")
		in, err := cmd.StdinPipe()
		check(err)
		cmd.Stdout, cmd.Stderr = w, os.Stderr
		check(cmd.Start())
		c.nar(n, in)
		in.Close()
		cmd.Wait()
	default:
		c.nar(n, w) // a client that went away needs no answer
	}
}

// serve serves a cache until the standard input ends, and prints where.
func serve(s shape) {
	c := newCache(s)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	fmt.Printf("http://%s\n", l.Addr())
	go http.Serve(l, c)
	io.Copy(io.Discard, os.Stdin)
}

// packages returns the paths that the closure is of: all that the first n are.
func packages(n int) (paths []string) {
	for i := range n {
		paths = append(paths, faultserver.Path(name(i)).String())
	}
	return paths
}
