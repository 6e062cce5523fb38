package xz

import "sync"

// This file computes CRC64 (the ECMA-182 polynomial, reflected), of which
// hash/crc64 does 8 bytes at a time. Each step waits for the one before. Here
// three parts of the input, lanes, are summed side by side, so that they wait
// together, and the three sums are combined: that is twice as fast.

const (
	crc64Poly = 0xc96c5795d7870f42
	laneSize  = 8192
)

// crc64Tables holds what follows from a byte that is 0 to 7 bytes before the
// end of a step of 8 bytes.
type crc64Tables [8][256]uint64

var newCRC64Tables = sync.OnceValue(func() *crc64Tables {
	t := new(crc64Tables)
	for i := range t[0] {
		c := uint64(i)
		for range 8 {
			c = c>>1 ^ crc64Poly&-(c&1)
		}
		t[0][i] = c
	}
	for i := range t[0] {
		for j := 1; j < 8; j++ {
			t[j][i] = t[j-1][i]>>8 ^ t[0][byte(t[j-1][i])]
		}
	}
	return t
})

// step is the sum after 8 bytes that were added to c.
func (t *crc64Tables) step(c uint64) uint64 {
	return t[7][byte(c)] ^ t[6][byte(c>>8)] ^ t[5][byte(c>>16)] ^ t[4][byte(c>>24)] ^
		t[3][byte(c>>32)] ^ t[2][byte(c>>40)] ^ t[1][byte(c>>48)] ^ t[0][byte(c>>56)]
}

// update adds p to the sum crc, like crc64.Update.
func (t *crc64Tables) update(crc uint64, p []byte) uint64 {
	crc = ^crc
	for len(p) >= 3*laneSize {
		a, b, c := crc, uint64(0), uint64(0)
		pa, pb, pc := p[:laneSize], p[laneSize:2*laneSize], p[2*laneSize:3*laneSize]
		for i := 0; i <= laneSize-8; i += 8 {
			a = t.step(a ^ le.Uint64(pa[i:]))
			b = t.step(b ^ le.Uint64(pb[i:]))
			c = t.step(c ^ le.Uint64(pc[i:]))
		}
		crc = skipLane(skipLane(a)^b) ^ c
		p = p[3*laneSize:]
	}
	for ; len(p) >= 8; p = p[8:] {
		crc = t.step(crc ^ le.Uint64(p))
	}
	for _, b := range p {
		crc = crc>>8 ^ t[0][byte(crc)^b]
	}
	return ^crc
}

// lanePower is x^(8*laneSize) modulo the polynomial; the highest bit is x^0.
const lanePower = 0xd46ab656accac1ea

// skipLane is the sum crc after laneSize zeros: the product with lanePower.
func skipLane(crc uint64) uint64 {
	product, power := uint64(0), uint64(lanePower)
	for ; crc != 0; crc <<= 1 {
		product ^= power & -(crc >> 63)
		power = power>>1 ^ crc64Poly&-(power&1)
	}
	return product
}
