package initrd

import (
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"thaw/rootfs"
)

const (
	firmwareDir = "lib/firmware"

	// maxFirmware is how many entries an object of firmware has at most; that
	// of all firmware for Linux has less than 10,000.
	maxFirmware = 200_000
	maxLinks    = 40 // that lead to one file, as Linux follows them
)

// firmware finds the files that are asked for. Where several objects have one,
// the first counts.
func (b *builder) firmware() error {
	unmatched := map[string]bool{}
	for _, pattern := range b.o.FirmwareNames {
		if _, err := path.Match(pattern, ""); err != nil {
			return fmt.Errorf("firmware %q: %w", pattern, err)
		}
		unmatched[pattern] = true
	}
	taken := map[string]bool{}
	for _, object := range b.o.Firmware {
		entries, err := readFirmware(object)
		if err != nil {
			return err
		}
		p := &pick{object: object, files: map[string]string{}}
		b.picks = append(b.picks, p)
		for _, file := range slices.Sorted(maps.Keys(entries)) {
			name, _ := compression(file)
			wanted := false
			for _, pattern := range b.o.FirmwareNames {
				if ok, _ := path.Match(pattern, name); ok {
					wanted = true
					delete(unmatched, pattern)
				}
			}
			if !wanted || taken[name] || entries[file].Mode.IsDir() {
				continue
			}
			final, err := follow(entries, file)
			if err != nil {
				return fmt.Errorf("%s: %w", object.Path, err)
			}
			content, _ := compression(final)
			if !taken[content] {
				taken[content] = true
				p.files[path.Join(firmwareDir, final)] = path.Join(firmwareDir, content)
				b.dirs(path.Join(firmwareDir, content))
			}
			if !taken[name] {
				taken[name] = true
				to, err := filepath.Rel(path.Dir(name), content)
				if err != nil {
					return err
				}
				b.put(rootfs.Link(path.Join(firmwareDir, name), to), nil)
			}
		}
	}
	for _, pattern := range slices.Sorted(maps.Keys(unmatched)) {
		return fmt.Errorf("firmware %q: none of the objects has such a file below %s", pattern, firmwareDir)
	}
	b.result.Firmware = slices.Sorted(maps.Keys(taken))
	return nil
}

// readFirmware returns all that an object has below lib/firmware.
func readFirmware(object Object) (map[string]rootfs.Entry, error) {
	entries := map[string]rootfs.Entry{}
	err := object.Walk(func(e rootfs.Entry, _ io.Reader) error {
		if name, ok := strings.CutPrefix(e.Path, firmwareDir+"/"); ok {
			entries[name] = e
			if len(entries) > maxFirmware {
				return fmt.Errorf("has more than %d files below %s", maxFirmware, firmwareDir)
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", object.Path, err)
	}
	return entries, nil
}

// follow returns the regular file that file is, or that its links lead to.
func follow(entries map[string]rootfs.Entry, file string) (string, error) {
	at, rest, links := "", file, 0
	for rest != "" {
		part, more, _ := strings.Cut(rest, "/")
		rest = more
		switch part {
		case "", ".":
			continue
		case "..":
			if at == "" {
				return "", fmt.Errorf("%s/%s is a link that leads out of there", firmwareDir, file)
			}
			at = strings.TrimPrefix(path.Dir("/"+at), "/")
			continue
		}
		at = path.Join(at, part)
		e, ok := entries[at]
		if !ok {
			return "", fmt.Errorf("%s/%s leads to %s, which is not there", firmwareDir, file, at)
		}
		if e.Kind() != fs.ModeSymlink {
			continue
		}
		if links++; links > maxLinks || path.IsAbs(e.Target) {
			return "", fmt.Errorf("%s/%s is a link that leads out of there, or in circles", firmwareDir, file)
		}
		at = strings.TrimPrefix(path.Dir("/"+at), "/")
		rest = e.Target + "/" + rest
	}
	if e := entries[at]; !e.Mode.IsRegular() || at == "" {
		return "", fmt.Errorf("%s/%s leads to what is no file", firmwareDir, file)
	}
	return at, nil
}
