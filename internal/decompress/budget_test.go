package decompress

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sync/semaphore"

	"thaw/internal/testbed"
	"thaw/xz"
)

// packed returns what a program makes of a text.
func packed(t *testing.T, text string, command ...string) []byte {
	t.Helper()
	cmd := exec.Command(testbed.Tool(t, command[0]), command[1:]...)
	cmd.Stdin, cmd.Stderr = strings.NewReader(text), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestWindow(t *testing.T) {
	const MiB = 1 << 20
	some := strings.Repeat("x", 5000)
	for _, test := range []struct {
		name string
		size int64
		head string // or what the command makes
		want int64  // besides what a decoder has in any case
		pack string
	}{
		{name: "xz", size: -1, want: 66 * MiB, pack: "xz -9e"},
		{name: "xz", size: 30 * MiB, want: 30 * MiB, pack: "xz -9e"},
		{name: "xz", size: -1, want: 10 * MiB, pack: "xz -6"},
		{name: "xz", size: -1, want: 14 * MiB, pack: "xz --lzma2=preset=0,dict=12MiB"},
		{name: "xz", size: -1, want: 10 * MiB, pack: "xz -6 --threads=2 --block-size=1000"}, // with sizes in the header
		{name: "xz", size: -1, want: MaxWindow, pack: "xz --x86 --lzma2=preset=0"},
		{name: "xz", size: -1, want: MaxWindow, pack: "xz --lzma2=preset=0,dict=1GiB"},
		{name: "xz", size: -1, want: MaxWindow, head: "\xfd7zXZ\x00"},
		{name: "lzma", size: -1, want: 8 * MiB, pack: "xz --format=lzma -6"},
		{name: "zstd", size: -1, want: 128 * MiB, pack: "zstd -q --long=27"},
		{name: "zstd", size: -1, want: 8 * MiB, pack: "zstd -q -19 --zstd=wlog=23"},
		{name: "zstd", size: -1, want: MaxWindow, head: "\x50\x2a\x4d\x18\x00\x00\x00\x00"}, // a frame to skip
		{name: "gzip", size: -1, want: MiB / 16, pack: "gzip"},
		{name: "bzip2", size: 100, want: 100},
		{name: "lzip", size: -1, want: 8 * MiB, head: "LZIP\x01\x17"},
		{name: "lzip", size: -1, want: 320 << 10, head: "LZIP\x01\xd3"}, // the example of its manual
		{name: "br", size: -1, want: 1 << 16, head: "\x0a"},
		{name: "br", size: -1, want: 1 << 17, head: "\x01"},
		{name: "br", size: -1, want: 1 << 18, head: "\x03"},
		{name: "br", size: -1, want: 1 << 24, head: "\x0f"},
		{name: "br", size: -1, want: 1 << 10, head: "\x21"},
		{name: "br", size: -1, want: MaxWindow},
		{name: "none", size: 100 * MiB, want: 0},
	} {
		t.Run(fmt.Sprint(test.name, " ", test.pack, test.size), func(t *testing.T) {
			head := []byte(test.head)
			if test.pack != "" {
				head = packed(t, some, strings.Fields(test.pack)...)
				head = head[:min(len(head), headSize)]
			}
			if got := Window(test.name, head, test.size) - besides; got != test.want {
				t.Errorf("%d bytes, want %d", got, test.want)
			}
		})
	}
}

// Decoders wait for each other, and what is larger than the budget works alone.
func TestBudget(t *testing.T) {
	text := strings.Repeat("text", 1000)
	stream := packed(t, text, "xz", "-9")
	b := NewBudget(1)
	open := func(ctx context.Context, size int64) (io.ReadCloser, error) {
		return b.NewReader(ctx, "xz", bufio.NewReader(bytes.NewReader(stream)), size, Team{})
	}
	read := func(r io.ReadCloser) {
		t.Helper()
		if got, err := io.ReadAll(r); err != nil || string(got) != text {
			t.Errorf("%d bytes, %v", len(got), err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
	hasty, cancel := context.WithCancelCause(t.Context())
	cancel(io.ErrNoProgress)
	full := func() {
		t.Helper()
		if _, err := open(hasty, int64(len(text))); !errors.Is(err, io.ErrNoProgress) {
			t.Errorf("where there is no room: %v", err)
		}
	}

	large, err := open(t.Context(), -1) // 66 MiB of 64
	if err != nil {
		t.Fatal(err)
	}
	full()
	read(large)
	var small []io.ReadCloser
	for b.left.TryAcquire(int64(len(text)) + besides) {
		b.left.Release(int64(len(text)) + besides)
		r, err := open(t.Context(), int64(len(text)))
		if err != nil {
			t.Fatal(err)
		}
		small = append(small, r)
	}
	if len(small) != 63 {
		t.Errorf("room for %d", len(small))
	}
	full()
	for _, r := range small {
		read(r)
	}
	if !b.left.TryAcquire(b.size) {
		t.Error("not all was given back")
	}
	if _, err := (*Budget)(nil).NewReader(t.Context(), "gzip", bufio.NewReader(strings.NewReader("no gzip")), -1, Team{}); err == nil {
		t.Error("rubbish is a stream without a budget")
	}
	b = NewBudget(1)
	if _, err := b.NewReader(t.Context(), "gzip", bufio.NewReader(strings.NewReader("no gzip")), -1, Team{}); err == nil || !b.left.TryAcquire(b.size) {
		t.Errorf("after %v, not all was given back", err)
	}
}

// The budget keeps to half of a limit that the runtime has.
func TestBudgetOfLimit(t *testing.T) {
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(math.MaxInt64))
	for _, test := range []struct{ limit, want int64 }{{math.MaxInt64, 288 << 20}, {1 << 30, 288 << 20}, {64 << 20, 32 << 20}, {0, 1}} {
		debug.SetMemoryLimit(test.limit)
		if b := NewBudget(8); b.size != test.want {
			t.Errorf("of %d: %d", test.limit, b.size)
		}
	}
}

// A decoder of zstd is as large as the NAR, whatever window its stream asks for, and
// finds what is as far back as it can be.
func TestNarrow(t *testing.T) {
	far := noise(1<<20) + strings.Repeat("-", 1<<20) + noise(1<<20)
	for _, text := range []string{"some", far, strings.Repeat("y", 128<<10+1)} {
		stream := packed(t, text, "zstd", "-q", "--long=27")
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		z, err := NewReader("zstd", bytes.NewReader(stream), int64(len(text)))
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(z)
		runtime.ReadMemStats(&after)
		if err != nil || string(got) != text {
			t.Errorf("%d bytes of %d, %v", len(got), len(text), err)
		}
		// ReadAll has its own share: growing, up to five times the text.
		if used := after.TotalAlloc - before.TotalAlloc; used > uint64(16*len(text)+8<<20) {
			t.Errorf("%d bytes took %d", len(text), used)
		}
		z.Close()
		if z, err = NewReader("zstd", bytes.NewReader(stream), 1); err == nil { // a narinfo that lies
			_, err = io.Copy(io.Discard, z)
		}
		if len(text) < len(far) && err != nil {
			t.Errorf("%d bytes where 1 was to be: %v", len(text), err)
		}
	}
}

// A team decodes the blocks of a stream, as far as there is room and somebody to
// spare, and the bytes are the same.
func TestTeam(t *testing.T) {
	const block = 1 << 20
	text := strings.Repeat(noise(block/4)+strings.Repeat("thaw", 3*block/16), 9) + "."
	blocks := packed(t, text, "xz", "-1", "--threads=2", "--block-size="+fmt.Sprint(block))
	one := packed(t, text, "xz", "-1")
	many := []byte(strings.Repeat(frameOf(t, text[:block]), 9) + frameOf(t, "."))
	frame := []byte(frameOf(t, text))
	for _, test := range []struct {
		name, codec   string
		stream        []byte
		jobs, spares  int  // of the team
		budget        int  // jobs of the budget
		asked, helped bool // whether that may be, as time has it
	}{
		{"nobody else", "xz", blocks, 1, 0, 4, false, false},
		{"nobody to spare", "xz", blocks, 4, 0, 4, true, false},
		{"one to spare", "xz", blocks, 4, 1, 4, true, true},
		{"many", "xz", blocks, 64, 64, 64, true, true},
		{"one block", "xz", one, 4, 4, 4, false, false},
		{"no room", "xz", blocks, 4, 4, 0, false, false},
		{"frames, nobody else", "zstd", many, 1, 0, 4, false, false},
		{"frames, nobody to spare", "zstd", many, 4, 0, 4, true, false},
		{"frames, two at work", "zstd", many, 2, 2, 4, false, false},
		{"frames, many", "zstd", many, 64, 64, 64, true, true},
		{"one frame", "zstd", frame, 4, 4, 4, false, false},
		{"frames, no room", "zstd", many, 4, 4, 0, false, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			var mu sync.Mutex
			left, asked, helped := test.spares, false, false
			team := Team{test.jobs, func() (func(), bool) {
				mu.Lock()
				defer mu.Unlock()
				asked = true
				if left == 0 {
					return nil, false
				}
				left--
				helped = true
				return func() {
					mu.Lock()
					defer mu.Unlock()
					left++
				}, true
			}}
			b := NewBudget(test.budget)
			if test.budget == 0 {
				b = &Budget{1, semaphore.NewWeighted(1)}
			}
			z, err := b.NewReader(t.Context(), test.codec, bufio.NewReader(bytes.NewReader(test.stream)), int64(len(text)), team)
			if err != nil {
				t.Fatal(err)
			}
			switch side := z.(*budgeted).ReadCloser.(type) {
			case *frames:
				if !test.asked || test.codec != "zstd" {
					t.Error("frames are decoded side by side")
				}
			case *xz.Reader:
				if !test.asked || test.codec != "xz" {
					t.Error("blocks are decoded side by side")
				}
			default:
				if test.asked {
					t.Errorf("by a %T", side)
				}
			}
			got, err := io.ReadAll(z)
			if err != nil || string(got) != text {
				t.Errorf("%d bytes of %d, %v", len(got), len(text), err)
			}
			z.Close()
			if asked && !test.asked || helped && !test.helped {
				t.Errorf("asked: %v, helped: %v", asked, helped)
			}
			if left != test.spares || !b.left.TryAcquire(b.size) {
				t.Errorf("%d of %d slots are given back, and the memory is not", left, test.spares)
			}
			// One that is abandoned gives all back, too.
			b.left.Release(b.size)
			if z, err = b.NewReader(t.Context(), test.codec, bufio.NewReader(bytes.NewReader(test.stream)), int64(len(text)), team); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(z, make([]byte, 10)); err != nil {
				t.Error(err)
			}
			z.Close()
			if left != test.spares || !b.left.TryAcquire(b.size) {
				t.Errorf("%d of %d slots are given back", left, test.spares)
			}
		})
	}
}
