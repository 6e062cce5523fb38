package spec

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Size is how large something shall be: as its content needs, or what is given.
// The zero value is no size.
type Size struct {
	Kind    SizeKind
	Bytes   int64 // of Fit: what to leave free; of Fixed: the size
	Percent int   // of Fit: what to leave free, in hundredths of what the content needs
}

// SizeKind is a way to say how large something is.
type SizeKind int

// The kinds of sizes.
const (
	NoSize SizeKind = iota
	Fit             // what the content needs, and what is left free: fit, fit+256M, fit+10%
	Fixed           // 2G
	Fill            // what is left of the disk: fill
)

const (
	units   = "BKMGT" // powers of 1024
	maxSize = 1 << 60 // far from overflows
)

// ParseSize reads fit, fit+256M, fit+10%, 2G or fill. The units B, K, M, G and T
// are powers of 1024 bytes.
func ParseSize(s string) (Size, error) {
	rest, fit := strings.CutPrefix(s, "fit")
	switch {
	case s == "fill":
		return Size{Kind: Fill}, nil
	case s == "fit":
		return Size{Kind: Fit}, nil
	case !fit:
		n, err := parseBytes(s)
		if err == errSize {
			err = sizeError(s)
		}
		return Size{Kind: Fixed, Bytes: n}, err
	case !strings.HasPrefix(rest, "+"):
		return Size{}, sizeError(s)
	}
	if number, ok := strings.CutSuffix(rest[1:], "%"); ok {
		n, err := strconv.ParseUint(number, 10, 16)
		if err != nil || n < 1 || n > 1000 || number[0] == '+' {
			return Size{}, fmt.Errorf("%s is not from fit+1%% to fit+1000%%", clip(s))
		}
		return Size{Kind: Fit, Percent: int(n)}, nil
	}
	n, err := parseBytes(rest[1:])
	if err != nil {
		return Size{}, sizeError(s)
	}
	return Size{Kind: Fit, Bytes: n}, nil
}

func sizeError(s string) error {
	return fmt.Errorf("%s is not a size: write fit, fit+256M, fit+10%% or 2G; the units are B, K, M, G and T, powers of 1024", clip(s))
}

// parseFixed reads a number with a unit alone: 2G.
func parseFixed(s string) (Size, error) {
	n, err := parseBytes(s)
	if err == errSize {
		err = fmt.Errorf("%s is not a number of bytes, such as 300M; the units are B, K, M, G and T, powers of 1024", clip(s))
	}
	return Size{Kind: Fixed, Bytes: n}, err
}

// errSize is the error about what is no number with a unit.
var errSize = errors.New("not a size")

// parseBytes reads a number with a unit.
func parseBytes(s string) (int64, error) {
	if s == "" {
		return 0, errSize
	}
	i := strings.IndexByte(units, s[len(s)-1])
	if i < 0 {
		if _, err := strconv.ParseUint(s, 10, 64); err == nil {
			return 0, fmt.Errorf("%s has no unit: write B for bytes, or K, M, G or T", clip(s))
		}
		return 0, errSize
	}
	n, err := strconv.ParseUint(s[:len(s)-1], 10, 63)
	switch unit := uint64(1) << (10 * i); {
	case err != nil && !strings.ContainsFunc(s[:len(s)-1], func(r rune) bool { return r < '0' || r > '9' }) && len(s) > 1, err == nil && n > maxSize/unit:
		return 0, fmt.Errorf("%s is more than %dT", clip(s), maxSize>>40)
	case err != nil:
		return 0, errSize
	case n == 0:
		return 0, fmt.Errorf("%s is no size", clip(s))
	default:
		return int64(n * unit), nil
	}
}

// String returns the text that [ParseSize] reads, "" for no size.
func (s Size) String() string {
	switch {
	case s.Kind == Fill:
		return "fill"
	case s.Kind == Fixed:
		return formatBytes(s.Bytes)
	case s.Kind == Fit && s.Percent > 0:
		return fmt.Sprintf("fit+%d%%", s.Percent)
	case s.Kind == Fit && s.Bytes > 0:
		return "fit+" + formatBytes(s.Bytes)
	case s.Kind == Fit:
		return "fit"
	}
	return ""
}

// formatBytes writes a number of bytes exactly, with the largest unit.
func formatBytes(n int64) string {
	i := 0
	for ; i < len(units)-1 && n%1024 == 0 && n > 0; i++ {
		n /= 1024
	}
	return strconv.FormatInt(n, 10) + units[i:i+1]
}

// Offset is a place, in bytes.
type Offset int64

// ParseOffset reads a number with a unit.
func ParseOffset(s string) (Offset, error) {
	if s == "0B" {
		return 0, nil
	}
	n, err := parseBytes(s)
	if err == errSize {
		err = fmt.Errorf("%s is not an offset, such as 8K; the units are B, K, M, G and T, powers of 1024", clip(s))
	}
	return Offset(n), err
}

// String returns the text that [ParseOffset] reads.
func (o Offset) String() string { return formatBytes(int64(o)) }

// Serial is the number of a FAT file system, or of a disk. The zero value is none.
type Serial uint32

// ParseSerial reads eight hexadecimal digits, with or without a dash.
func ParseSerial(s string) (Serial, error) {
	digits := s
	if len(s) == 9 && s[4] == '-' {
		digits = s[:4] + s[5:]
	}
	n, err := strconv.ParseUint(digits, 16, 32)
	if err != nil || len(digits) != 8 || n == 0 {
		return 0, fmt.Errorf("%s is not a serial number: eight hexadecimal digits, such as 1234-abcd, and not all 0", clip(s))
	}
	return Serial(n), nil
}

// String returns the text that [ParseSerial] reads, "" for none.
func (s Serial) String() string {
	if s == 0 {
		return ""
	}
	return fmt.Sprintf("%04x-%04x", uint32(s)>>16, uint32(s)&0xffff)
}
