// Package unwrap reads the disk that a disk image holds: a raw one, one compressed with
// gzip, zstd, xz or bzip2, or one in the formats qcow2, VHD, VHDX, VDI and VMDK, as
// thaw and others write them. What a file is, its content tells, not its name.
//
// Images are hostile. Little is read before it is needed, and nothing is allocated by
// what a header says beyond one block, of 64 MiB at most. What is damaged, and what
// this package does not read, is an error: parents, encryption, logs that are to be
// replayed, disks of several files. There is no writing.
package unwrap

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"

	"thaw/image/raw"
	"thaw/internal/decompress"
)

// An Image is a disk in some form. Several goroutines may read it at a time, if they may
// read its file so.
type Image struct {
	// Format is raw, qcow2, vhd, vhdx, vdi or vmdk.
	Format string
	// Compression is that of the whole file, as package decompress names it; ""
	// for none.
	Compression string
	// Limit is how many bytes a compressed image may expand to; 0 is
	// [raw.MaxSize].
	Limit int64

	file   io.ReaderAt // the image
	length int64
	disk   io.ReaderAt // nil if compressed
	plain  bool        // the disk is the beginning of the file
	size   int64       // -1 while nobody knows
}

var (
	le = binary.LittleEndian
	be = binary.BigEndian
)

// Open returns the image that is the first length bytes of r. Of a compressed one it
// reads the beginning alone.
func Open(r io.ReaderAt, length int64) (*Image, error) {
	if length <= 0 || length > raw.MaxSize {
		return nil, fmt.Errorf("an image of %d bytes: it has 1 to %d", length, int64(raw.MaxSize))
	}
	m := &Image{file: r, length: length}
	head, err := m.head()
	if err != nil {
		return nil, err
	}
	switch name := decompress.Sniff(head); name {
	case "gzip", "zstd", "xz", "bzip2":
		m.Format, m.Compression, m.size = "raw", name, -1
		return m, nil
	}
	if err := refuse(head); err != nil {
		return nil, err
	}
	if m.Format, err = m.format(head); err != nil {
		return nil, err
	}
	switch m.Format {
	case "qcow2":
		err = m.openQcow2()
	case "vhd":
		err = m.openVHD(head)
	case "vhdx":
		err = m.openVHDX()
	case "vdi":
		err = m.openVDI()
	case "vmdk":
		err = m.openVMDK()
	default:
		m.disk, m.plain, m.size = r, true, length
	}
	if err == nil && (m.size <= 0 || m.size > raw.MaxSize) {
		err = fmt.Errorf("a disk of %d bytes", m.size)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", m.Format, err)
	}
	return m, nil
}

// Size is the size of the disk in bytes, -1 as long as it is not known: that of a
// compressed one after all its blocks have been read.
func (m *Image) Size() int64 { return m.size }

// ReadAt implements [io.ReaderAt] on the disk. A compressed one is read from its
// beginning each time.
func (m *Image) ReadAt(p []byte, off int64) (n int, err error) {
	switch {
	case off < 0:
		return 0, errors.New("an offset below zero")
	case m.disk == nil:
		return m.expandAt(p, off)
	case off >= m.size:
		return 0, io.EOF
	}
	if left := m.size - off; int64(len(p)) > left {
		p, err = p[:left], io.EOF
	}
	n, failed := m.disk.ReadAt(p, off)
	switch {
	case n == len(p):
		return n, err
	case failed == nil || failed == io.EOF:
		failed = io.ErrUnexpectedEOF
	}
	return n, failed
}

// Blocks returns the blocks of the disk that are not all zeros, as [raw.Image.Blocks]
// does.
func (m *Image) Blocks(size int, packer func() (raw.Packer, error)) iter.Seq2[raw.Block, error] {
	if m.disk == nil {
		return m.streamed(size, packer)
	}
	var r io.ReaderAt = m
	if m.plain {
		r = m.file // which may tell of holes
	}
	d, err := raw.New(r, m.size)
	if err != nil {
		return func(yield func(raw.Block, error) bool) { yield(raw.Block{}, err) }
	}
	return d.Blocks(size, packer)
}

// headSize is enough for all magic numbers, but for those of an end.
const headSize = 1024

func (m *Image) head() ([]byte, error) {
	head := make([]byte, min(headSize, m.length))
	return head, m.read(head, 0)
}

// read fills p from the file.
func (m *Image) read(p []byte, off int64) error {
	if off < 0 || off > m.length-int64(len(p)) {
		return fmt.Errorf("the file of %d bytes ends before byte %d, which it refers to", m.length, off)
	}
	n, err := m.file.ReadAt(p, off)
	switch {
	case n == len(p):
		return nil
	case err == nil || err == io.EOF:
		err = io.ErrUnexpectedEOF
	}
	return err
}

// others are files that are no disk, or none that this package reads: where their
// magic number is, and what to say.
var others = []struct {
	off         int
	magic, says string
}{
	{0, "QFI\xfb\x00\x00\x00\x01", "a qcow image of version 1: convert it with qemu-img convert -O qcow2"},
	{0, "QED\x00", "a QED image: convert it with qemu-img convert -O qcow2"},
	{0, "# Disk Descr", "the descriptor of a VMDK whose content is in other files: convert it with qemu-img convert -O qcow2"},
	{0, "COWD", "a VMDK of ESX: convert it with qemu-img convert -O qcow2"},
	{0, "Withou", "a Parallels image: convert it with qemu-img convert -O qcow2"},
	{0, "PK\x03\x04", "a zip archive: unpack it first"},
	{0, "7z\xbc\xaf\x27\x1c", "a 7z archive: unpack it first"},
	{257, "ustar", "a tar archive: unpack it first (an OVA file has a .vmdk in it)"},
}

func refuse(head []byte) error {
	for _, o := range others {
		if len(head) > o.off && bytes.HasPrefix(head[o.off:], []byte(o.magic)) {
			return errors.New("it is " + o.says)
		}
	}
	return nil
}

// format tells what the file is.
func (m *Image) format(head []byte) (string, error) {
	switch {
	case bytes.HasPrefix(head, []byte("QFI\xfb")):
		return "qcow2", nil
	case bytes.HasPrefix(head, []byte("conectix")):
		return "vhd", nil
	case bytes.HasPrefix(head, []byte("vhdxfile")):
		return "vhdx", nil
	case bytes.HasPrefix(head, []byte("KDMV")):
		return "vmdk", nil
	case len(head) >= 72 && le.Uint32(head[64:]) == vdiMagic:
		return "vdi", nil
	case m.length <= vhdFooter:
		return "raw", nil
	}
	end := make([]byte, vhdFooter)
	if err := m.read(end, m.length-vhdFooter); err != nil {
		return "", err
	}
	if bytes.HasPrefix(end, []byte("conectix")) && vhdSum(end) == be.Uint32(end[64:]) {
		return "vhd", nil // a fixed one is raw up to its footer
	}
	return "raw", nil
}
