package xz

import (
	"hash/crc64"
	"testing"
)

// The sums are those of hash/crc64, for lengths around each part of the way
// they are computed, and in pieces.
func TestCRC64(t *testing.T) {
	p := sample(8*laneSize, 3)
	ecma := crc64.MakeTable(crc64.ECMA)
	tables := newCRC64Tables()
	for _, n := range []int{0, 1, 7, 8, 9, 100, laneSize, 3*laneSize - 1, 3 * laneSize, 3*laneSize + 1, 6*laneSize + 13} {
		want := crc64.Checksum(p[:n], ecma)
		if got := tables.update(0, p[:n]); got != want {
			t.Errorf("%d bytes: got %x, want %x", n, got, want)
		}
		if got := tables.update(tables.update(0, p[:n/2]), p[n/2:n]); got != want {
			t.Errorf("%d bytes in two pieces: got %x, want %x", n, got, want)
		}
	}
	power := uint64(1 << 63)
	for range 8 * laneSize {
		power = power>>1 ^ crc64Poly&-(power&1)
	}
	if power != lanePower {
		t.Errorf("lanePower is %x, want %x", uint64(lanePower), power)
	}
}

func BenchmarkCRC64(b *testing.B) {
	p := sample(1<<18, 4)
	b.Run("lanes", func(b *testing.B) {
		b.SetBytes(int64(len(p)))
		for b.Loop() {
			newCRC64Tables().update(0, p)
		}
	})
	b.Run("hash/crc64", func(b *testing.B) {
		b.SetBytes(int64(len(p)))
		for b.Loop() {
			crc64.Checksum(p, crc64.MakeTable(crc64.ECMA))
		}
	})
}
