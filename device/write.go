package device

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/maphash"
	"io"
	"sync/atomic"

	"thaw/image/raw"
	"thaw/image/unwrap"
	"thaw/internal/anatomy"
)

// A Target is what [Write] writes to. Reads may come from several goroutines at a time,
// and all is in whole sectors, but for reads.
type Target interface {
	io.ReaderAt
	io.WriterAt
	Size() int64             // in bytes
	Sector() int64           // bytes of a logical sector
	Zero(off, n int64) error // makes bytes be zeros
	Flush() error            // returns when all is on the medium; reads come from there then
}

// BlockSize is how many bytes are written, hashed and compared at a time.
const BlockSize = 4 << 20

// tail is how much of the end of a larger device is made zeros: backups of partition
// tables and labels of RAID are there.
const tail = 1 << 20

// Phase is a part of the work.
type Phase int

const (
	Checking  Phase = iota // a compressed image is expanded once, before anything is written
	Writing                // total are the bytes of the image
	Verifying              // likewise
)

func (p Phase) String() string { return [...]string{"checking", "writing", "verifying"}[p] }

// Progress is told how far the work is, by one goroutine or another. The total is -1 where
// it is not known.
type Progress func(p Phase, done, total int64)

// Written is what has been done.
type Written struct {
	Size   int64    // of the image; the device may be larger
	Zeros  int64    // how many bytes of it were left out: the kernel was told to make them
	Digest [32]byte // SHA-256 of the image, as read back from the device
	// Backup tells that the image has a GPT, and the device goes on behind its end,
	// where the table's backup is.
	Backup bool
}

// SmallError says that a device is too small.
type SmallError struct {
	Has, Needs int64 // bytes; Needs is 0 if it is not known
}

func (e *SmallError) Error() string {
	if e.Needs == 0 {
		return fmt.Sprintf("it has %d bytes, and the image is larger", e.Has)
	}
	return fmt.Sprintf("it has %d bytes, and the image has %d", e.Has, e.Needs)
}

// SectorError says that an image has a partition table for sectors of another size.
type SectorError struct{ Image, Device int64 }

func (e *SectorError) Error() string {
	return fmt.Sprintf("its sectors have %d bytes, and the image's partition table is for sectors of %d", e.Device, e.Image)
}

// MismatchError says that what was read back is not what was written.
type MismatchError struct {
	Off       int64 // the first byte
	Want, Got byte
	// Unsteady tells that the byte is not known: a second reading was right.
	Unsteady bool
	What     string // what lies there in the image, "" if that is not known
}

func (e *MismatchError) Error() string {
	s := fmt.Sprintf("at byte %d it holds 0x%02x, and 0x%02x was written", e.Off, e.Got, e.Want)
	if e.Unsteady {
		s = fmt.Sprintf("in the %d bytes from byte %d on it gave back something else than was written, and the second time the right thing", BlockSize, e.Off)
	}
	if e.What != "" {
		s += " (" + e.What + ")"
	}
	return s
}

// UnfinishedError says that something went wrong after the device's content had been
// given up: it holds no valid image.
type UnfinishedError struct{ Err error }

func (e *UnfinishedError) Error() string { return e.Err.Error() }
func (e *UnfinishedError) Unwrap() error { return e.Err }

// Write writes an image to the beginning of a device, reads it back and compares it.
// Nothing is written if the image is compressed and damaged, is too large, or has a
// partition table for other sectors.
func Write(ctx context.Context, t Target, m *unwrap.Image, tell Progress) (*Written, error) {
	w := &writer{ctx: ctx, t: t, image: m, tell: tell, sum: summer(), sums: map[int64]sum{}}
	if err := w.check(); err != nil {
		return nil, err
	}
	out, err := w.write()
	if err != nil {
		return nil, &UnfinishedError{err}
	}
	return out, nil
}

type writer struct {
	ctx   context.Context // of the call
	t     Target
	image *unwrap.Image
	tell  Progress
	size  int64
	first []byte // the first block, nil for zeros
	sum   func() (raw.Packer, error)
	sums  map[int64]sum // of the other blocks that are not all zeros
	zeros int64
}

// A sum tells blocks from each other: two hashes with seeds that are random for each
// writing, so that no device can know how to deceive them. They take a tenth of the time
// of SHA-256, which the whole is hashed with, once.
type sum [16]byte

// summer returns what sums blocks up.
func summer() func() (raw.Packer, error) {
	seeds := [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}
	return func() (raw.Packer, error) {
		return func(buf, data []byte) ([]byte, error) {
			for _, seed := range seeds {
				buf = binary.LittleEndian.AppendUint64(buf, maphash.Bytes(seed, data))
			}
			return buf, nil
		}, nil
	}
}

// check says whether the image is whole, as far as that can be known, and fits.
func (w *writer) check() error {
	if w.image.Size() < 0 {
		w.image.Limit = w.t.Size()
		w.tell(Checking, 0, -1)
		for b, err := range w.image.Blocks(BlockSize, nil) {
			if err == nil && w.ctx.Err() != nil {
				err = context.Cause(w.ctx)
			}
			if limit := unwrap.LimitError(0); errors.As(err, &limit) {
				return &SmallError{Has: w.t.Size()}
			}
			if err != nil {
				return err
			}
			w.tell(Checking, (b.Index+1)*BlockSize, -1)
		}
	}
	if w.size = w.image.Size(); w.size > w.t.Size() {
		return &SmallError{w.t.Size(), w.size}
	}
	if sector := tableSector(w.image); sector > 0 && sector != w.t.Sector() {
		return &SectorError{sector, w.t.Sector()}
	}
	return nil
}

// Table reports whether an image has a partition table, or is a compact disc that has
// none, but is for whole disks.
func Table(m *unwrap.Image) bool {
	head := make([]byte, 36<<10)
	n, _ := m.ReadAt(head, 0)
	head = head[:n]
	if tableSector(m) > 0 || len(head) > 32774 && string(head[32769:32774]) == "CD001" {
		return true
	}
	// An MBR has partitions, of which the first bytes are 0 or 0x80. A boot sector of
	// FAT has something else there.
	if n < 512 || head[510] != 0x55 || head[511] != 0xaa || string(head[54:57]) == "FAT" || string(head[82:85]) == "FAT" {
		return false
	}
	used := false
	for e := 446; e < 510; e += 16 {
		if head[e]&0x7f != 0 {
			return false
		}
		used = used || head[e+4] != 0
	}
	return used
}

// tableSector is for what sectors the GPT of an image is, 0 if it has none.
func tableSector(m *unwrap.Image) int64 {
	head := make([]byte, 4096+8)
	n, _ := m.ReadAt(head, 0)
	for _, sector := range []int{512, 4096} {
		if n >= sector+8 && string(head[sector:sector+8]) == "EFI PART" {
			return int64(sector)
		}
	}
	return 0
}

// up rounds up to whole sectors.
func (w *writer) up(n int64) int64 {
	s := w.t.Sector()
	return (n + s - 1) / s * s
}

func (w *writer) write() (*Written, error) {
	// From here on, until all the rest is right, the device begins with zeros.
	end := w.up(w.size)
	if err := w.zero(0, min(BlockSize, end)); err != nil {
		return nil, err
	}
	if from := max(end, w.t.Size()-tail); from < w.t.Size() {
		if err := w.zero(from, w.t.Size()-from); err != nil {
			return nil, err
		}
	}
	if err := w.t.Flush(); err != nil {
		return nil, err
	}
	if err := w.blocks(end); err != nil {
		return nil, err
	}
	if err := w.t.Flush(); err != nil {
		return nil, err
	}
	w.tell(Writing, w.size, w.size)
	digest, err := w.verify(end)
	if err != nil {
		return nil, err
	}
	out := &Written{Size: w.size, Zeros: w.zeros, Digest: digest}
	out.Backup = tableSector(w.image) > 0 && w.up(w.size) < w.t.Size()
	return out, nil
}

// zero makes zeros, in pieces, so that it can be interrupted.
func (w *writer) zero(off, n int64) error {
	const piece = 64 << 20
	for n > 0 {
		if w.ctx.Err() != nil {
			return context.Cause(w.ctx)
		}
		k := min(n, piece)
		if err := w.t.Zero(off, k); err != nil {
			return fmt.Errorf("zeros at byte %d: %w", off, err)
		}
		off, n = off+k, n-k
	}
	return nil
}

// put writes a block, or what is of it before the end.
func (w *writer) put(data []byte, off, end int64) error {
	if _, err := w.t.WriteAt(data[:min(BlockSize, end-off)], off); err != nil {
		return fmt.Errorf("at byte %d: %w", off, err)
	}
	return nil
}

// blocks writes all but the first block.
func (w *writer) blocks(end int64) error {
	w.tell(Writing, 0, w.size)
	next := int64(BlockSize) // what is before it is done
	for b, err := range w.image.Blocks(BlockSize, w.sum) {
		if err == nil && w.ctx.Err() != nil {
			err = context.Cause(w.ctx)
		}
		if err != nil {
			return fmt.Errorf("image: %w", err)
		}
		if b.Index == 0 {
			w.first = bytes.Clone(b.Data)
			continue
		}
		off := b.Index * BlockSize
		if off >= end {
			return errors.New("image: it has grown")
		}
		if err := w.gap(next, off); err != nil {
			return err
		}
		if err := w.put(b.Data, off, end); err != nil {
			return err
		}
		w.sums[b.Index] = sum(b.Packed)
		next = off + BlockSize
		if next < w.size { // the end is reached when all is on the medium
			w.tell(Writing, next, w.size)
		}
	}
	return w.gap(next, end)
}

// gap makes the zeros between two blocks.
func (w *writer) gap(from, to int64) error {
	if from >= to {
		return nil
	}
	w.zeros += to - from
	return w.zero(from, to-from)
}

// counter counts what is read, and stops when the work shall end.
type counter struct {
	w    *writer
	done atomic.Int64
}

func (c *counter) ReadAt(p []byte, off int64) (int, error) {
	if c.w.ctx.Err() != nil {
		return 0, context.Cause(c.w.ctx)
	}
	n, err := c.w.t.ReadAt(p, off)
	c.w.tell(Verifying, min(c.done.Add(int64(n)), c.w.size), c.w.size)
	if err == nil && c.w.ctx.Err() != nil { // the others may have begun already
		return 0, context.Cause(c.w.ctx)
	}
	return n, err
}

// verify compares all of the device with what was written, writes the first block, and
// compares that. It returns the hash of all.
func (w *writer) verify(end int64) (digest [32]byte, err error) {
	d, err := raw.New(&counter{w: w}, end)
	if err != nil {
		return digest, err
	}
	h := sha256.New()
	next := int64(0)
	// zeros takes blocks that the device has zeros in.
	zeros := func(to int64) error {
		for ; next < to; next++ {
			if _, ok := w.sums[next]; ok {
				return w.mismatch(next)
			}
			w.hash(h, next, nil)
		}
		return nil
	}
	for b, err := range d.Blocks(BlockSize, w.sum) {
		if err == nil {
			err = zeros(b.Index)
		}
		if err != nil {
			return digest, err
		}
		if want, ok := w.sums[b.Index]; !ok || want != sum(b.Packed) {
			return digest, w.mismatch(b.Index)
		}
		w.hash(h, b.Index, b.Data)
		next++
	}
	if err := zeros((end + BlockSize - 1) / BlockSize); err != nil {
		return digest, err
	}
	if err := w.begin(end); err != nil {
		return digest, err
	}
	w.tell(Verifying, w.size, w.size)
	return [32]byte(h.Sum(nil)), nil
}

// noData is a block of zeros.
var noData [BlockSize]byte

// hash hashes a block of the image; nil is zeros. The first one is not on the device
// yet.
func (w *writer) hash(h hash.Hash, i int64, data []byte) {
	if i == 0 {
		data = w.first
	}
	if data == nil {
		data = noData[:]
	}
	h.Write(data[:min(BlockSize, w.size-i*BlockSize)])
}

// begin writes the first block, which makes the device hold the image.
func (w *writer) begin(end int64) error {
	if w.first == nil {
		return nil
	}
	if err := w.put(w.first, 0, end); err != nil {
		return err
	}
	if err := w.t.Flush(); err != nil {
		return err
	}
	n := min(BlockSize, end)
	got := make([]byte, n)
	if _, err := w.t.ReadAt(got, 0); err != nil && err != io.EOF {
		return err
	}
	if bytes.Equal(got, w.first[:n]) {
		return nil
	}
	n = min(n, w.size)
	err := w.compare(0, w.first[:n], got[:n])
	w.t.Zero(0, min(BlockSize, end)) // as it was
	w.t.Flush()
	return err
}

// mismatch finds the first byte of a block that is wrong.
func (w *writer) mismatch(i int64) error {
	off := i * BlockSize
	n := min(BlockSize, w.size-off)
	want, got := make([]byte, n), make([]byte, n)
	if _, ok := w.sums[i]; ok { // else zeros
		if k, err := w.image.ReadAt(want, off); int64(k) < n {
			return fmt.Errorf("image: %w", err)
		}
	}
	return w.compare(off, want, got)
}

// compare reads what the device has at a place into got, and says where it differs.
func (w *writer) compare(off int64, want, got []byte) error {
	n := int64(len(got))
	if k, err := w.t.ReadAt(got, off); int64(k) < n {
		return fmt.Errorf("at byte %d: %w", off+int64(k), err)
	}
	e := &MismatchError{Off: off, Unsteady: true}
	for k := range want {
		if want[k] != got[k] {
			e = &MismatchError{Off: off + int64(k), Want: want[k], Got: got[k]}
			break
		}
	}
	var r io.ReaderAt = w.image
	if w.image.Compression != "" {
		r = w.t // the image would be expanded again and again
	}
	e.What = anatomy.At(r, w.size, e.Off)
	return e
}
