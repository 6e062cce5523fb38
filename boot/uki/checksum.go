package uki

// A checksum is that of a PE file whose field for it is zero: the sum of all 16-bit
// words with the carries added in, and the length added to that.
type checksum struct {
	sum  uint64
	size uint64
	odd  bool // size is, and the low byte of a word is in sum
}

// Write implements [io.Writer]. It never fails.
func (c *checksum) Write(p []byte) (int, error) {
	n := len(p)
	c.size += uint64(n)
	if c.odd && n > 0 {
		c.sum += uint64(p[0]) << 8
		p, c.odd = p[1:], false
	}
	// Words of 32 bits have the same sum modulo 0xffff, and 2^32 of them fit:
	// more than a PE file has.
	for ; len(p) >= 4; p = p[4:] {
		c.sum += uint64(le.Uint32(p))
	}
	for ; len(p) >= 2; p = p[2:] {
		c.sum += uint64(le.Uint16(p))
	}
	if len(p) == 1 {
		c.sum += uint64(p[0])
		c.odd = true
	}
	return n, nil
}

func (c *checksum) value() uint32 {
	s := c.sum
	for s > 0xffff {
		s = s>>16 + s&0xffff
	}
	return uint32(s + c.size)
}
