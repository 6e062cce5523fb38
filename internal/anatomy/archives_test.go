package anatomy

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"thaw/internal/testbed"
)

func TestTar(t *testing.T) {
	long := strings.Repeat("long/", 50) + "name"
	for _, format := range []string{"gnu", "pax", "ustar"} {
		t.Run(format, func(t *testing.T) {
			root := makeTree(t)
			names := []string{"bin/hello", "etc/small", "share/doc/a/b/text"}
			if format != "ustar" {
				path := filepath.Join(root, long)
				if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte("in a long name"), 0o666); err != nil {
					t.Fatal(err)
				}
				names = append(names, long)
			}
			path := filepath.Join(t.TempDir(), "tar")
			testbed.Run(t, "tar", append([]string{"-C", root, "--format=" + format, "-cf", path}, names...)...)
			m := open(t, path)
			m.holds(t, func(name string, pos int) string { return fmt.Sprintf("tar: content of entry %s: byte %d", name, pos) })
			at := m.find(t, []byte("etc/small\x00"))
			m.says(t, at+140, "tar: header of entry etc/small: modification time")
			at = m.find(t, content("etc/small", 100))
			m.says(t, at+100, "tar: padding behind entry etc/small")
			m.says(t, int64(len(m))-1, "tar: end of the archive")
			if format != "ustar" {
				m.says(t, m.find(t, []byte("in a long name")), "tar: content of entry "+long+": byte 0")
				m.says(t, m.find(t, []byte(long)), fmt.Sprintf("tar: content of extra header of entry %s: byte %d", long,
					map[string]int{"gnu": 0, "pax": len("264 path=")}[format]))
			}
			m.damaged(t)
		})
	}
}

func TestCpio(t *testing.T) {
	names := "bin/hello\netc/small\nshare/doc/a/b/text\n"
	cmd := exec.Command(testbed.Tool(t, "cpio"), "--quiet", "-o", "-H", "newc")
	cmd.Dir, cmd.Stdin = makeTree(t), strings.NewReader(names)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	m := image(out)
	m.holds(t, func(name string, pos int) string { return fmt.Sprintf("cpio: content of entry %s: byte %d", name, pos) })
	at := m.find(t, []byte("etc/small"))
	m.says(t, at, "cpio: name of entry etc/small")
	m.says(t, at-110+46, "cpio: header of entry etc/small: modification time")
	m.says(t, int64(len(m))-1, "cpio: padding behind the last entry")
	m.damaged(t)

	// An initrd can have several archives in a row.
	both := image(append(bytes.Clone(m), m...))
	both.says(t, int64(len(m))+at, "cpio: name of entry etc/small")
	both = append(append(bytes.Clone(m), zeros[:]...), "\x1f\x8b\x08 and so on"...)
	both.says(t, int64(len(both))-3, fmt.Sprintf("cpio: behind it, from byte %d: gzip: byte 10 of 13, compressed", len(both)-13))
}
