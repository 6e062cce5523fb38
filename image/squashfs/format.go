package squashfs

import "encoding/binary"

var le = binary.LittleEndian

// The superblock ("The Superblock").
const (
	superMagic     = 0x73717368
	superblockSize = 96
	versionMajor   = 4
	none           = ^uint64(0) // where a table would start that is not there

	flagPlainInodes    = 0x0001
	flagPlainData      = 0x0002
	flagPlainFragments = 0x0008
	flagAllFragments   = 0x0020 // ends of files beyond one block are packed, too
	flagDuplicates     = 0x0040 // equal contents are stored once
	flagExport         = 0x0080
	flagPlainXattrs    = 0x0100
	flagOptions        = 0x0400
	flagPlainIDs       = 0x0800
)

const (
	metadataSize  = 8 << 10 // "Packing Metadata"
	metadataPlain = 1 << 15 // in a metadata block's header: stored as it is
	blockPlain    = 1 << 24 // in a block's size: stored as it is
	imageUnit     = 4 << 10 // the size of an image is a multiple of it

	noFragment = ^uint32(0)
	noXattrs   = ^uint32(0)
)

// Types of inodes ("Common Inode Header"). The type of an extended inode, which
// directories do not tell, is extended more.
const (
	typeDir = 1 + iota
	typeFile
	typeSymlink
	typeBlock
	typeChar
	typeFifo

	extended = 7
)

// A superblock is what differs from one file system to another.
type superblock struct {
	inodes, fragments, time, blockSize uint32
	compressor, blockLog, flags, ids   uint16
	root, used                         uint64
	idTable, xattrTable, inodeTable    uint64
	dirTable, fragTable, exportTable   uint64
}

func (s *superblock) encode() []byte {
	b := make([]byte, 0, superblockSize)
	for _, v := range []uint32{superMagic, s.inodes, s.time, s.blockSize, s.fragments} {
		b = le.AppendUint32(b, v)
	}
	for _, v := range []uint16{s.compressor, s.blockLog, s.flags, s.ids, versionMajor, 0} {
		b = le.AppendUint16(b, v)
	}
	for _, v := range []uint64{s.root, s.used, s.idTable, s.xattrTable, s.inodeTable, s.dirTable, s.fragTable, s.exportTable} {
		b = le.AppendUint64(b, v)
	}
	return b
}
