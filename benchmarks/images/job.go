package main

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"runtime/pprof"
	"strconv"
	"strings"
	"time"

	"thaw/image/erofs"
	"thaw/image/ext4"
	"thaw/image/qcow2"
	"thaw/image/squashfs"
	"thaw/rootfs"
	"thaw/rootfs/rootfstest"
)

// A writer is what writers of file systems have in common.
type writer interface {
	rootfs.Sink
	Close() error
	Size() int64
}

// make1 does a job: its words are the format, and what its options say.
func make1(job, in, out string) error {
	words := append(strings.Fields(job), "", "", "")
	if words[0] == "entries" {
		n, err := strconv.Atoi(words[2])
		if err != nil {
			return err
		}
		return million(words[1], n)
	}
	f, err := os.Create(out)
	if err != nil {
		return err
	}
	defer f.Close()
	if words[0] == "qcow2" {
		return convert(f, in, words[1])
	}
	w, err := newWriter(f, words)
	if err != nil {
		return err
	}
	if err := rootfstest.AddTree(sameTime{w}, in); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	return f.Truncate(w.Size())
}

// sameTime has all entries from the first second of 1970, as store objects are.
type sameTime struct{ rootfs.Sink }

func (s sameTime) Add(e rootfs.Entry, data io.Reader) error {
	e.ModTime = time.Unix(1, 0)
	return s.Sink.Add(e, data)
}

func newWriter(w io.WriterAt, words []string) (writer, error) {
	uuid := [16]byte{1}
	switch words[0] {
	case "ext4":
		return ext4.NewWriter(w, ext4.Options{UUID: uuid, Time: 1})
	case "squashfs":
		o := squashfs.Options{Time: 1, Fast: words[2] == "fast"}
		for c := squashfs.Zstd; c.String() != words[1]; c++ {
			if c > squashfs.None {
				return nil, fmt.Errorf("no compression is %q", words[1])
			}
			o.Compression = c + 1
		}
		return squashfs.NewWriter(w, o)
	case "erofs":
		o := erofs.Options{UUID: uuid, Time: 1}
		if words[1] == "none" {
			return erofs.NewWriter(w, o)
		}
		o.Compression = map[string]erofs.Compression{"lz4": erofs.LZ4, "lz4hc": erofs.LZ4HC}[words[1]]
		var err error
		if o.ClusterSize, err = strconv.Atoi(words[2]); err != nil {
			return nil, err
		}
		return erofs.NewWriter(w, o)
	}
	return nil, fmt.Errorf("no format is %q", words[0])
}

func convert(w io.WriterAt, disk, compression string) error {
	f, err := os.Open(disk)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	c := map[string]qcow2.Compression{"none": qcow2.None, "zlib": qcow2.Zlib, "zstd": qcow2.Zstd}[compression]
	return qcow2.Write(w, f, info.Size(), qcow2.Options{Compression: c})
}

// million adds n entries to a writer whose image goes nowhere, fifty to a directory,
// and prints what is in memory when all have come.
func million(format string, n int) error {
	w, err := newWriter(discard{}, []string{format, "none", ""})
	if err != nil {
		return err
	}
	before := heap()
	dir := "."
	var data [5000]byte
	for i := range n {
		e := rootfs.Entry{Path: dir, Mode: fs.ModeDir | 0o755, ModTime: time.Unix(1, 0)}
		r := strings.NewReader("")
		switch {
		case i == 0:
		case i%50 == 0:
			dir = fmt.Sprintf("%032x-package-%d", i*7919, i)
			e.Path = dir
		case i%50 == 1:
			e.Path, e.Mode, e.Target = fmt.Sprintf("%s/link-%d", dir, i), fs.ModeSymlink|0o777, "file-with-a-name"
		default:
			size := 100
			if i%2 == 0 { // more than a block
				size = len(data)
			}
			r.Reset(fmt.Sprintf("%d\n%s", i, data[:])[:size])
			e.Path, e.Mode, e.Size = fmt.Sprintf("%s/file-with-a-name-%d", dir, i), 0o644, int64(size)
		}
		if err := w.Add(e, r); err != nil {
			return err
		}
	}
	fmt.Println(heap() - before)
	return w.Close()
}

type discard struct{}

func (discard) WriteAt(p []byte, _ int64) (int, error) { return len(p), nil }

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func profiled(name string, do func() error) error {
	if name == "" {
		return do()
	}
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := pprof.StartCPUProfile(f); err != nil {
		return err
	}
	defer pprof.StopCPUProfile()
	return do()
}
