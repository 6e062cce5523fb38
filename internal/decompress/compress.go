package decompress

import (
	"bufio"
	"errors"
	"io"
)

// unixCompress reads the .Z format of compress(1): adaptive LZW, codes from 9 up to
// 10 to 16 bits with the low bits first, 256 clears the table. Codes come in groups
// of eight; the rest of a group is skipped wherever the width changes. The
// format has neither an end mark nor a check.
type unixCompress struct {
	r       *bufio.Reader
	prefix  [1 << 16]uint16
	suffix  [1 << 16]byte
	stack   [1 << 16]byte
	out     []byte // the rest of what the last code stands for; lies in stack
	free    int    // next entry of the table
	first   int    // 257 where 256 clears, else 256
	width   uint
	maxBits uint
	old     int // previous code, -1 at the start
	last    byte
	group   [16]byte
	bit     uint // position in the group
	bits    uint // bits in the group
	err     error
}

var errCompress = errors.New("bad .Z data")

func newUnixCompress(r *bufio.Reader) (*unixCompress, error) {
	var head [3]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, unexpected(err)
	}
	z := &unixCompress{r: r, maxBits: uint(head[2] & 0x1f), first: 256, old: -1, width: 9}
	if head[0] != 0x1f || head[1] != 0x9d || z.maxBits < 10 || z.maxBits > 16 || head[2]&0x60 != 0 {
		return nil, errCompress
	}
	if head[2]&0x80 != 0 {
		z.first = 257
	}
	z.free = z.first
	for i := range 256 {
		z.suffix[i] = byte(i)
	}
	return z, nil
}

func (z *unixCompress) Read(p []byte) (n int, err error) {
	for n < len(p) {
		if len(z.out) == 0 {
			if z.err == nil {
				z.err = z.decode()
			}
			if z.err != nil {
				if n > 0 {
					return n, nil
				}
				return 0, z.err
			}
		}
		k := copy(p[n:], z.out)
		z.out = z.out[k:]
		n += k
	}
	return n, nil
}

// decode reads one code that is not a clear into out.
func (z *unixCompress) decode() error {
	if z.free >= 1<<z.width && z.width < z.maxBits {
		z.width++
		z.bits = 0
	}
	code, err := z.code()
	if err != nil {
		return err
	}
	if code == 256 && z.first == 257 {
		z.free, z.old, z.width, z.bits = z.first, -1, 9, 0
		return nil
	}
	if z.old < 0 {
		if code > 255 {
			return errCompress
		}
		z.old, z.last = code, byte(code)
		z.stack[0] = z.last
		z.out = z.stack[:1]
		return nil
	}
	top, c := len(z.stack), code
	if c >= z.free {
		if c > z.free {
			return errCompress
		}
		top--
		z.stack[top] = z.last
		c = z.old
	}
	for c > 255 {
		top--
		z.stack[top] = z.suffix[c]
		c = int(z.prefix[c])
	}
	top--
	z.last = byte(c)
	z.stack[top] = z.last
	z.out = z.stack[top:]
	if z.free < 1<<z.maxBits {
		z.prefix[z.free], z.suffix[z.free] = uint16(z.old), z.last
		z.free++
	}
	z.old = code
	return nil
}

func (z *unixCompress) code() (int, error) {
	if z.bit+z.width > z.bits {
		n, err := io.ReadFull(z.r, z.group[:z.width])
		if err != nil && err != io.ErrUnexpectedEOF {
			return 0, err
		}
		if z.bit, z.bits = 0, uint(n)*8; z.bits < z.width {
			return 0, io.EOF // the last bits of a group that was not filled
		}
	}
	i := z.bit / 8
	v := uint32(z.group[i]) | uint32(z.group[i+1])<<8
	if i+2 < uint(len(z.group)) {
		v |= uint32(z.group[i+2]) << 16
	}
	v = v >> (z.bit % 8) & (1<<z.width - 1)
	z.bit += z.width
	return int(v), nil
}
