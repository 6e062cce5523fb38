package substituter

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"testing"

	fault "thaw/internal/faultserver"
)

// Pull gives a NAR that is large enough to be hashed and decoded beside what is done with
// it, and ends in time whatever becomes of either.
func TestPull(t *testing.T) {
	large := fault.NAR(fault.Noise("pulled", 10<<20))
	if len(large) < max(worthAside, 2*followFrom) {
		t.Fatal("it is small")
	}
	full := &fs.PathError{Op: "write", Path: "x", Err: errors.New("no space")}
	unlike := errors.New("that is none of ours")
	first := func(n int64, then error) func(nar io.Reader) error {
		return func(nar io.Reader) error {
			if _, err := io.CopyN(io.Discard, nar, n); err != nil {
				return err
			}
			return then
		}
	}
	cut := []fault.Rule{{Path: aNAR, First: 1, Fault: fault.CutPercent(50, fault.WithLength, fault.Close)}}
	stalled := []fault.Rule{{Path: aNAR, Fault: fault.CutPercent(50, fault.WithLength, fault.Stall)}}
	flipped := []fault.Rule{{Path: aNAR, Fault: fault.Flip(100)}}
	for _, test := range []struct {
		name  string
		rules []fault.Rule
		codec string
		take  func(nar io.Reader) error // nil reads all
		is    error
		kind  Kind
	}{
		{"whole, none", nil, "none", nil, nil, 0},
		{"whole, zstd", nil, "zstd", nil, nil, 0},
		{"cut off once", cut, "none", nil, nil, 0},
		{"cut off once, zstd", cut, "zstd", nil, nil, 0},
		{"taken in part", nil, "none", first(1000, nil), nil, 0},
		{"a wrong byte", flipped, "none", nil, nil, Integrity},
		{"a wrong byte that nobody reads", flipped, "none", first(1000, nil), nil, Integrity},
		{"a wrong byte, and who takes it complains", flipped, "none", first(1000, unlike), nil, Integrity},
		{"who takes it complains", nil, "zstd", first(1000, unlike), unlike, 0},
		{"the disk is full", nil, "zstd", first(1000, full), full, 0},
		{"the disk is full, and no more comes", stalled, "none", first(1000, full), full, 0},
		{"the disk is full, and no more comes, zstd", stalled, "zstd", first(1000, full), full, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			noLeaks(t)
			cache := fault.Files{}
			cache.Add(signer, subject, test.codec, large)
			server := fault.New(t, cache, test.rules...)
			dir := t.TempDir()
			r := newRig(t, dir, server.URL)
			info, err := r.Info(t.Context(), fault.Path(subject))
			if err != nil {
				t.Fatal(err)
			}
			var got []byte
			take := test.take
			if take == nil {
				take = func(nar io.Reader) (err error) {
					got, err = io.ReadAll(nar)
					return err
				}
			}
			err = r.Pull(t.Context(), info, take)
			if KindOf(err) != test.kind || test.is != nil && !errors.Is(err, test.is) || (err == nil) != (test.is == nil && test.kind == 0) {
				t.Errorf("kind %v: %v", KindOf(err), err)
			}
			if err == nil && test.take == nil && !bytes.Equal(got, large) {
				t.Errorf("%d bytes of %d", len(got), len(large))
			}
			if left := files(t, dir); err == nil && len(left) > 0 {
				t.Errorf("left behind: %q", left)
			}
		})
	}
	t.Run("the local copy", func(t *testing.T) {
		noLeaks(t)
		cache := fault.Files{}
		cache.Add(signer, subject, "none", large)
		r := newRig(t, t.TempDir(), fault.New(t, cache).URL)
		info, err := r.Info(t.Context(), fault.Path(subject))
		if err == nil {
			err = r.Ensure(t.Context(), info)
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Pull(t.Context(), info, first(1000, full)); !errors.Is(err, full) {
			t.Errorf("the disk is full: %v", err)
		}
		if err := r.Pull(t.Context(), info, first(1000, nil)); err != nil {
			t.Error(err)
		}
		nar, err := os.ReadFile(r.Disk.nar(info))
		if err != nil {
			t.Fatal(err)
		}
		nar[len(nar)-100] ^= 1
		if err := os.WriteFile(r.Disk.nar(info), nar, 0o644); err != nil {
			t.Fatal(err)
		}
		var got []byte
		if err := r.Pull(t.Context(), info, func(nar io.Reader) (err error) {
			got, err = io.ReadAll(nar)
			return err
		}); err != nil || !bytes.Equal(got, large) {
			t.Errorf("damaged: %d bytes of %d, %v", len(got), len(large), err)
		}
	})
}
