package decompress

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/klauspost/compress/zstd"
)

// noise returns bytes that do not shrink.
func noise(n int) string {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{}).Read(b)
	return string(b)
}

// frameOf returns one frame of zstd that says how long it is.
func frameOf(t *testing.T, text string, options ...zstd.EOption) string {
	t.Helper()
	z, err := zstd.NewWriter(nil, append(options, zstd.WithZeroFrames(true))...)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	return string(z.EncodeAll([]byte(text), nil))
}

// aside reads a stream with openFrames.
func aside(r io.Reader, size, most int64, atOnce int) (string, error) {
	z, err := openFrames(bufio.NewReader(r), size, most, atOnce, Team{})
	if err != nil {
		return "", err
	}
	defer z.Close()
	out, err := io.ReadAll(z)
	return string(out), err
}

func TestFrames(t *testing.T) {
	const large = 300 << 10
	text := strings.Repeat("some text, ", large/11)
	one := frameOf(t, text)
	var piped bytes.Buffer // says nothing of its length
	z, _ := zstd.NewWriter(&piped)
	io.WriteString(z, text)
	z.Close()
	for _, test := range []struct{ name, stream, want string }{
		{"nothing", "", ""},
		{"one", one, text},
		{"many", strings.Repeat(one, 9), strings.Repeat(text, 9)},
		{"small and empty ones", frameOf(t, "") + frameOf(t, "a") + one + frameOf(t, "") + frameOf(t, "b"), "a" + text + "b"},
		{"ends with an empty one", one + frameOf(t, ""), text},
		{"no checksum", frameOf(t, text, zstd.WithEncoderCRC(false)) + one, text + text},
		{"of the tool", string(packed(t, text, "zstd", "-q", "-19", fmt.Sprint("--stream-size=", len(text)))) + one, text + text},
		{"what does not shrink", frameOf(t, noise(large)) + one, noise(large) + text},
		{"one byte, repeated", frameOf(t, strings.Repeat("\x00", large)) + one, strings.Repeat("\x00", large) + text},
		{"a larger one", one + frameOf(t, text+text) + one + one, text + text + text + text + text},
		{"one that does not say its length", one + one + piped.String() + one, strings.Repeat(text, 4)},
		{"one to skip", one + "\x51\x2a\x4d\x18\x03\x00\x00\x00abc" + one, text + text},
		{"many tiny blocks", one + crumbs(large) + one, text + "a" + text},
	} {
		for _, atOnce := range []int{1, 3} {
			in := iotest.HalfReader(strings.NewReader(test.stream))
			if got, err := aside(in, int64(len(test.want)), large, atOnce); err != nil || got != test.want {
				t.Errorf("%s, %d at once: %d bytes of %d, %v", test.name, atOnce, len(got), len(test.want), err)
			}
		}
	}
}

// crumbs returns a frame of the letter a that is longer than n bytes: of empty blocks.
func crumbs(n int) string {
	return "\x28\xb5\x2f\xfd\x20\x01" + strings.Repeat("\x00\x00\x00", n/2) + "\x09\x00\x00a"
}

// What is wrong is an error, after what comes before it.
func TestFramesWrong(t *testing.T) {
	text := strings.Repeat("some text, ", 1000)
	one := frameOf(t, text)
	broken := errors.New("the line is dead")
	lies := []byte(one)
	lies[5]++ // its length, two bytes less 256
	for _, test := range []struct {
		name string
		in   io.Reader
		is   error // or any
	}{
		{"rubbish behind", strings.NewReader(one + one + "this is no zstd"), nil},
		{"a frame that lies about its length", strings.NewReader(one + string(lies) + one), nil},
		{"a reserved block", strings.NewReader(one + "\x28\xb5\x2f\xfd\x20\x01\x07\x00\x00" + one), nil},
		{"a block of 2 MiB", strings.NewReader(one + "\x28\xb5\x2f\xfd\x20\x01\xf9\xff\xff" + one), nil},
		{"a dead line", io.MultiReader(strings.NewReader(one+one[:len(one)/2]), iotest.ErrReader(broken)), broken},
		{"a dead line between frames", io.MultiReader(strings.NewReader(one), iotest.ErrReader(broken)), broken},
	} {
		got, err := aside(test.in, -1, 1<<20, 3)
		if err == nil || test.is != nil && !errors.Is(err, test.is) || !strings.HasPrefix(got, text) {
			t.Errorf("%s: %d bytes, %v", test.name, len(got), err)
		}
	}
	for n := range len(one) - 1 {
		got, err := aside(strings.NewReader(one+one[:n+1]), -1, 1<<20, 3)
		if !errors.Is(err, io.ErrUnexpectedEOF) || got != text {
			t.Errorf("cut off after %d of %d bytes: %d bytes, %v", n+1, len(one), len(got), err)
		}
	}
	for n := range len(one) { // whatever comes: no panic, and never more than was to come
		for bit := range 8 {
			bad := []byte(one + one)
			bad[n] ^= 1 << bit
			if got, err := aside(bytes.NewReader(bad), -1, 64<<10, 2); err == nil && len(got) > 2*64<<10 {
				t.Errorf("bit %d of byte %d: %d bytes", bit, n, len(got))
			}
		}
	}
}

func FuzzFrames(f *testing.F) {
	z, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	if err != nil {
		f.Fatal(err)
	}
	one := z.EncodeAll([]byte(strings.Repeat("a text of some length, ", 50)), nil)
	f.Add(one)
	f.Add(append(one, one...))
	f.Add([]byte(crumbs(300)))
	f.Fuzz(func(t *testing.T, in []byte) {
		const limit = 1 << 20
		first := func(r io.Reader, err error) (string, error) {
			if err != nil {
				return "", err
			}
			out, err := io.ReadAll(io.LimitReader(r, limit))
			return string(out), err
		}
		one, err := NewReader("zstd", bytes.NewReader(in), -1)
		want, wantErr := first(one, err)
		if err == nil {
			defer one.Close()
		}
		many, err := openFrames(bufio.NewReader(bytes.NewReader(in)), -1, 64<<10, 2, Team{})
		if err != nil {
			t.Fatal(err)
		}
		defer many.Close()
		got, err := first(many, nil)
		if errors.Is(wantErr, zstd.ErrCRCMismatch) { // which the hash of the NAR stands in for
			return
		}
		if (err == nil) != (wantErr == nil) || err == nil && got != want {
			t.Errorf("%d bytes, %v; one at a time: %d bytes, %v", len(got), err, len(want), wantErr)
		}
	})
}
