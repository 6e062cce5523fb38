package xz

func (z *Reader) aside(h blockHeader) bool     { return false }
func (z *Reader) blockAside() (stateFn, error) { return nil, nil }
func (z *Reader) deliver() bool                { return false }
