package zstdframe

import (
	"encoding/binary"
	"math/bits"
	"slices"
)

var le = binary.LittleEndian

// A sequence is some literals and a match behind them: length bytes, at least
// minMatch, that are the same so far back.
type sequence struct {
	literals, length, distance uint32
}

// minMatch is the length of the shortest match that the format has.
const minMatch = 3

// recent are the distances that have a number of their own, the last first
// (section 3.1.1.5).
type recent [3]uint32

var firstRecent = recent{1, 4, 8}

// value returns what stands for a distance behind so many literals, and makes it
// the last.
func (r *recent) value(distance, literals uint32) uint32 {
	if literals > 0 {
		switch distance {
		case r[0]:
			return 1
		case r[1]:
			r[0], r[1] = r[1], r[0]
			return 2
		case r[2]:
			r[0], r[1], r[2] = r[2], r[0], r[1]
			return 3
		}
	} else {
		// The last would have made the match before longer.
		switch distance {
		case r[1]:
			r[0], r[1] = r[1], r[0]
			return 1
		case r[2]:
			r[0], r[1], r[2] = r[2], r[0], r[1]
			return 2
		case r[0] - 1:
			r[0], r[1], r[2] = distance, r[0], r[1]
			return 3
		}
	}
	r[0], r[1], r[2] = distance, r[0], r[1]
	return distance + 3
}

// move makes a distance the last, as value does.
func (r *recent) move(distance, literals uint32) {
	switch {
	case distance == r[0] && literals > 0:
	case distance == r[1]:
		r[0], r[1] = distance, r[0]
	default:
		r[0], r[1], r[2] = distance, r[0], r[1]
	}
}

// A mode is how the table of a field comes to the decoder.
type mode uint8

const (
	modeDefault mode = iota
	modeSingle       // there is but one symbol
	modeOwn          // described
	modeRepeat       // that of the block before
)

// A field is one of the three numbers of a sequence: its tables, which last from
// block to block, and its codes in the block at hand.
type field struct {
	fixed  *fixedTable
	most   uint // of an own table's log
	counts [maxSymbols]uint32
	codes  []uint8
	// The last own table, if repeat says that the decoder still has it.
	own    table
	states [maxSymbols]int16
	shape  distribution // of own
	repeat bool
	in     *table // that the block uses
}

// single is the table of one symbol: it takes no bits.
var single table

// A fixedTable is a default distribution.
type fixedTable struct {
	distribution
	table
}

func newFixed(d distribution) *fixedTable {
	f := &fixedTable{distribution: d}
	f.table.build(d)
	return f
}

var (
	literalFixed = newFixed(literalDefault)
	matchFixed   = newFixed(matchDefault)
	offsetFixed  = newFixed(offsetDefault)
)

// bits returns how long the counted symbols are in the distribution, in bits, and
// false if it lacks one.
func (d *distribution) bits(counts []uint32) (uint64, bool) {
	sum := uint64(0)
	for s, c := range counts {
		if c == 0 {
			continue
		}
		if s >= len(d.states) || d.states[s] == 0 {
			return 0, false
		}
		sum += uint64(c) * uint64(uint32(d.log)<<8-uint32(log2[max(d.states[s], 1)]))
	}
	return sum >> 8, true
}

// choose settles which table the counted symbols of a block take, the shortest, and
// appends its description.
func (f *field) choose(b []byte, n uint32) ([]byte, mode) {
	kinds := maxSymbols
	for f.counts[kinds-1] == 0 {
		kinds--
	}
	counts := f.counts[:kinds]
	if counts[kinds-1] == n {
		f.repeat = false
		f.in = &single
		return append(b, uint8(kinds-1)), modeSingle
	}
	best, size := modeOwn, ^uint64(0)
	if s, ok := f.fixed.bits(counts); ok {
		best, size = modeDefault, s
	}
	if f.repeat {
		if s, ok := f.shape.bits(counts); ok && s < size {
			best, size = modeRepeat, s
		}
	}
	var states [maxSymbols]int16
	d := normalize(states[:kinds], counts, n, logFor(n, kinds, f.most))
	described := d.appendTo(b)
	if s, _ := d.bits(counts); s+uint64(len(described)-len(b))*8 < size {
		best = modeOwn
	}
	switch best {
	case modeDefault:
		f.repeat = false
		f.in = &f.fixed.table
	case modeRepeat:
		f.in = &f.own
	case modeOwn:
		b = described
		f.states = states
		f.shape = distribution{d.log, f.states[:kinds]}
		f.own.build(f.shape)
		f.repeat = true
		f.in = &f.own
	}
	return b, best
}

// appendSequences appends the section of sequences (section 3.1.1.3.2), and
// returns false if there is a decoder that it could confuse. It moves e.known on.
func (e *Encoder) appendSequences(b []byte, seqs []sequence) ([]byte, bool) {
	n := len(seqs)
	switch {
	case n < 0x80:
		b = append(b, uint8(n))
	case n < 0x7f00:
		b = append(b, uint8(n>>8+0x80), uint8(n))
	default:
		b = append(b, 0xff, uint8(n-0x7f00), uint8((n-0x7f00)>>8))
	}
	if n == 0 {
		return b, true
	}
	e.code(seqs)
	modes := len(b)
	var m [3]mode
	b = append(b, 0)
	last := 0 // where the last description begins
	for i, f := range []*field{&e.literal, &e.offset, &e.match} {
		at := len(b)
		if b, m[i] = f.choose(b, uint32(n)); m[i] == modeOwn {
			last = at
		}
	}
	b[modes] = byte(m[0]<<6 | m[1]<<4 | m[2]<<2)
	b = e.appendBits(b, seqs)
	// Up to version 1.3.4 the C library refuses a description that is less
	// than four bytes from the end.
	return b, last == 0 || len(b)-last >= 4
}

// code fills in the codes of all fields, counts them, and keeps the values that
// stand for distances.
func (e *Encoder) code(seqs []sequence) {
	n := len(seqs)
	e.values = slices.Grow(e.values[:0], n)[:n]
	for _, f := range []*field{&e.literal, &e.offset, &e.match} {
		f.counts = [maxSymbols]uint32{}
		f.codes = slices.Grow(f.codes[:0], n)[:n]
	}
	literals, offsets, matches, values := e.literal.codes[:n], e.offset.codes[:n], e.match.codes[:n], e.values[:n]
	for i, s := range seqs {
		v := e.known.value(s.distance, s.literals)
		l, o, m := literalCode(s.literals), uint8(bits.Len32(v)-1), matchCode(s.length-minMatch)
		values[i], literals[i], offsets[i], matches[i] = v, l, o, m
		e.literal.counts[l%maxSymbols]++
		e.offset.counts[o%maxSymbols]++
		e.match.counts[m%maxSymbols]++
	}
}

// mostBits is a bound of what a sequence takes: 9, 8 and 9 for tables, and 16, 31 and
// 16 for what codes leave open.
const mostBits = 96

// appendBits appends the bits of all sequences. The decoder reads from the end: the
// first sequence, its offset first, then how the states change to the second, and
// so on (section 3.1.1.3.2.2).
func (e *Encoder) appendBits(b []byte, seqs []sequence) []byte {
	last := len(seqs) - 1
	b = slices.Grow(b, (len(seqs)+1)*mostBits/8+16)
	out, at := b[:cap(b)], len(b)
	lt, ot, mt := e.literal.in, e.offset.in, e.match.in
	lc, oc, mc := e.literal.codes[:last+1], e.offset.codes[:last+1], e.match.codes[:last+1]
	values := e.values[:last+1]
	ls, os, ms := lt.start(lc[last]), ot.start(oc[last]), mt.start(mc[last])
	acc, n := uint64(0), uint(0)
	for i := last; i >= 0; i-- {
		l, o, m := lc[i], oc[i], mc[i]
		if i < last {
			tr := &ot.symbols[o%maxSymbols]
			k := (os + tr.bits) >> 16
			acc |= uint64(os&(1<<k-1)) << (n & 63)
			n += uint(k)
			os = uint32(ot.next[(int32(os>>k)+tr.first)&(1<<maxLog-1)])

			tr = &mt.symbols[m%maxSymbols]
			k = (ms + tr.bits) >> 16
			acc |= uint64(ms&(1<<k-1)) << (n & 63)
			n += uint(k)
			ms = uint32(mt.next[(int32(ms>>k)+tr.first)&(1<<maxLog-1)])

			tr = &lt.symbols[l%maxSymbols]
			k = (ls + tr.bits) >> 16
			acc |= uint64(ls&(1<<k-1)) << (n & 63)
			n += uint(k)
			ls = uint32(lt.next[(int32(ls>>k)+tr.first)&(1<<maxLog-1)])

			le.PutUint64(out[at:], acc)
			at += int(n >> 3)
			acc >>= n &^ 7 & 63
			n &= 7
		}
		s := &seqs[i]
		k := uint(literalBits[l%36])
		acc |= uint64(s.literals&(1<<k-1)) << (n & 63)
		n += k
		k = uint(matchBits[m%53])
		acc |= uint64((s.length-minMatch)&(1<<k-1)) << (n & 63)
		n += k
		// 7 bits were left: there is room for 25 more.
		if n+uint(o) > 63 {
			le.PutUint64(out[at:], acc)
			at += int(n >> 3)
			acc >>= n &^ 7 & 63
			n &= 7
		}
		acc |= uint64(values[i]&(1<<(o&31)-1)) << (n & 63)
		n += uint(o)
		le.PutUint64(out[at:], acc)
		at += int(n >> 3)
		acc >>= n &^ 7 & 63
		n &= 7
	}
	// The states that the decoder begins with, and a bit that ends it all.
	for _, t := range []struct {
		state uint32
		log   uint
	}{{ms, mt.log}, {os, ot.log}, {ls, lt.log}, {1, 1}} {
		acc |= uint64(t.state&(1<<t.log-1)) << n
		n += t.log
	}
	le.PutUint64(out[at:], acc)
	return b[:at+int(n+7)>>3]
}
