package rootfstest

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
)

// Digest reads r to its end and answers the digest that [Node] holds, and the
// number of bytes.
func Digest(r io.Reader) (sum [32]byte, size int64, err error) {
	h := sha256.New()
	size, err = io.Copy(h, r)
	return [32]byte(h.Sum(nil)), size, err
}

func digestString(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:4])
}

// content is the data of a file: bytes of chance that follow from its seed, and
// in a sparse one, zeros between them.
func content(s step) io.Reader {
	rnd := rand.NewChaCha8(sha256.Sum256([]byte(s.seed)))
	if s.sparse {
		return &sparseReader{rnd: rnd, size: s.entry.Size}
	}
	return io.LimitReader(rnd, s.entry.Size)
}

// sparseReader yields size bytes: in every GiB, and at the end, some of chance,
// else zeros.
type sparseReader struct {
	rnd       io.Reader
	pos, size int64
}

const (
	sparseStep = 1 << 30
	sparseData = 5000 // bytes at the beginning of a step
)

func (r *sparseReader) Read(p []byte) (int, error) {
	if r.pos == r.size {
		return 0, io.EOF
	}
	p = p[:min(int64(len(p)), r.size-r.pos)]
	switch at := r.pos % sparseStep; {
	case at < sparseData:
		p = p[:min(int64(len(p)), sparseData-at)]
		r.rnd.Read(p) // never fails
	default:
		p = p[:min(int64(len(p)), sparseStep-at)]
		clear(p)
	}
	r.pos += int64(len(p))
	return len(p), nil
}

// File is a file that takes a number of bytes and then fails with ENOSPC, as a
// full disk does.
type File struct {
	file *os.File
	left int64
}

// OpenFile makes a new file that takes limit bytes.
func OpenFile(name string, limit int64) (*File, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
	return &File{f, limit}, err
}

func (f *File) Write(p []byte) (int, error) {
	return f.write(p, f.file.Write)
}

func (f *File) WriteAt(p []byte, off int64) (int, error) {
	return f.write(p, func(p []byte) (int, error) { return f.file.WriteAt(p, off) })
}

func (f *File) write(p []byte, write func([]byte) (int, error)) (int, error) {
	n, err := write(p[:min(int64(len(p)), f.left)])
	f.left -= int64(n)
	if err == nil && n < len(p) {
		err = &fs.PathError{Op: "write", Path: f.file.Name(), Err: syscall.ENOSPC}
	}
	return n, err
}

// ReadAt reads from the file without limit.
func (f *File) ReadAt(p []byte, off int64) (int, error) { return f.file.ReadAt(p, off) }

// Seek moves the place of Write.
func (f *File) Seek(off int64, whence int) (int64, error) { return f.file.Seek(off, whence) }

// Truncate sets the file's length without limit.
func (f *File) Truncate(size int64) error { return f.file.Truncate(size) }

// Close closes the file.
func (f *File) Close() error { return f.file.Close() }

// fingerprint has the mode and the content's digest of each file below dir.
func fingerprint(dir string) (map[string]string, error) {
	m := make(map[string]string)
	return m, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		line := info.Mode().String()
		if info.Mode().IsRegular() {
			f, err := os.Open(path)
			if err != nil {
				return err
			}
			sum, size, err := Digest(f)
			f.Close()
			if err != nil {
				return err
			}
			line += fmt.Sprintf(" %d %x", size, sum)
		}
		m[path[len(dir):]] = line
		return nil
	})
}

// makeRemovable lets the owner of the directories below dir remove what is in
// them. What it cannot change, the removal that follows reports.
func makeRemovable(dir string) {
	filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if d != nil && d.IsDir() {
			os.Chmod(path, 0o700)
		}
		return nil
	})
}
