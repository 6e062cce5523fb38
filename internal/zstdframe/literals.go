package zstdframe

import "github.com/klauspost/compress/huff0"

// Kinds of literals (section 3.1.1.3.1.1).
const (
	literalsRaw = iota
	literalsSingle
	literalsHuffman
	literalsRepeat
)

// oneStream is how many literals one stream of bits may hold. More go into four,
// which decoders read at once.
const oneStream = 1 << 10

// appendLiterals appends the section of literals (section 3.1.1.3.1). It
// compresses with a new Huffman table or with that of the block before.
func (e *Encoder) appendLiterals(b, literals []byte) []byte {
	compress := huff0.Compress4X
	if len(literals) < oneStream {
		compress = huff0.Compress1X
	}
	e.huffman.Reuse = huff0.ReusePolicyAllow
	if !e.hasHuffman {
		e.huffman.Reuse = huff0.ReusePolicyNone
	}
	if len(literals) > 0 {
		out, again, err := compress(literals, &e.huffman)
		switch {
		case err == huff0.ErrUseRLE:
			return append(sizeOf(b, literalsSingle, len(literals)), literals[0])
		case err == nil && len(out) < len(literals):
			kind := literalsHuffman
			if again {
				kind = literalsRepeat
			}
			e.hasHuffman = true
			return append(sizesOf(b, kind, len(literals), len(out)), out...)
		}
		if err == nil {
			e.hasHuffman = false
		}
	}
	return append(sizeOf(b, literalsRaw, len(literals)), literals...)
}

// sizeOf appends the header of literals that are not compressed.
func sizeOf(b []byte, kind, n int) []byte {
	switch {
	case n < 1<<5:
		return append(b, uint8(kind|n<<3))
	case n < 1<<12:
		return le.AppendUint16(b, uint16(kind|1<<2|n<<4))
	}
	return append(le.AppendUint16(b, uint16(kind|3<<2|n<<4)), uint8(n>>12))
}

// sizesOf appends the header of n literals that are packed to so many bytes.
func sizesOf(b []byte, kind, n, packed int) []byte {
	switch {
	case n < oneStream:
		h := kind | n<<4 | packed<<14
		return append(le.AppendUint16(b, uint16(h)), uint8(h>>16))
	case n < 1<<14:
		return le.AppendUint32(b, uint32(kind|2<<2|n<<4|packed<<18))
	}
	h := uint64(kind | 3<<2 | n<<4 | packed<<22)
	return append(le.AppendUint32(b, uint32(h)), uint8(h>>32))
}
