package ext4_test

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"thaw/image/ext4"
	"thaw/internal/testbed"
	"thaw/rootfs"
)

// FuzzTrees builds random trees and has e2fsck and debugfs judge them.
func FuzzTrees(f *testing.F) {
	for seed := range uint64(40) {
		f.Add(seed)
	}
	testbed.Tool(f, "e2fsck")
	f.Fuzz(func(t *testing.T, seed uint64) {
		rnd := rand.New(rand.NewPCG(seed, 0))
		o := randomOptions(rnd)
		entries := randomTree(rnd, int(blockSize(o)))
		path := mustBuild(t, o, entries...)
		if seed%8 == 0 {
			verify(t, path, entries)
		} else {
			fsck(t, path)
		}
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if o.Size == 0 && o.Free == 0 {
			// One block less does not do, though it may get a smaller journal.
			o.Size = info.Size() - blockSize(o)
			if o.Journal != 0 {
				o.Journal = super(t, path)["Total journal blocks"] * blockSize(o)
			}
			if _, err := build(t, o, entries...); err == nil {
				t.Errorf("%d bytes do as well as %d", o.Size, info.Size())
			}
		}
	})
}

func randomOptions(rnd *rand.Rand) ext4.Options {
	o := testOptions

	for i := range o.HashSeed {
		o.HashSeed[i] = byte(rnd.Uint32())
	}
	switch rnd.IntN(3) {
	case 0:
		o.Size = 256*mib + rnd.Int64N(2*gib)
	case 1:
		o.Free = rnd.Int64N(300 * mib)
	}
	switch rnd.IntN(4) {
	case 0:
		o.BlockSize = 1024
	case 1:
		o.BlockSize = 2048
	}
	if rnd.IntN(2) == 0 {
		o.Capacity = 4*gib + rnd.Int64N(28*gib)
	}
	if rnd.IntN(3) == 0 {
		o.Journal = ext4.JournalAuto
	}
	if rnd.IntN(3) == 0 {
		o.Inodes = 5000 + rnd.Int64N(10_000)
	}
	if rnd.IntN(3) == 0 {
		o.ReservedPercent = rnd.IntN(51)
	}
	o.Dedupe = rnd.IntN(2) == 0
	return o
}

// randomTree makes entries with what is hard in each kind.
func randomTree(rnd *rand.Rand, blockSize int) (entries []entry) {
	dirs := []string{"."}
	var files []string
	size := 1 << rnd.IntN(12)
	for n := range size {
		name := fmt.Sprintf("%d-%s", n, strings.Repeat("é\xff", rnd.IntN(60)))
		path := dirs[rnd.IntN(min(len(dirs), 1+rnd.IntN(30)))] + "/" + name
		path = strings.TrimPrefix(path, "./")
		e := entry{Entry: rootfs.Entry{
			Path: path, Mode: fs.FileMode(rnd.IntN(0o1000)), UID: rnd.Uint32(), GID: rnd.Uint32() >> 16,
			ModTime: time.Unix(ext4.MinTime+rnd.Int64N(ext4.MaxTime-ext4.MinTime+1), rnd.Int64N(1e9)),
		}}
		if rnd.IntN(4) == 0 {
			e.Mode |= []fs.FileMode{fs.ModeSetuid, fs.ModeSetgid, fs.ModeSticky}[rnd.IntN(3)]
		}
		if rnd.IntN(5) == 0 {
			for i := range 1 + rnd.IntN(4) {
				prefix := []string{"security.", "trusted.", "user."}[rnd.IntN(3)]
				e.Xattrs = append(e.Xattrs, rootfs.Xattr{Name: fmt.Sprintf("%s%d", prefix, i), Value: make([]byte, rnd.IntN(min(1<<rnd.IntN(10), blockSize/6)))})
			}
			sortXattrs(e.Xattrs)
		}
		switch rnd.IntN(10) {
		case 0, 1:
			e.Mode |= fs.ModeDir
			dirs = append(dirs, path)
		case 2:
			e.Mode |= fs.ModeSymlink
			e.Target = strings.Repeat("t", 1+rnd.IntN(min(1<<rnd.IntN(12), blockSize-1)))
		case 3:
			e.Mode |= []fs.FileMode{fs.ModeNamedPipe, fs.ModeDevice, fs.ModeDevice | fs.ModeCharDevice}[rnd.IntN(3)]
			if e.Mode&fs.ModeDevice != 0 {
				e.Dev = rootfs.Mkdev(1+rnd.Uint32N(1<<12-1), rnd.Uint32N(1<<20))
			}
		case 4:
			if len(files) > 0 {
				e = entry{Entry: rootfs.Entry{Path: path}, same: files[rnd.IntN(len(files))]}
			}
		default:
			files = append(files, path)
			e.Size = rnd.Int64N(1 << rnd.IntN(22))
			period, data := 1+rnd.Int64N(40), rnd.Int64N(40)
			e.data = blocks{e.Size, func(b int64) bool { return b%period <= data }}
		}
		if e.Kind() == 0 && e.same == "" && e.data.data == nil {
			e.data = blocks{0, none}
			files = append(files, path)
		}
		entries = append(entries, e)
	}
	return entries
}

func sortXattrs(xattrs []rootfs.Xattr) {
	for i := range xattrs {
		for k := i; k > 0 && xattrs[k].Name < xattrs[k-1].Name; k-- {
			xattrs[k], xattrs[k-1] = xattrs[k-1], xattrs[k]
		}
	}
}
