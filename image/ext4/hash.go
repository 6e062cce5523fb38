package ext4

import "math/bits"

// hashVersion is half MD4 ("Hash Tree Directories", hash_version); a flag of
// the superblock says that the bytes of names count as unsigned.
const hashVersion = 1

// lastHash is reserved for the end of a directory; no name may have it.
const lastHash = 0xfffffffe

// A nameHash is the state that hashing a name starts from.
type nameHash [4]uint32

// newNameHash makes the state of a file system's seed. Without a seed it is
// MD4's own.
func newNameHash(seed [16]byte) nameHash {
	if seed == [16]byte{} {
		return nameHash{0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476}
	}
	var h nameHash
	for i := range h {
		h[i] = le.Uint32(seed[4*i:])
	}
	return h
}

// of returns the hash by which a directory's index is sorted. Its lowest bit
// is always 0.
func (h nameHash) of(name string) uint32 {
	for {
		in := hashWords(name)
		h.halfMD4(&in)
		if len(name) <= 32 {
			break
		}
		name = name[32:]
	}
	if sum := h[1] &^ 1; sum != lastHash {
		return sum
	}
	return lastHash - 2
}

// hashWords turns up to 32 bytes of a name into big-endian words, and fills the
// rest with the length of what is left of the name.
func hashWords(name string) (in [8]uint32) {
	pad := uint32(len(name)&0xff) * 0x01010101
	for i := range in {
		word := pad
		for j := 4 * i; j < 4*i+4 && j < len(name); j++ {
			word = word<<8 | uint32(name[j])
		}
		in[i] = word
	}
	return in
}

// The orders in which the three rounds of half MD4 take the words, and by how
// many bits each round rotates.
var (
	md4Order = [3][8]uint8{{0, 1, 2, 3, 4, 5, 6, 7}, {1, 3, 5, 7, 0, 2, 4, 6}, {3, 7, 2, 6, 1, 5, 0, 4}}
	md4Shift = [3][4]int{{3, 7, 11, 19}, {3, 5, 9, 13}, {3, 9, 11, 15}}
)

// halfMD4 mixes in eight words: MD4 with half of the steps of each round.
func (h *nameHash) halfMD4(in *[8]uint32) {
	a, b, c, d := h[0], h[1], h[2], h[3]
	for i, word := range md4Order[0] {
		f := b&c | ^b&d
		a, b, c, d = d, bits.RotateLeft32(a+f+in[word], md4Shift[0][i%4]), b, c
	}
	for i, word := range md4Order[1] {
		f := b&c | b&d | c&d
		a, b, c, d = d, bits.RotateLeft32(a+f+in[word]+0x5a827999, md4Shift[1][i%4]), b, c
	}
	for i, word := range md4Order[2] {
		f := b ^ c ^ d
		a, b, c, d = d, bits.RotateLeft32(a+f+in[word]+0x6ed9eba1, md4Shift[2][i%4]), b, c
	}
	h[0] += a
	h[1] += b
	h[2] += c
	h[3] += d
}
