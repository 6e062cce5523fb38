package uki

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

var le = binary.LittleEndian

// Machine is what a program is for, as in the header of a PE file.
type Machine uint16

// The machines that UEFI knows and Linux runs on.
const (
	IA32        Machine = 0x014c
	X64         Machine = 0x8664
	ARM         Machine = 0x01c2
	AA64        Machine = 0xaa64
	RISCV64     Machine = 0x5064
	LoongArch64 Machine = 0x6264
)

var machines = []struct {
	Machine
	name, efi string
}{
	{IA32, "x86", "ia32"}, {X64, "x86-64", "x64"}, {ARM, "arm", "arm"}, {AA64, "aarch64", "aa64"},
	{RISCV64, "riscv64", "riscv64"}, {LoongArch64, "loongarch64", "loongarch64"},
}

// String returns a name such as x86-64 or aarch64.
func (m Machine) String() string {
	for _, k := range machines {
		if k.Machine == m {
			return k.name
		}
	}
	return fmt.Sprintf("machine %#x", uint16(m))
}

// EFI returns the name in file names of EFI programs, such as x64 or aa64, or "" for a
// machine that this package does not know.
func (m Machine) EFI() string {
	for _, k := range machines {
		if k.Machine == m {
			return k.efi
		}
	}
	return ""
}

// Places in a COFF header, from its signature on (PE Format, "COFF File Header").
const (
	coffMachine         = 4
	coffSections        = 6
	coffTime            = 8
	coffSymbols         = 12
	coffSymbolCount     = 16
	coffOptionalSize    = 20
	coffCharacteristics = 22
	coffSize            = 24

	// lineNumsStripped, localSymsStripped say that these are gone.
	lineNumsStripped, localSymsStripped = 0x0004, 0x0008
)

// Places in an optional header ("Optional Header").
const (
	optInitializedData  = 8
	optSectionAlignment = 32
	optFileAlignment    = 36
	optSizeOfImage      = 56
	optSizeOfHeaders    = 60
	optCheckSum         = 64
	optSubsystem        = 68
	optMin              = 96 // without directories, of PE32

	dirSecurity, dirDebug, dirBound = 4, 6, 11

	efiApplication = 10
)

// Places in a section's header ("Section Table (Section Headers)").
const (
	secVirtualSize     = 8
	secVirtualAddress  = 12
	secRawSize         = 16
	secRawAt           = 20
	secCharacteristics = 36
	secSize            = 40

	maxSections = 96

	hasCode, hasData, isRead = 0x20, 0x40, 0x40000000
)

// maxHeader bounds where a PE header may begin.
const maxHeader = 1 << 20

// A header is the COFF header of a file, and the optional header behind it.
type header struct {
	machine Machine
	at      int64  // of the signature
	coff    []byte // with the signature
	opt     []byte
}

// u32 returns a field of the optional header.
func (h *header) u32(at int) int64 { return int64(le.Uint32(h.opt[at:])) }

// readHeader reads the headers of an EFI application.
func readHeader(r io.ReaderAt) (*header, error) {
	head, err := readAt(r, 0, 64)
	if err != nil {
		return nil, err
	}
	if len(head) < 64 || string(head[:2]) != "MZ" {
		return nil, errors.New("is no EFI program")
	}
	h := &header{at: int64(le.Uint32(head[60:]))}
	if h.at > maxHeader {
		return nil, errors.New("is no EFI program: its header is too far away")
	}
	if h.coff, err = readAt(r, h.at, coffSize); err != nil {
		return nil, err
	}
	if len(h.coff) < coffSize || string(h.coff[:4]) != "PE\x00\x00" {
		return nil, errors.New("is no EFI program: it has no PE header")
	}
	size := int(le.Uint16(h.coff[coffOptionalSize:]))
	if h.opt, err = readAt(r, h.at+coffSize, size); err != nil {
		return nil, err
	}
	if len(h.opt) < size || size < optMin || h.directories() < 0 {
		return nil, errors.New("is no EFI program: its PE header is cut off")
	}
	if s := le.Uint16(h.opt[optSubsystem:]); s != efiApplication {
		return nil, fmt.Errorf("is no EFI application, but of subsystem %d", s)
	}
	switch h.machine = Machine(le.Uint16(h.coff[coffMachine:])); h.machine {
	case 0x1c0, 0x1c4: // ARM, as other linkers say it
		h.machine = ARM
	}
	if h.machine.EFI() == "" {
		return nil, fmt.Errorf("is for %v, which is unknown", h.machine)
	}
	return h, nil
}

// directories returns where the table of directories is in the optional header, or
// -1.
func (h *header) directories() int {
	at := map[uint16]int{0x10b: 96, 0x20b: 112}[le.Uint16(h.opt)]
	if at == 0 || at > len(h.opt) {
		return -1
	}
	return at
}

// directory returns place and length of a directory, which are 0 where it is none.
func (h *header) directory(n int) (at, size uint32) {
	table := h.directories()
	if count := int64(le.Uint32(h.opt[table-4:])); int64(n) >= count || table+8*(n+1) > len(h.opt) {
		return 0, 0
	}
	return le.Uint32(h.opt[table+8*n:]), le.Uint32(h.opt[table+8*n+4:])
}

// A stub is a program that sections can be added to.
type stub struct {
	*header
	file                    []byte
	optional                int64 // where the optional header is
	sections                int64 // where the table of sections ends
	names                   []string
	headers                 int64 // SizeOfHeaders
	end                     int64 // of the contents of sections in the file
	firstAddress, address   int64 // in memory, of the first section and behind the last
	fileAlign, sectionAlign int64
}

func parseStub(file []byte) (*stub, error) {
	if len(file) > MaxStub {
		return nil, fmt.Errorf("has %d bytes, more than %d", len(file), MaxStub)
	}
	h, err := readHeader(bytes.NewReader(file))
	if err != nil {
		return nil, err
	}
	s := &stub{header: h, file: file, optional: h.at + coffSize, fileAlign: h.u32(optFileAlignment), sectionAlign: h.u32(optSectionAlignment), headers: h.u32(optSizeOfHeaders)}
	count := int64(le.Uint16(h.coff[coffSections:]))
	table := s.optional + int64(len(h.opt))
	s.sections = table + count*secSize
	power := func(n int64) bool { return n >= 1 && n <= maxAlign && n&(n-1) == 0 }
	switch {
	case !power(s.fileAlign) || !power(s.sectionAlign):
		return nil, fmt.Errorf("has alignments of %d and %d", s.fileAlign, s.sectionAlign)
	case count == 0 || count > maxSections || s.headers > int64(len(file)) || s.sections > s.headers:
		return nil, errors.New("has a table of sections that is beyond its headers")
	}
	if at, size := h.directory(dirSecurity); at != 0 || size != 0 {
		return nil, errors.New("is signed, and its signature would not hold: take one that is not, and sign the image")
	}
	s.end = s.headers
	for b := range slices.Chunk(file[table:s.sections], secSize) {
		if err := s.addSection(b); err != nil {
			return nil, err
		}
	}
	if s.headers > s.firstAddress {
		return nil, errors.New("has headers that overlap its first section")
	}
	return s, nil
}

// addSection takes in the header of a section.
func (s *stub) addSection(b []byte) error {
	name := strings.TrimRight(string(b[:8]), "\x00")
	at, size := int64(le.Uint32(b[secVirtualAddress:])), int64(le.Uint32(b[secVirtualSize:]))
	raw, rawSize := int64(le.Uint32(b[secRawAt:])), int64(le.Uint32(b[secRawSize:]))
	switch {
	case at < s.address || at == 0:
		return fmt.Errorf("has the section %q below what comes before it", name)
	case at+size > maxImage:
		return fmt.Errorf("has the section %q beyond 4 GiB", name)
	case rawSize > 0 && (raw < s.headers || raw+rawSize > int64(len(s.file))):
		return fmt.Errorf("has the section %q outside of the file", name)
	}
	if s.names == nil {
		s.firstAddress = at
	}
	s.names = append(s.names, name)
	s.address = at + size
	if rawSize > 0 {
		s.end = max(s.end, raw+rawSize)
	}
	return nil
}

// with returns the headers of the stub with more sections, and gives these their places,
// so that each ends at a multiple of align. There are no gaps between them.
func (s *stub) with(more []section, align int64) ([]byte, error) {
	for _, m := range more {
		if slices.Contains(s.names, m.name) {
			return nil, fmt.Errorf("the stub has a section %s already: it is a whole image", m.name)
		}
	}
	need := s.sections + int64(len(more))*secSize
	shift := max(0, roundUp(need, s.fileAlign)-s.headers)
	switch {
	case len(s.names)+len(more) > maxSections:
		return nil, fmt.Errorf("the stub has %d sections, and there are at most %d", len(s.names), maxSections)
	case s.headers+shift > s.firstAddress:
		return nil, fmt.Errorf("the stub has no room for the headers of %d more sections", len(more))
	}
	// What tells places in the file does not move along; and nothing may lie
	// where the headers of sections go.
	_, debug := s.directory(dirDebug)
	_, bound := s.directory(dirBound)
	if shift > 0 && debug > 0 || bound > 0 {
		return nil, errors.New("the stub has debug data or bound imports in the way of more sections: take one that is stripped")
	}
	shift = roundUp(shift, s.fileAlign)
	b := make([]byte, s.headers+shift)
	copy(b, s.file[:s.sections])
	for h := range slices.Chunk(b[s.optional+int64(len(s.opt)):s.sections], secSize) {
		if le.Uint32(h[secRawSize:]) > 0 {
			le.PutUint32(h[secRawAt:], le.Uint32(h[secRawAt:])+uint32(shift))
		}
	}
	data := s.u32(optInitializedData)
	at, raw := s.address, roundUp(s.end, s.fileAlign)+shift
	for i := range more {
		m := &more[i]
		at = roundUp(at, max(s.sectionAlign, pageSize))
		size := m.size()
		virtual := max(size, m.virtual)
		rawSize := roundUp(raw+size, align) - raw
		if at+virtual > maxImage || raw+rawSize > maxImage {
			return nil, fmt.Errorf("an image has at most 4 GiB, and %s of %d bytes goes beyond", m.name, virtual)
		}
		h := b[s.sections+int64(i)*secSize:][:secSize]
		copy(h, m.name)
		le.PutUint32(h[secVirtualSize:], uint32(virtual))
		le.PutUint32(h[secVirtualAddress:], uint32(at))
		le.PutUint32(h[secRawSize:], uint32(rawSize))
		le.PutUint32(h[secRawAt:], uint32(raw))
		kind := uint32(hasData)
		if m.code {
			kind = hasCode
		}
		le.PutUint32(h[secCharacteristics:], isRead|kind)
		m.at, m.end = raw, raw+rawSize
		at, raw, data = at+virtual, m.end, data+rawSize
	}
	coff, opt := b[s.at:], b[s.optional:]
	le.PutUint16(coff[coffSections:], uint16(len(s.names)+len(more)))
	le.PutUint32(coff[coffTime:], 0)
	le.PutUint32(coff[coffSymbols:], 0)
	le.PutUint32(coff[coffSymbolCount:], 0)
	le.PutUint16(coff[coffCharacteristics:], le.Uint16(coff[coffCharacteristics:])|lineNumsStripped|localSymsStripped)
	le.PutUint32(opt[optInitializedData:], uint32(data))
	le.PutUint32(opt[optSizeOfImage:], uint32(roundUp(at, s.sectionAlign)))
	le.PutUint32(opt[optSizeOfHeaders:], uint32(len(b)))
	le.PutUint32(opt[optCheckSum:], 0)
	return b, nil
}
