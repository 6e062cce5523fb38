package rootfstest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
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

// texture is what the data of a file is made of.
type texture int

const (
	noise  texture = iota // bytes of chance, which no encoder makes shorter
	words                 // words of chance, which encoders do
	zeros                 // nothing else
	mixed                 // pieces of all of these
	sparse                // zeros, and in every GiB some bytes of chance
)

// content is the data of a file, which follows from its seed, size and texture.
// Less noise is the beginning of more.
func content(s step) io.Reader {
	key := sha256.Sum256([]byte(s.seed))
	switch s.texture {
	case words:
		return bytes.NewReader(appendWords(nil, rand.New(rand.NewChaCha8(key)), s.entry.Size))
	case zeros:
		return io.LimitReader(zeroReader{}, s.entry.Size)
	case mixed:
		return bytes.NewReader(pieces(key, s.entry.Size))
	case sparse:
		return &sparseReader{rnd: rand.NewChaCha8(key), size: s.entry.Size}
	}
	return io.LimitReader(rand.NewChaCha8(key), s.entry.Size)
}

type zeroReader struct{}

func (zeroReader) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// appendWords appends size bytes: words of chance, in an order of chance.
func appendWords(b []byte, rnd *rand.Rand, size int64) []byte {
	vocabulary := make([][]byte, 1+rnd.IntN(1<<rnd.IntN(9)))
	for i := range vocabulary {
		vocabulary[i] = make([]byte, 1+rnd.IntN(1<<rnd.IntN(7)))
		for k := range vocabulary[i] {
			vocabulary[i][k] = byte(rnd.Uint32())
		}
	}
	end := len(b) + int(size)
	for len(b) < end {
		b = append(b, vocabulary[rnd.IntN(len(vocabulary))]...)
	}
	return b[:end]
}

// pieces has noise, words and zeros, in pieces of up to all of size.
func pieces(key [32]byte, size int64) []byte {
	chance := rand.NewChaCha8(key)
	rnd := rand.New(chance)
	b := make([]byte, 0, size)
	for len(b) < int(size) {
		n := min(1+rnd.Int64N(1<<rnd.IntN(22)), size-int64(len(b)))
		switch rnd.IntN(4) {
		case 0:
			b = append(b, make([]byte, n)...)
		case 1:
			b = b[:len(b)+int(n)]
			chance.Read(b[len(b)-int(n):]) // never fails
		default:
			b = appendWords(b, rnd, n)
		}
	}
	return b
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

// errFault is the failure of a [File] that fails once.
var errFault = errors.New("the destination's fault")

// File is a file that fails: as a full disk does, from some byte on, or once.
type File struct {
	file  *os.File
	left  int64 // bytes that it takes
	fault int64 // the fault comes at this write from now; never if 0
}

// OpenFile makes a new file that takes limit bytes and then fails with ENOSPC, or
// if limit is negative, one whose write number -limit fails.
func OpenFile(name string, limit int64) (*File, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
	if limit < 0 {
		return &File{file: f, left: math.MaxInt64, fault: -limit}, err
	}
	return &File{file: f, left: limit}, err
}

func (f *File) Write(p []byte) (int, error) {
	return f.write(p, f.file.Write)
}

func (f *File) WriteAt(p []byte, off int64) (int, error) {
	return f.write(p, func(p []byte) (int, error) { return f.file.WriteAt(p, off) })
}

func (f *File) write(p []byte, write func([]byte) (int, error)) (int, error) {
	if f.fault > 0 {
		if f.fault--; f.fault == 0 {
			return 0, errFault
		}
	}
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
			sum, err := digestData(path)
			if err != nil {
				return err
			}
			line += fmt.Sprintf(" %d %x", info.Size(), sum)
		}
		m[path[len(dir):]] = line
		return nil
	})
}

// digestData answers a digest of the data of a file, and where it lies: pages of
// zeros count as none, whether they are holes or not. That is fast where there
// are many.
func digestData(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	h := sha256.New()
	buf, none := make([]byte, 64<<10), make([]byte, 4<<10)
	for at := int64(0); ; {
		data, err := unix.Seek(int(f.Fd()), at, unix.SEEK_DATA)
		if err == unix.ENXIO { // there is no more
			return h.Sum(nil), nil
		} else if err != nil {
			return nil, os.NewSyscallError("lseek "+path, err)
		}
		at = data &^ int64(len(none)-1)
		n, err := f.ReadAt(buf, at)
		for page := range slices.Chunk(buf[:n], len(none)) {
			if !bytes.Equal(page, none[:len(page)]) {
				fmt.Fprintf(h, "%d %d:", at, len(page))
				h.Write(page)
			}
			at += int64(len(page))
		}
		if err == io.EOF {
			return h.Sum(nil), nil
		} else if err != nil {
			return nil, err
		}
	}
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
