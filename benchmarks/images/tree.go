package main

import (
	"bufio"
	"fmt"
	"io"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// A tree is a directory that images are made of.
type tree struct {
	name, dir      string
	efforts        []effort // that are measured
	entries, bytes int64
}

func (t *tree) count() error {
	return filepath.WalkDir(t.dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		t.entries++
		if d.Type().IsRegular() {
			info, err := d.Info()
			if err != nil {
				return err
			}
			t.bytes += info.Size()
		}
		return nil
	})
}

func usualTrees(dir, bed string) ([]tree, error) {
	var trees []tree
	if _, err := os.Stat(bed); err != nil {
		fmt.Fprintln(os.Stderr, "SKIPPED: the system closure (set THAW_TESTBED):", err)
	} else {
		t := tree{name: "System closure", dir: filepath.Join(dir, "system"), efforts: []effort{quick, medium}}
		if err := unpack(t.dir, dir, bed); err != nil {
			return nil, err
		}
		part := tree{name: "Sample of the system closure", dir: filepath.Join(dir, "sample"), efforts: []effort{slow}}
		if err := sample(part.dir, filepath.Join(t.dir, "nix", "store")); err != nil {
			return nil, err
		}
		trees = append(trees, t, part)
	}
	t := tree{name: "34,000 generated entries", dir: filepath.Join(dir, "generated"), efforts: []effort{quick}}
	return append(trees, t), generate(t.dir)
}

// unpack unpacks the system closure of the test bed with thaw, below the working
// directory's module.
func unpack(root, dir, bed string) error {
	caches := filepath.Join(bed, "caches")
	list, err := os.ReadFile(filepath.Join(caches, "lists", "system.roots"))
	if err != nil {
		return err
	}
	thaw := filepath.Join(dir, "thaw")
	if out, err := exec.Command("go", "build", "-o", thaw, "thaw/cmd/thaw").CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w: %s", err, out)
	}
	args := []string{"unpack", "--quiet", "--no-cache", "--cache", filepath.Join(caches, "xz"),
		"--trusted-key", filepath.Join(caches, "keys", "testbed-1.pub"), "--root", root}
	if out, err := exec.Command(thaw, append(args, strings.Fields(string(list))...)...).CombinedOutput(); err != nil {
		return fmt.Errorf("thaw unpack: %w: %s", err, out)
	}
	return nil
}

// sample copies every eighth object of a store, in the order of their names, which
// begin with hashes.
func sample(dir, store string) error {
	list, err := os.ReadDir(store)
	if err != nil {
		return err
	}
	for i, e := range list {
		if i%8 != 0 || !e.IsDir() {
			continue
		}
		if err := os.CopyFS(filepath.Join(dir, e.Name()), os.DirFS(filepath.Join(store, e.Name()))); err != nil {
			return err
		}
	}
	return nil
}

// Of the generated tree.
const (
	treeEntries = 34_000
	perDir      = 40
	largeEach   = 3_000 // one file of so many is large
	largeSize   = 4 << 20
)

// generate makes a tree of small files, some links, and a few large files, in
// directories of which some are deep. It is the same each time.
func generate(root string) error {
	rnd := rand.New(rand.NewPCG(34, 0))
	g := &generator{rnd: rnd, chance: rand.NewChaCha8([32]byte{34})}
	for range 4000 {
		word := make([]byte, 2+rnd.IntN(10))
		for i := range word {
			word[i] = "etaoinshrdlucmfwypvbgkqjxz_"[int(27*math.Pow(rnd.Float64(), 2))]
		}
		g.words = append(g.words, string(word))
	}
	if err := os.Mkdir(root, 0o755); err != nil {
		return err
	}
	dirs, dir, last := []string{root}, root, ""
	for i := 1; i < treeEntries; i++ {
		var err error
		path := filepath.Join(dir, fmt.Sprintf("%s-%d", g.word(), i))
		switch {
		case i%perDir == 0: // half of them below the one before
			if rnd.IntN(2) == 0 || strings.Count(dir, "/") > strings.Count(root, "/")+20 {
				dir = dirs[rnd.IntN(min(len(dirs), 100))]
			}
			dir = filepath.Join(dir, fmt.Sprintf("%s-%d", g.word(), i))
			dirs = append(dirs, dir)
			err = os.Mkdir(dir, 0o755)
		case i%15 == 1 && last != "":
			err = os.Symlink(filepath.Base(last), path)
		default:
			size := int64(math.Exp(7.1 + 1.2*rnd.NormFloat64()))
			if i%largeEach == 2 {
				size = largeSize + rnd.Int64N(largeSize)
			}
			err = g.file(path, size)
			last = path
		}
		if err != nil {
			return err
		}
	}
	return nil
}

type generator struct {
	rnd    *rand.Rand
	chance io.Reader
	words  []string
}

// word is one of which some are much more frequent.
func (g *generator) word() string {
	return g.words[int(float64(len(g.words))*math.Pow(g.rnd.Float64(), 3))]
}

// file writes words, or records of numbers and chance as programs have them, or
// chance alone.
func (g *generator) file(path string, size int64) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	w := bufio.NewWriterSize(f, 64<<10)
	kind := g.rnd.IntN(10)
	var noise [4]byte
	for left := size; left > 0; {
		var p string
		switch {
		case kind == 0:
			g.chance.Read(noise[:]) // never fails
			p = string(noise[:])
		case kind < 4:
			g.chance.Read(noise[:3])
			p = fmt.Sprintf("\x48\x8b%c\x00\xe8%s\x00\x00%s", 'A'+g.rnd.IntN(8), noise[:g.rnd.IntN(4)], g.word()[:2])
		default:
			p = g.word() + " (),;.\n\t"[g.rnd.IntN(8):][:1]
		}
		p = p[:min(int64(len(p)), left)]
		left -= int64(len(p))
		w.WriteString(p) // Flush tells
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return f.Close()
}
