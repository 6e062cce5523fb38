package nixhash

import "fmt"

// Nix's base-32 takes the bytes as one little-endian number and writes its
// digits of five bits with the most significant first, so the first character
// may have unused bits: they must be zero.

const alphabet = "0123456789abcdfghijklmnpqrsvwxyz"

var digits = func() (t [256]uint8) {
	for i := range t {
		t[i] = 0xff
	}
	for i := range len(alphabet) {
		t[alphabet[i]] = uint8(i)
	}
	return
}()

func base32Len(n int) int { return (n*8 + 4) / 5 }

// Encode32 returns b in Nix's base-32.
func Encode32(b []byte) string {
	out := make([]byte, base32Len(len(b)))
	for i := range out {
		bit := (len(out) - 1 - i) * 5
		j, shift := bit/8, bit%8
		v := uint(b[j]) >> shift
		if j+1 < len(b) {
			v |= uint(b[j+1]) << (8 - shift)
		}
		out[i] = alphabet[v&31]
	}
	return string(out)
}

// decode32 fills out, which is zero, from text of the matching length.
func decode32(out []byte, text string) error {
	for i := range len(text) {
		d := digits[text[i]]
		if d == 0xff {
			return fmt.Errorf("the character %q is not of Nix's base-32", text[i])
		}
		bit := (len(text) - 1 - i) * 5
		j, shift := bit/8, bit%8
		v := uint(d) << shift
		out[j] |= byte(v)
		switch hi := byte(v >> 8); {
		case j+1 < len(out):
			out[j+1] |= hi
		case hi != 0:
			return fmt.Errorf("its first digit %q is too large", text[0])
		}
	}
	return nil
}
