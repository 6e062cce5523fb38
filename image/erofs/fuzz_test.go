package erofs_test

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"thaw/image/erofs"
	"thaw/internal/testbed"
	"thaw/rootfs"
)

// FuzzTrees builds random trees with random options twice, with other numbers of
// jobs and other reads, and has fsck.erofs and Linux judge them.
func FuzzTrees(f *testing.F) {
	for seed := range uint64(24) {
		f.Add(seed)
	}
	tool := testbed.Tool(f, "fsck.erofs")
	mounts, dedupes := mountError(f) == nil, newLinux(f)
	f.Fuzz(func(t *testing.T, seed uint64) {
		rnd := rand.New(rand.NewPCG(seed, 0))
		o, entries := randomOptions(rnd), randomTree(rnd, mounts)
		var images [2]memory
		for i := range images {
			o.Jobs = 1 + 3*i
			w, err := erofs.NewWriter(&images[i], o)
			if err != nil {
				t.Fatal(err)
			}
			chunk := []func(io.Reader) io.Reader{whole, iotest.HalfReader}[i]
			if err := add(w, entries, chunk); err != nil {
				t.Fatal(err)
			}
			if !isZero(images[i].Bytes()[w.Size():]) {
				t.Fatal("what lies behind the file system is not zero")
			}
			images[i].Truncate(int(w.Size()))
		}
		if !bytes.Equal(images[0].Bytes(), images[1].Bytes()) {
			t.Fatal("the bytes depend on the number of jobs")
		}
		path := filepath.Join(t.TempDir(), imageName)
		if err := os.WriteFile(path, images[0].Bytes(), 0o666); err != nil {
			t.Fatal(err)
		}
		if o.Dedupe && o.Compression != erofs.None { // which fsck.erofs 1.5 does not know
			if mounts && dedupes {
				verify(t, path, true, directory("."), entries)
			}
			return
		}
		if err := fsck(tool, path, "--extract"); err != nil {
			t.Fatal(err)
		}
		if os.Getuid() == 0 { // who may make devices
			verify(t, path, mounts, directory("."), entries)
		}
	})
}

func isZero(p []byte) bool { return len(bytes.Trim(p, "\x00")) == 0 }

func randomOptions(rnd *rand.Rand) erofs.Options {
	o := testOptions
	o.Compression = erofs.Compression(rnd.IntN(3))
	o.ClusterSize = []int{0, 4 << 10, 8 << 10, 12 << 10, 64 << 10, erofs.MaxClusterSize}[rnd.IntN(6)]
	o.Dedupe = rnd.IntN(2) == 0
	return o
}

// randomTree makes entries with what is hard in each kind. It leaves out the
// attributes and the names of the same file that only Linux can tell.
func randomTree(rnd *rand.Rand, linux bool) (entries []entry) {
	dirs := []string{"."}
	var files []string
	var data [][]byte
	for n := range 1 << rnd.IntN(10) {
		name := fmt.Sprintf("%d-%s", n, strings.Repeat("é\xff", rnd.IntN(60)))
		path := strings.TrimPrefix(dirs[rnd.IntN(min(len(dirs), 1+rnd.IntN(30)))]+"/"+name, "./")
		e := entry{Entry: rootfs.Entry{Path: path, Mode: fs.FileMode(rnd.IntN(0o1000)), ModTime: testTime}}
		if rnd.IntN(2) == 0 { // so that inodes are extended
			e.UID, e.GID = rnd.Uint32()>>1, rnd.Uint32()>>16
			e.ModTime = time.Unix(rnd.Int64N(1<<40)-1<<39, rnd.Int64N(1e9))
		}
		if rnd.IntN(4) == 0 {
			e.Mode |= []fs.FileMode{fs.ModeSetuid, fs.ModeSetgid, fs.ModeSticky}[rnd.IntN(3)]
		}
		if linux && rnd.IntN(5) == 0 {
			for i := range 1 + rnd.IntN(4) {
				prefix := []string{"security.", "trusted."}[rnd.IntN(2)]
				e.Xattrs = append(e.Xattrs, rootfs.Xattr{Name: fmt.Sprintf("%s%d", prefix, i), Value: make([]byte, rnd.IntN(1<<rnd.IntN(14)))})
			}
			slices.SortFunc(e.Xattrs, func(a, b rootfs.Xattr) int { return strings.Compare(a.Name, b.Name) })
		}
		switch rnd.IntN(10) {
		case 0, 1:
			e.Mode |= fs.ModeDir
			dirs = append(dirs, path)
		case 2:
			e.Mode |= fs.ModeSymlink
			e.Target = strings.Repeat("t", 1+rnd.IntN(1<<rnd.IntN(12)))
			e.Mode = e.Mode.Type() | 0o777
		case 3:
			e.Mode |= []fs.FileMode{fs.ModeNamedPipe, fs.ModeDevice, fs.ModeDevice | fs.ModeCharDevice}[rnd.IntN(3)]
			if e.Mode&fs.ModeDevice != 0 {
				e.Dev = rootfs.Mkdev(1+rnd.Uint32N(1<<12-1), rnd.Uint32N(1<<20))
			}
		case 4:
			if len(files) == 0 || !linux {
				continue
			}
			e = entry{Entry: rootfs.Entry{Path: path}, same: files[rnd.IntN(len(files))]}
		default:
			switch {
			case len(data) > 0 && rnd.IntN(6) == 0:
				e.data = data[rnd.IntN(len(data))]
			case rnd.IntN(10) == 0:
				e.data = mixed(rnd, rnd.IntN(1<<rnd.IntN(23)))
			case rnd.IntN(2) == 0:
				e.data = text(rnd, rnd.IntN(1<<rnd.IntN(18)))
			default:
				e.data = mixed(rnd, rnd.IntN(1<<rnd.IntN(18)))
			}
			e.Size = int64(len(e.data))
			files, data = append(files, path), append(data, e.data)
		}
		entries = append(entries, e)
	}
	return entries
}
