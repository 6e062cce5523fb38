package substituter

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"strings"
	"testing"
	"time"

	"thaw/internal/decompress"
	fault "thaw/internal/faultserver"
	"thaw/narinfo"
	"thaw/nixhash"
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
		{"whole, frames of zstd", nil, fault.Frames, nil, nil, 0},
		{"cut off once", cut, "none", nil, nil, 0},
		{"cut off once, zstd", cut, "zstd", nil, nil, 0},
		{"cut off once, frames of zstd", cut, fault.Frames, nil, nil, 0},
		{"taken in part", nil, "none", first(1000, nil), nil, 0},
		{"a wrong byte", flipped, "none", nil, nil, Integrity},
		{"a wrong byte that nobody reads", flipped, "none", first(1000, nil), nil, Integrity},
		{"a wrong byte, and who takes it complains", flipped, "none", first(1000, unlike), nil, Integrity},
		{"who takes it complains", nil, "zstd", first(1000, unlike), unlike, 0},
		{"the disk is full", nil, "zstd", first(1000, full), full, 0},
		{"the disk is full, and no more comes", stalled, "none", first(1000, full), full, 0},
		{"the disk is full, and no more comes, zstd", stalled, "zstd", first(1000, full), full, 0},
		{"the disk is full, and no more comes, frames of zstd", stalled, fault.Frames, first(1000, full), full, 0},
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

// A large NAR is hashed in a goroutine of its own, a small one and one of known bytes are
// not.
func TestHashedAside(t *testing.T) {
	for _, test := range []struct {
		size  int64
		aside bool
		want  bool
	}{{worthAside, true, true}, {worthAside, false, false}, {worthAside - 1, true, false}} {
		nar := make([]byte, test.size)
		info := &narinfo.Info{NarSize: test.size, NarHash: nixhash.Sum256(nar)}
		v := newVerifier(bytes.NewReader(nar), info)
		if err := v.give(writeTo(io.Discard), test.aside); err != nil || (v.beside != nil) != test.want {
			t.Errorf("%d bytes, aside %v: %v, %v", test.size, test.aside, v.beside != nil, err)
		}
		v.close()
		v = newVerifier(bytes.NewReader(nar), info).unhashed()
		if err := v.give(writeTo(io.Discard), true); err != nil || v.beside != nil {
			t.Errorf("%d known bytes: %v, %v", test.size, v.beside != nil, err)
		}
	}
}

// Who only looks at a NAR waits for the budget of decoders, too, and goes on.
func TestLooksShareMemory(t *testing.T) {
	cache := subjectCache("zstd")
	server := fault.New(t, cache, fault.Rule{Path: aNAR, First: 1, Fault: fault.CutPercent(50, fault.WithLength, fault.Close)})
	r := newRig(t, t.TempDir(), server.URL)
	info, err := r.Info(t.Context(), fault.Path(subject))
	if err != nil {
		t.Fatal(err)
	}
	budget := r.Disk.decoder.budget
	for name, look := range map[string]func(ctx context.Context) error{
		"Peek": func(ctx context.Context) error {
			return r.Peek(ctx, info, func(nar io.Reader) error {
				_, err := io.ReadFull(nar, make([]byte, 10))
				return err
			})
		},
		"Examine": func(ctx context.Context) error {
			problems, err := r.Next.Caches[0].Examine(ctx, info.StorePath, Contents, budget)
			if len(problems) > 0 {
				return errors.New(problems[0])
			}
			return err
		},
	} {
		// One that may take more than all of it.
		all, err := budget.NewReader(t.Context(), "br", bufio.NewReader(strings.NewReader("")), -1, decompress.Team{})
		if err != nil {
			t.Fatal(err)
		}
		hasty, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		if err := look(hasty); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s, where there is no room: %v", name, err)
		}
		cancel()
		all.Close()
		if err := look(t.Context()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
