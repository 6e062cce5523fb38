package zstdframe

import "math/bits"

// A code stands for a range of numbers, of which so many bits tell the one (RFC
// 8878, section 3.1.1.3.2.1.1).

// literalCode returns the code of a number of literals.
func literalCode(n uint32) uint8 {
	if n < uint32(len(literalCodes)) {
		return literalCodes[n]
	}
	return uint8(bits.Len32(n) + 18)
}

// matchCode returns the code of the length of a match, less 3.
func matchCode(n uint32) uint8 {
	if n < uint32(len(matchCodes)) {
		return matchCodes[n]
	}
	return uint8(bits.Len32(n) + 35)
}

// offsetCode returns the code of what stands for a distance.
func offsetCode(v uint32) uint8 { return uint8(bits.Len32(v) - 1) }

// Bits that follow a code.
var (
	literalBits = [36]uint8{
		16: 1, 1, 1, 1, 2, 2, 3, 3, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16,
	}
	matchBits = [53]uint8{
		32: 1, 1, 1, 1, 2, 2, 3, 3, 4, 4, 5, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16,
	}
)

// The codes of small numbers.
var (
	literalCodes = [64]uint8(smallCodes(literalBits[:], 64))
	matchCodes   = [128]uint8(smallCodes(matchBits[:], 128))
)

func smallCodes(extra []uint8, n int) []uint8 {
	var codes []uint8
	for code := 0; len(codes) < n; code++ {
		for range 1 << extra[code] {
			codes = append(codes, uint8(code))
		}
	}
	return codes[:n]
}

// The distributions that no block describes (section 3.1.1.3.2.2).
var (
	literalDefault = distribution{6, []int16{
		4, 3, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1, 1, 1,
		2, 2, 2, 2, 2, 2, 2, 2, 2, 3, 2, 1, 1, 1, 1, 1,
		-1, -1, -1, -1,
	}}
	matchDefault = distribution{6, []int16{
		1, 4, 3, 2, 2, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1,
		1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
		1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1,
		-1, -1, -1, -1, -1,
	}}
	offsetDefault = distribution{5, []int16{
		1, 1, 1, 1, 1, 1, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1,
		1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1,
	}}
)

// log2 holds the binary logarithms of the numbers up to 1024, in 256ths. They are
// integers all the way: no processor may round them otherwise.
var log2 = func() (t [1025]uint16) {
	for i := 1; i < len(t); i++ {
		whole := bits.Len(uint(i)) - 1
		x := uint64(i) << (31 - whole) // 1 to 2, 31 bits behind the point
		t[i] = uint16(whole << 8)
		for bit := uint16(128); bit > 0; bit >>= 1 {
			if x = x * x >> 31; x >= 1<<32 {
				x >>= 1
				t[i] |= bit
			}
		}
	}
	return t
}()

// log2of returns about the binary logarithm of n, which is not 0, in 256ths.
func log2of(n uint32) uint32 {
	if shift := bits.Len32(n) - 10; shift > 0 {
		return uint32(log2[n>>shift]) + uint32(shift)<<8
	}
	return uint32(log2[n])
}
