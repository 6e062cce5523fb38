package syslinux

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

// Open finds the loader in a program that installs it: syslinux or extlinux of Linux.
func Open(program io.Reader) (*Loader, error) {
	b, err := io.ReadAll(io.LimitReader(program, MaxProgram+1))
	if err != nil {
		return nil, err
	}
	l, err := find(b)
	if err != nil {
		return nil, fmt.Errorf("the installer %w", err)
	}
	return l, nil
}

func find(program []byte) (*Loader, error) {
	if len(program) > MaxProgram {
		return nil, fmt.Errorf("has more than %d bytes", MaxProgram)
	}
	if bytes.HasPrefix(program, []byte("#!")) {
		return nil, errors.New("is a script, which starts another program: take that, or extlinux")
	}
	boot := findBoot(program)
	sys := findSys(program)
	if boot == nil || sys == nil {
		return nil, errors.New("has no boot sector and no ldlinux.sys in it: it is not Syslinux's syslinux or extlinux")
	}
	size, err := sysSize(program, len(sys))
	if err != nil {
		return nil, err
	}
	l, err := New(boot, sys[:size])
	if err != nil {
		return nil, fmt.Errorf("does not fit: %w", err)
	}
	l.module = findModule(program)
	return l, nil
}

// findBoot returns the boot sector in a program, or nil.
func findBoot(program []byte) []byte {
	start := []byte("\xeb\x58\x90SYSLINUX")
	for at := 0; ; at++ {
		next := bytes.Index(program[at:], start)
		if next < 0 || at+next+sectorSize > len(program) {
			return nil
		}
		at += next
		if b := program[at:][:sectorSize]; le.Uint32(b[magicAt:]) == magic && le.Uint16(b[codeEnd:]) == 0xaa55 {
			return b
		}
	}
}

// findSys returns a program from ldlinux.sys on, or nil. It begins with a line of text,
// and has a patch area, which is still empty.
func findSys(program []byte) []byte {
	for at := 0; ; at++ {
		next := bytes.Index(program[at:], []byte("\r\nSYSLINUX "))
		if next < 0 || at+next+sectorSize > len(program) {
			return nil
		}
		at += next
		head := program[at:][:sectorSize]
		for p := 0; p+patchSize <= sectorSize; p += 4 {
			if le.Uint32(head[p:]) == magic && bytes.Equal(head[p+patchDataSectors:p+patchChecksum+4], make([]byte, 12)) {
				return program[at:]
			}
		}
	}
}

// sysSize returns how many bytes ldlinux.sys has: the program holds that number beside
// those of the boot sector, each next to the time of a file. There must be one answer.
func sysSize(program []byte, most int) (int, error) {
	const near = 64
	at := func(i int) uint32 {
		if i < 0 || i+4 > len(program) {
			return 0
		}
		return le.Uint32(program[i:])
	}
	isTime := func(t uint32) bool { return t >= 100_000_000 && t < 1<<31 }
	timed := func(i int) bool { return isTime(at(i-4)) || isTime(at(i+4)) }
	size := 0
	for i := 0; i+4 <= len(program); i += 4 {
		if at(i) != sectorSize || !timed(i) {
			continue
		}
		for j := i - near; j <= i+near; j += 4 {
			n := int(at(j))
			if n%sectorSize != 0 || n < minSys || n > min(maxSys, most) || !timed(j) || n == size {
				continue
			}
			if size != 0 {
				return 0, fmt.Errorf("may have an ldlinux.sys of %d or of %d bytes", size, n)
			}
			size = n
		}
	}
	if size == 0 {
		return 0, errors.New("does not say how long its ldlinux.sys is")
	}
	return size, nil
}
