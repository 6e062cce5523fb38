package anatomy

import "fmt"

// isPacked knows what is compressed as a whole: gzip (RFC 1952), zstd (RFC 8878), xz.
func isPacked(v view) bool { return packer(v) != "" }

func packer(v view) string {
	for _, p := range []struct{ magic, name string }{
		{"\x1f\x8b\x08", "gzip"}, {"\x28\xb5\x2f\xfd", "zstd"}, {"\xfd7zXZ\x00", "xz"},
	} {
		if v.has(0, p.magic) {
			return p.name
		}
	}
	return ""
}

func atPacked(v view, off int64) string {
	return fmt.Sprintf("%s: byte %d of %d, compressed", packer(v), off, v.size)
}
