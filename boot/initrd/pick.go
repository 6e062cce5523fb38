package initrd

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"thaw/internal/decompress"
	"thaw/rootfs"
)

// pick is what is taken of an object.
type pick struct {
	object Object
	files  map[string]string // where to, by where from
}

// send walks the object and sends what is picked of it, decompressed.
// *room is how much there is room for, and is less then.
func (p *pick) send(s rootfs.Sink, at time.Time, room *int64) error {
	left := maps.Clone(p.files)
	err := p.object.Walk(func(e rootfs.Entry, data io.Reader) error {
		to, ok := left[e.Path]
		if !ok || !e.Mode.IsRegular() {
			return nil
		}
		delete(left, e.Path)
		plain, size, err := expand(e, data)
		if *room -= entrySize(to, size); err == nil && *room < 0 {
			err = errTooMuch
		}
		if err != nil {
			return fmt.Errorf("%s: %w", path.Join(p.object.Path, e.Path), err)
		}
		return s.Add(rootfs.Entry{Path: to, Mode: 0o444, ModTime: at, Size: size}, plain)
	})
	if err != nil {
		return err
	}
	for _, file := range slices.Sorted(maps.Keys(left)) {
		return fmt.Errorf("%s: has no file %s, which its list names", p.object.Path, file)
	}
	return nil
}

// compression tells by the ending of a file's name how it is compressed, and what
// its name is without.
func compression(file string) (plain, name string) {
	for ending, name := range map[string]string{".xz": "xz", ".zst": "zstd", ".gz": "gzip"} {
		if plain, ok := strings.CutSuffix(file, ending); ok {
			return plain, name
		}
	}
	return file, ""
}

var (
	errTooLong = fmt.Errorf("expands to more than %d MiB", MaxModule>>20)
	errTooMuch = fmt.Errorf("modules and firmware have more than %d MiB in all: load fewer modules or less firmware", MaxRest>>20)
)

// entrySize is what an entry takes in an archive at most.
func entrySize(path string, size int64) int64 { return 128 + int64(len(path)) + size }

// expand returns the plain content of a file that its name may say to be
// compressed.
func expand(e rootfs.Entry, data io.Reader) (plain io.Reader, size int64, err error) {
	_, name := compression(e.Path)
	if name == "" {
		return data, e.Size, nil
	}
	z, err := decompress.NewReader(name, data, -1)
	if err != nil {
		return nil, 0, err
	}
	var b bytes.Buffer
	n, err := io.Copy(&b, io.LimitReader(z, MaxModule+1))
	if n > MaxModule {
		err = errTooLong
	}
	if err = errors.Join(err, z.Close()); err != nil {
		return nil, 0, err
	}
	return &b, n, nil
}
