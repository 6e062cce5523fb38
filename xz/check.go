package xz

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"hash"
	"hash/crc32"
)

// A checkID says how the content of a stream's blocks is checked; section
// 2.1.1.2 of the format.
type checkID byte

const (
	checkNone   checkID = 0x0
	checkCRC32  checkID = 0x1
	checkCRC64  checkID = 0x4
	checkSHA256 checkID = 0xa
)

// size is the size of the check at the end of each block. The format gives it
// for reserved ids, too.
func (id checkID) size() int {
	return [16]int{0, 4, 4, 4, 8, 8, 8, 16, 16, 16, 32, 32, 32, 64, 64, 64}[id&0xf]
}

const maxCheckSize = 64

// A checker computes the check of a block. Its zero value is ready for use.
type checker struct {
	id    checkID
	skip  bool
	crc   uint64
	table *crc64Tables
	hash  hash.Hash // SHA-256, made when first needed
	sum   []byte    // scratch
}

// reset begins a block. If skip is set, the check is not computed and every
// sum is right.
func (c *checker) reset(id checkID, skip bool) error {
	c.id, c.skip, c.crc = id, skip, 0
	switch id {
	case checkNone, checkCRC32:
	case checkCRC64:
		if c.table == nil {
			c.table = newCRC64Tables()
		}
	case checkSHA256:
		if c.hash == nil {
			c.hash = sha256.New()
		}
		c.hash.Reset()
	default:
		if !skip {
			return &UnsupportedError{Feature: fmt.Sprintf("check 0x%x", byte(id))}
		}
	}
	return nil
}

func (c *checker) write(p []byte) {
	if c.skip {
		return
	}
	switch c.id {
	case checkCRC32:
		c.crc = uint64(crc32.Update(uint32(c.crc), crc32.IEEETable, p))
	case checkCRC64:
		c.crc = c.table.update(c.crc, p)
	case checkSHA256:
		c.hash.Write(p)
	}
}

// matches reports whether stored, the end of a block, is the check of what
// was written.
func (c *checker) matches(stored []byte) bool {
	if c.skip {
		return true
	}
	c.sum = c.sum[:0]
	switch c.id {
	case checkCRC32:
		c.sum = le.AppendUint32(c.sum, uint32(c.crc))
	case checkCRC64:
		c.sum = le.AppendUint64(c.sum, c.crc)
	case checkSHA256:
		c.sum = c.hash.Sum(c.sum)
	}
	return bytes.Equal(c.sum, stored)
}
