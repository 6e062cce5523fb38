package squashfs_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"thaw/image/squashfs"
	"thaw/rootfs"
)

// FuzzTrees builds random trees twice, with different numbers of jobs, and has
// some of them judged.
func FuzzTrees(f *testing.F) {
	for seed := range uint64(32) {
		if !testing.Short() || seed < 10 && seed%5 != uint64(squashfs.XZ) {
			f.Add(seed)
		}
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		rnd := rand.New(rand.NewPCG(seed, 0))
		o := squashfs.Options{
			Time:        rnd.Int64N(squashfs.MaxTime + 1),
			Compression: squashfs.Compression(seed % 5),
			Fast:        true,
			BlockSize:   squashfs.MinBlockSize << rnd.IntN(9),
			Jobs:        1,
		}
		entries := randomTree(rnd, o.BlockSize)
		path := mustBuild(t, o, entries...)
		one, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		o.Jobs = 2 + rnd.IntN(6)
		many, err := os.ReadFile(mustBuild(t, o, entries...))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(one, many) {
			t.Errorf("the bytes with %d jobs differ from those with one", o.Jobs)
		}
		if seed%4 == 0 {
			verify(t, path, entries)
		}
	})
}

// randomTree makes entries with what is hard in each kind.
func randomTree(rnd *rand.Rand, blockSize int) (entries []entry) {
	dirs := []string{"."}
	var files []string
	var contents [][]byte
	total := 0
	for n := range 1 << rnd.IntN(10) {
		name := fmt.Sprintf("%d-%s", n, strings.Repeat("é\xff", rnd.IntN(60)))
		path := dirs[rnd.IntN(min(len(dirs), 1+rnd.IntN(30)))] + "/" + name
		path = strings.TrimPrefix(path, "./")
		// What its owner may not read, the judges' reading would change.
		e := entry{Entry: rootfs.Entry{
			Path: path, Mode: fs.FileMode(rnd.IntN(0o1000)) | 0o400, UID: rnd.Uint32() >> 1, GID: rnd.Uint32N(3),
			ModTime: time.Unix(rnd.Int64N(squashfs.MaxTime+1), 0),
		}}
		kind := rnd.IntN(10)
		if rnd.IntN(5) == 0 {
			for i := range 1 + rnd.IntN(4) {
				prefix := []string{"security.", "trusted.", "user."}[rnd.IntN(3)]
				if prefix == "user." && kind > 1 && kind < 5 {
					continue // Linux has none
				}
				e.Xattrs = append(e.Xattrs, rootfs.Xattr{Name: fmt.Sprintf("%s%d", prefix, i), Value: noise(rnd.Uint64N(3), rnd.IntN(1<<rnd.IntN(10)))})
			}
			slices.SortFunc(e.Xattrs, func(a, b rootfs.Xattr) int { return strings.Compare(a.Name, b.Name) })
		}
		switch kind {
		case 0, 1:
			e.Mode |= fs.ModeDir
			dirs = append(dirs, path)
		case 2:
			e.Mode |= fs.ModeSymlink | 0o777
			e.Target = strings.Repeat("t", 1+rnd.IntN(1<<rnd.IntN(12)))
		case 3:
			e.Mode |= []fs.FileMode{fs.ModeNamedPipe, fs.ModeDevice, fs.ModeDevice | fs.ModeCharDevice}[rnd.IntN(3)]
			if e.Mode&fs.ModeDevice != 0 {
				e.Dev = rootfs.Mkdev(1+rnd.Uint32N(1<<12-1), rnd.Uint32N(1<<20))
			}
		case 4:
			if len(files) > 0 {
				entries = append(entries, hardLink(path, files[rnd.IntN(len(files))]))
				continue
			}
			e.Mode |= fs.ModeNamedPipe
		default:
			files = append(files, path)
			if total < 1<<20 {
				e.data = randomContent(rnd, contents, blockSize)
			}
			total += len(e.data)
			contents = append(contents, e.data)
			e.Size = int64(len(e.data))
		}
		entries = append(entries, e)
	}
	return entries
}

// randomContent makes a file of pieces, some of which are those of others.
func randomContent(rnd *rand.Rand, others [][]byte, blockSize int) []byte {
	if len(others) > 0 && rnd.IntN(4) == 0 {
		return others[rnd.IntN(len(others))]
	}
	var data []byte
	for range rnd.IntN(4) {
		size := []int{blockSize, rnd.IntN(blockSize), rnd.IntN(100)}[rnd.IntN(3)]
		switch rnd.IntN(4) {
		case 0:
			data = append(data, make([]byte, size)...)
		case 1:
			data = append(data, noise(rnd.Uint64N(5), size)...)
		default:
			data = append(data, words(rnd.Uint64N(5), size)...)
		}
	}
	return data
}
