package xz

import (
	"errors"
	"fmt"
	"math"
)

// Errors of a [Reader] about bounds. They may be wrapped.
var (
	// ErrSize says that the output is larger than [Config.MaxSize].
	ErrSize = errors.New("xz: output exceeds the size limit")
	// ErrDict says that the dictionary is larger than [Config.MaxDict].
	ErrDict = errors.New("xz: dictionary exceeds the size limit")

	errClosed = errors.New("xz: reader is closed")
)

// A FormatError says that the input is not what its format demands.
type FormatError struct {
	Offset int64  // where in the input it was noticed, in bytes; the fault lies before
	Reason string // what is wrong
}

func (e *FormatError) Error() string {
	return fmt.Sprintf("xz: %s at byte %d", e.Reason, e.Offset)
}

// An UnsupportedError says that the input is valid, perhaps, but uses
// something that this package does not read.
type UnsupportedError struct {
	Feature string // such as "filter 0x3"
}

func (e *UnsupportedError) Error() string { return "xz: unsupported " + e.Feature }

// corrupt is a FormatError at the place that src has reached.
func (s *source) corrupt(reason string) error {
	return &FormatError{Offset: s.offset(), Reason: reason}
}

// A limit says how much more may be decoded.
type limit struct {
	output int64 // by the caller's bound
	block  int64 // by the size in the header
}

const unlimited = math.MaxInt64

// check refuses n more bytes if they would exceed the limit.
func (l limit) check(src *source, n int) error {
	switch {
	case int64(n) > l.block:
		return src.corrupt("more data than its header says")
	case int64(n) > l.output:
		return ErrSize
	}
	return nil
}
