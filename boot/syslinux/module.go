package syslinux

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

const (
	moduleName = "ldlinux.c32"
	// MaxModule is how many bytes a ldlinux.c32 has at most.
	MaxModule = 1 << 20
	// maxModules is how many ELF files an installer is searched for it.
	maxModules = 8
)

// elfStart begins a 32-bit ELF file of little-endian order.
var elfStart = []byte("\x7fELF\x01\x01\x01")

// module returns the names that a ldlinux.c32 takes and gives, which its version and the
// loader's have to agree on. It does not say its version itself.
func module(b []byte) ([]string, error) {
	if len(b) > MaxModule {
		b = b[:MaxModule]
	}
	f, err := elf.NewFile(bytes.NewReader(b))
	if err != nil || f.Machine != elf.EM_386 || f.Class != elf.ELFCLASS32 {
		return nil, errors.New("is no module of Syslinux for BIOSes")
	}
	if name, err := f.DynString(elf.DT_SONAME); err != nil || !slices.Equal(name, []string{moduleName}) {
		return nil, errors.New("is another module of Syslinux")
	}
	symbols, err := f.DynamicSymbols()
	if err != nil {
		return nil, fmt.Errorf("has no symbols: %w", err)
	}
	names := make([]string, len(symbols))
	for i, s := range symbols {
		names[i] = s.Name
		if s.Section != elf.SHN_UNDEF {
			names[i] += " is here"
		}
	}
	slices.Sort(names)
	return names, nil
}

// findModule returns the names of the ldlinux.c32 that an installer has in it, nil for
// none: those before version 5 have none.
func findModule(program []byte) []string {
	at := 0
	for range maxModules {
		next := bytes.Index(program[at:], elfStart)
		if next < 0 {
			break
		}
		at += next
		if names, err := module(program[at:]); err == nil {
			return names
		}
		at++
	}
	return nil
}

// Fits holds that a ldlinux.c32 is of the loader's version: another one would not find
// what it needs, and the machine would stop with no more than a line of text. Not all
// versions differ in this.
func (l *Loader) Fits(c32 []byte) error {
	names, err := checkModule(c32)
	switch {
	case err != nil:
		return fmt.Errorf("it %w", err)
	case l.module != nil && !slices.Equal(l.module, names):
		return fmt.Errorf("it is a %s of another version than the installer: take both from one package", moduleName)
	}
	return nil
}

// CheckModule holds that a file is a ldlinux.c32, for BIOSes.
func CheckModule(c32 []byte) error {
	_, err := checkModule(c32)
	if err != nil {
		err = fmt.Errorf("it %w", err)
	}
	return err
}

func checkModule(c32 []byte) ([]string, error) {
	if len(c32) > MaxModule {
		return nil, fmt.Errorf("has %d bytes, and %d are the most", len(c32), MaxModule)
	}
	return module(c32)
}

// CheckIsolinux holds that a program is an isolinux.bin that starts a ldlinux.c32. Of
// which version that is to be, it cannot tell.
func CheckIsolinux(program []byte) error {
	const says = "\r\nISOLINUX "
	at := bytes.Index(program[:min(len(program), 4096)], []byte(says))
	if at < 0 {
		return errors.New("it is not isolinux.bin")
	}
	version := string(program[at+len(says):][:min(4, len(program)-at-len(says))])
	major, _, _ := strings.Cut(version, ".")
	if n, err := strconv.ParseUint(major, 10, 16); err != nil || n < 5 {
		return fmt.Errorf("it is ISOLINUX %q, which starts no %s; take version 6", version, moduleName)
	}
	return nil
}
