package disk

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// GUID is a GUID in its text form of 8-4-4-4-12 hexadecimal digits, in any case.
type GUID string

// Types of partitions, of the UEFI Specification and the Discoverable Partitions
// Specification. [TypeNamed] knows more.
const (
	TypeESP        GUID = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B" // EFI System Partition
	TypeXBOOTLDR   GUID = "BC13C2FF-59E6-4262-A352-B275FD6F7172" // /boot, beside an ESP
	TypeBIOSBoot   GUID = "21686148-6449-6E6F-744E-656564454649" // code of a boot loader for BIOSes
	TypeLinux      GUID = "0FC63DAF-8483-4772-8E79-3D69D8477DE4" // any Linux file system
	TypeSwap       GUID = "0657FD6D-A4AB-43C4-84E5-0933C84B4F4F"
	TypeHome       GUID = "933AC7E1-2EB4-4F13-B844-0E14E2AEF915"
	TypeData       GUID = "EBD0A0A2-B9E5-4433-87C0-68B6B72699C7" // FAT or NTFS, as Windows shows it
	TypeRootX86_64 GUID = "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709" // the root of an x86-64 system
	TypeRootARM64  GUID = "B921B045-1DF0-41C3-AF44-4C6F280D3FAE" // the root of an AArch64 system
)

// types are the types with names, which are those that systemd-repart takes, and
// data and bios-boot. An MBR has the byte for them.
var types = []struct {
	name string
	guid GUID
	mbr  byte
}{
	{"esp", TypeESP, 0xef},
	{"xbootldr", TypeXBOOTLDR, 0xea},
	{"bios-boot", TypeBIOSBoot, 0},
	{"data", TypeData, 0x0c},
	{"swap", TypeSwap, 0x82},
	{"linux-generic", TypeLinux, 0x83},
	{"home", TypeHome, 0x83},
	{"srv", "3B8F8425-20E0-4F3B-907F-1A25A76F98E8", 0x83},
	{"var", "4D21B016-B534-45C2-A9FB-5C16E091FD2D", 0x83},
	{"tmp", "7EC6F557-3BC5-4ACA-B293-16EF5DF639D1", 0x83},
	{"root-x86-64", TypeRootX86_64, 0x83},
	{"root-x86", "44479540-F297-41B2-9AF7-D131D5F0458A", 0x83},
	{"root-arm64", TypeRootARM64, 0x83},
	{"root-arm", "69DAD710-2CE4-4E3C-B16C-21A1D49ABED3", 0x83},
	{"root-riscv64", "72EC70A6-CF74-40E6-BD49-4BDA08E8F224", 0x83},
	{"root-riscv32", "60D5A7FE-8E7D-435C-B714-3DD8162144E1", 0x83},
	{"root-loongarch64", "77055800-792C-4F94-B39A-98C91B762BB6", 0x83},
	{"root-ppc64-le", "C31C45E6-3F39-412E-80FB-4809C4980599", 0x83},
	{"root-ppc64", "912ADE1D-A839-4913-8964-A10EEE08FBD2", 0x83},
	{"root-mips-le", "37C58C8A-D913-4156-A25F-48B1B64E07F0", 0x83},
	{"root-mips64-le", "700BDA43-7A34-4507-B179-EEB93D7A7CA3", 0x83},
	{"root-s390x", "5EEAD9A9-FE09-4A1E-A1D7-520D00531306", 0x83},
}

// TypeNamed returns the type of a name such as esp, home or root-x86-64, and whether
// there is one.
func TypeNamed(name string) (GUID, bool) {
	for _, t := range types {
		if t.name == name {
			return t.guid, true
		}
	}
	return "", false
}

// TypeNames returns the names that [TypeNamed] knows.
func TypeNames() (names []string) {
	for _, t := range types {
		names = append(names, t.name)
	}
	return names
}

// TypeName returns the name of a type, or "".
func (g GUID) TypeName() string {
	for _, t := range types {
		if strings.EqualFold(string(t.guid), string(g)) {
			return t.name
		}
	}
	return ""
}

// MBRType returns the byte for a type in an MBR, 0 for none.
func (g GUID) MBRType() byte {
	for _, t := range types {
		if strings.EqualFold(string(t.guid), string(g)) {
			return t.mbr
		}
	}
	return 0
}

// Attributes of partitions: those of UEFI, then those of the Discoverable Partitions
// Specification and, for [TypeData], of Windows.
const (
	AttrRequired   = 1 << 0  // the platform needs it
	AttrNoBlockIO  = 1 << 1  // firmware leaves it alone
	AttrLegacyBoot = 1 << 2  // boot loaders for BIOSes boot from it
	AttrGrowFS     = 1 << 59 // the file system is grown to the partition's size
	AttrReadOnly   = 1 << 60 // it is mounted read-only
	AttrHidden     = 1 << 62 // Windows gives it no letter
	AttrNoAuto     = 1 << 63 // it is not mounted by itself
)

// MakeGUID makes a GUID of bytes that the caller has derived from something. It
// is of version 8, whose bits mean nothing but themselves (RFC 9562, section 5.8):
// six bits of b are lost.
func MakeGUID(b [16]byte) GUID {
	b[6] = b[6]&0x0f | 0x80
	b[8] = b[8]&0x3f | 0x80
	return GUID(fmt.Sprintf("%X-%X-%X-%X-%X", b[:4], b[4:6], b[6:8], b[8:10], b[10:]))
}

// encode puts a GUID as on the disk: the first three groups are little-endian
// numbers (UEFI 2.10, appendix A).
func (g GUID) encode() (b [16]byte, err error) {
	bad := func() ([16]byte, error) { return b, fmt.Errorf("%q is not a GUID", string(g)) }
	if g == "" {
		return b, errors.New("a GUID is missing")
	}
	groups := strings.Split(string(g), "-")
	if len(g) != 36 || len(groups) != 5 {
		return bad()
	}
	at := 0
	for i, digits := range []int{8, 4, 4, 4, 12} {
		if len(groups[i]) != digits {
			return bad()
		}
		if _, err := hex.Decode(b[at:], []byte(groups[i])); err != nil {
			return bad()
		}
		at += digits / 2
	}
	if b == [16]byte{} {
		return bad() // it marks entries that are free
	}
	binary.LittleEndian.PutUint32(b[0:], binary.BigEndian.Uint32(b[0:]))
	binary.LittleEndian.PutUint16(b[4:], binary.BigEndian.Uint16(b[4:]))
	binary.LittleEndian.PutUint16(b[6:], binary.BigEndian.Uint16(b[6:]))
	return b, nil
}
