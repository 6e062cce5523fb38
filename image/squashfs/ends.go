package squashfs

import "crypto/sha256"

// An end is where the end of a file lies that fills no block.
type end struct {
	fragment uint32 // place in the fragment table
	offset   uint32 // in the fragment block, when that is not compressed
}

// An endPacker puts ends of files into fragment blocks, equal ones once.
type endPacker struct {
	pipe  *pipe
	block *block // being filled
	next  end
	size  int // of a block
	known map[digest]end
}

func newEndPacker(p *pipe, blockSize int) endPacker {
	return endPacker{pipe: p, size: blockSize, known: map[digest]end{}}
}

// add adds the end of a file, which has at least one byte.
func (p *endPacker) add(data []byte) (end, error) {
	sum := sha256.Sum256(data)
	if e, ok := p.known[sum]; ok {
		return e, nil
	}
	if p.block != nil && len(p.block.data)+len(data) > p.size {
		if err := p.flush(); err != nil {
			return end{}, err
		}
	}
	if p.block == nil {
		b, err := p.pipe.take()
		if err != nil {
			return end{}, err
		}
		p.block = b
	}
	e := p.next
	p.known[sum] = e
	p.block.data = append(p.block.data, data...)
	p.next.offset += uint32(len(data))
	return e, nil
}

// flush sends the block being filled, if there is one.
func (p *endPacker) flush() error {
	if p.block != nil {
		p.pipe.put(p.block, blockFragment)
		p.block = nil
		p.next = end{fragment: p.next.fragment + 1}
	}
	return nil
}
