package uki

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Kernel is what a kernel's file says of itself.
type Kernel struct {
	Machine Machine
	// Version is that of a bzImage, as uname -r prints it; other files do not
	// say.
	Version string

	imageSize int64 // bytes in memory
}

const (
	// kernelHead is where the signs of all kinds of kernels are.
	kernelHead = 1024
	// maxMemory bounds what a kernel says it takes in memory, so that one that
	// lies does not end in firmware without memory.
	maxMemory = 1 << 30
)

// ReadKernel reads the header of a kernel that is an EFI program: a bzImage, an Image
// or a vmlinuz.efi with an EFI stub of its own. Its errors say what the file is
// instead.
func ReadKernel(r io.ReaderAt) (Kernel, error) {
	k, err := readKernel(r)
	if err != nil {
		return k, fmt.Errorf("the kernel %w", err)
	}
	return k, nil
}

// ReadProgram reads the header of any program for UEFI, and says for which machine it
// is. Its errors go on after a name of the program.
func ReadProgram(r io.ReaderAt) (Machine, error) {
	h, err := readHeader(r)
	if err != nil {
		return 0, err
	}
	return h.machine, nil
}

func readKernel(r io.ReaderAt) (Kernel, error) {
	head, err := readAt(r, 0, kernelHead)
	if err != nil {
		return Kernel{}, err
	}
	if !bytes.HasPrefix(head, []byte("MZ")) {
		return Kernel{}, errors.New(noProgram(head))
	}
	h, err := readHeader(r)
	if err != nil {
		return Kernel{}, err
	}
	k := Kernel{Machine: h.machine, imageSize: h.u32(optSizeOfImage)}
	if k.imageSize > maxMemory {
		return k, fmt.Errorf("says that it takes %d bytes of memory, more than %d", k.imageSize, maxMemory)
	}
	k.Version, err = bzVersion(r, head)
	return k, err
}

// noProgram says what a file is that is no EFI program, from its beginning.
func noProgram(head []byte) string {
	has := func(at int, magic string) bool { return at <= len(head) && strings.HasPrefix(string(head[at:]), magic) }
	const missing = " without an EFI stub (CONFIG_EFI_STUB)"
	switch {
	case len(head) == 0:
		return "is empty"
	case has(0x202, "HdrS"):
		return "is a bzImage" + missing
	case has(0x38, "ARM\x64"):
		return "is an Image for aarch64" + missing
	case has(0x24, "\x18\x28\x6f\x01"):
		return "is a zImage for arm" + missing
	case has(0x38, "RSC\x05"):
		return "is an Image for riscv" + missing
	case has(0, "\x7fELF"):
		return "is an ELF file, which no firmware starts: it wants a bzImage, an Image or a vmlinuz.efi"
	case has(0, "\x27\x05\x19\x56"):
		return "is a uImage, for U-Boot alone"
	case has(0, "\xd0\x0d\xfe\xed"):
		return "is a FIT image or a device tree, for U-Boot alone"
	case has(0, "\x1f\x8b"), has(0, "\x28\xb5\x2f\xfd"), has(0, "\xfd7zXZ\x00"), has(0, "\x02\x21\x4c\x18"), has(0, "\x04\x22\x4d\x18"):
		return "is compressed: unpack it, or take vmlinuz.efi"
	}
	return "is no EFI program"
}

// bzVersion returns the version that a bzImage's header points to, and "" for other
// kernels (Linux, Documentation/arch/x86/boot.rst, kernel_version).
func bzVersion(r io.ReaderAt, head []byte) (string, error) {
	const magicAt, pointerAt, base, longest = 0x202, 0x20e, 0x200, 512
	if len(head) < pointerAt+2 || string(head[magicAt:magicAt+4]) != "HdrS" {
		return "", nil
	}
	at := int64(le.Uint16(head[pointerAt:]))
	if at == 0 {
		return "", nil
	}
	text, err := readAt(r, at+base, longest)
	if err != nil {
		return "", err
	}
	text, _, ok := bytes.Cut(text, []byte{0})
	version, _, _ := strings.Cut(string(text), " ")
	if err := checkLine("its version", version); err != nil || !ok {
		return "", errors.New("is a bzImage whose header points to no version")
	}
	return version, nil
}

// readAt reads n bytes, or less at the end.
func readAt(r io.ReaderAt, off int64, n int) ([]byte, error) {
	b := make([]byte, n)
	got, err := r.ReadAt(b, off)
	if got < n && err != io.EOF && err != nil {
		return nil, fmt.Errorf("cannot be read: %w", err)
	}
	return b[:got], nil
}
