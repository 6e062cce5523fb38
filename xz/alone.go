package xz

import "io"

// This file reads .lzma, the format of LZMA Utils: properties, the size of the
// dictionary (4 bytes), the size of the output (8 bytes, all ones if unknown),
// and LZMA. If the size is unknown, an end marker must follow.

const aloneHeaderSize = 13

func (z *Reader) aloneStart() (stateFn, error) {
	head := z.scratch[:aloneHeaderSize]
	if err := z.bare.take(head); err != nil {
		return nil, err
	}
	p, ok := parseProperties(head[0])
	if !ok {
		return nil, z.bare.corrupt("invalid LZMA properties")
	}
	output := int64(le.Uint64(head[5:]))
	switch {
	case output == -1:
		output = unlimited
	case output < 0:
		return nil, z.bare.corrupt("invalid size")
	}
	if err := z.checker.reset(checkNone, true); err != nil {
		return nil, err
	}
	return (*Reader).aloneBody, z.bareStart(p, int64(le.Uint32(head[1:])), output)
}

func (z *Reader) aloneBody() (stateFn, error) {
	done, err := z.bareBody()
	if done {
		return (*Reader).aloneEnd, err
	}
	return (*Reader).aloneBody, err
}

func (z *Reader) aloneEnd() (stateFn, error) {
	end, err := z.bare.atEnd()
	switch {
	case err != nil:
		return nil, err
	case !end:
		return nil, z.bare.corrupt("data after the end")
	}
	return nil, io.EOF
}
