// Package probe tells what starts by itself on a disk: EFI programs where firmware looks
// for them, and the code that a BIOS runs. It reads GPTs, MBRs, the boot catalogs of
// compact discs, and FAT as far as needed.
//
// Disks are hostile, and a disk that does not start is none that is wrong: what cannot be
// read is not there. A bounded amount is read whatever the disk holds.
package probe

import (
	"encoding/binary"
	"io"
	"slices"
	"strings"
)

// Boot is what starts by itself.
type Boot struct {
	// EFI are the machines that EFI/BOOT has programs for, as EFI calls them: x64,
	// ia32, aa64, arm, riscv64.
	EFI []string
	// BIOS tells that there is code for the BIOS of a PC.
	BIOS bool
	// Disc tells that it is a compact disc, which may be a disk as well.
	Disc bool
}

var le = binary.LittleEndian

// Read looks at a disk of so many bytes.
func Read(r io.ReaderAt, size int64) Boot {
	d := &disk{r, size}
	var b Boot
	mbr := d.read(0, 512)
	signed := mbr[510] == 0x55 && mbr[511] == 0xaa
	b.BIOS = signed && slices.ContainsFunc(mbr[:440], func(c byte) bool { return c != 0 })
	for _, sector := range []int64{512, 4096} {
		for _, start := range d.gpt(sector) {
			b.add(d.programs(start)...)
		}
	}
	for e := 446; signed && e < 510; e += 16 {
		if mbr[e+4] == 0xef {
			b.add(d.programs(int64(le.Uint32(mbr[e+8:])) * 512)...)
		}
	}
	d.disc(&b)
	return b
}

func (b *Boot) add(machines ...string) {
	for _, m := range machines {
		if !slices.Contains(b.EFI, m) {
			b.EFI = append(b.EFI, m)
		}
	}
}

type disk struct {
	r    io.ReaderAt
	size int64
}

// read returns n bytes at an offset, zeros where nothing can be read.
func (d *disk) read(off, n int64) []byte {
	b := make([]byte, n)
	if off >= 0 && off < d.size {
		k, _ := d.r.ReadAt(b, off)
		clear(b[k:])
	}
	return b
}

const typeESP = "\x28\x73\x2a\xc1\x1f\xf8\xd2\x11\xba\x4b\x00\xa0\xc9\x3e\xc9\x3b"

// gpt returns where the EFI system partitions of a GPT are (UEFI 2.10, 5.3).
func (d *disk) gpt(sector int64) (starts []int64) {
	h := d.read(sector, 512)
	size := int64(le.Uint32(h[84:]))
	if string(h[:8]) != "EFI PART" || size < 128 || size > 4096 {
		return nil
	}
	first := int64(le.Uint64(h[72:]))
	if first < 0 || first > d.size/sector {
		return nil
	}
	for i := range min(int64(le.Uint32(h[80:])), 256) {
		e := d.read(first*sector+i*size, 128)
		if start := int64(le.Uint64(e[32:])); string(e[:16]) == typeESP && start > 0 && start <= d.size/sector {
			starts = append(starts, start*sector)
		}
	}
	return starts
}

// disc looks at the boot catalog of a compact disc (El Torito 1.0, 2).
func (d *disk) disc(b *Boot) {
	const sector = 2048
	if string(d.read(16*sector+1, 5)) != "CD001" {
		return
	}
	b.Disc = true
	record := d.read(17*sector, 80)
	if record[0] != 0 || string(record[1:6]) != "CD001" || !strings.HasPrefix(string(record[7:]), "EL TORITO") {
		return
	}
	catalog := d.read(int64(le.Uint32(record[71:]))*sector, sector)
	platform := catalog[1]
	for e := 32; e+32 <= len(catalog); e += 32 {
		switch catalog[e] {
		case 0x90, 0x91: // a section, and the last one
			platform = catalog[e+1]
		case 0x88:
			switch platform {
			case 0:
				b.BIOS = true
			case 0xef:
				b.add(d.programs(int64(le.Uint32(catalog[e+8:])) * sector)...)
			}
		}
	}
}

// programs returns the machines of the programs in EFI/BOOT of the FAT at an offset.
func (d *disk) programs(start int64) (machines []string) {
	f, ok := d.fat(start)
	if !ok {
		return nil
	}
	dir := f.find(f.root(), "EFI        ")
	if dir != nil {
		dir = f.find(f.chain(cluster(dir)), "BOOT       ")
	}
	if dir == nil {
		return nil
	}
	for _, p := range []struct{ name, machine string }{{"BOOTX64 EFI", "x64"}, {"BOOTIA32EFI", "ia32"}, {"BOOTAA64EFI", "aa64"}, {"BOOTARM EFI", "arm"}, {"BOOTRI", "riscv64"}} {
		if e := f.find(f.chain(cluster(dir)), p.name); e != nil && e[11]&attrDirectory == 0 {
			machines = append(machines, p.machine)
		}
	}
	return machines
}
