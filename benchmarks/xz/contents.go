package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
)

// A content is a file to decode.
type content struct {
	label  string
	name   string
	packed int64
	size   int64 // decoded
}

// contentSize is how much of each tree is taken.
const contentSize = 60 << 20

// contents makes .xz files of the machine's trees, with the default preset.
func contents(dir string) ([]content, error) {
	python, err := exec.Command("python3", "-c", "import os; print(os.path.dirname(os.__file__))").Output()
	if err != nil {
		return nil, fmt.Errorf("python3: %w", err)
	}
	goroot, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return nil, fmt.Errorf("go: %w", err)
	}
	var files []content
	for _, c := range []struct {
		label string
		roots []string
		want  func(name string) bool
	}{
		{"ELF programs", []string{"/usr/bin", "/usr/lib/" + multiarch()}, func(name string) bool { return filepath.Ext(name) == "" || strings.Contains(name, ".so") }},
		{"source tree", []string{filepath.Join(strings.TrimSpace(string(goroot)), "src")}, func(name string) bool { return true }},
		{"Python tree", []string{strings.TrimSpace(string(python))}, func(name string) bool { return true }},
		{"compressed files", []string{"/usr/share", "/usr/lib", "/usr/local"}, func(name string) bool {
			return slices.Contains([]string{".gz", ".png", ".xz", ".zip", ".jar", ".whl"}, filepath.Ext(name))
		}},
	} {
		plain, err := gather(c.roots, c.want)
		if err != nil {
			return nil, err
		}
		if len(plain) < 20<<20 {
			fmt.Fprintf(os.Stderr, "note: only %d bytes of %s on this machine\n", len(plain), c.label)
		}
		f, err := pack(dir, c.label, plain, "-6", "-T1")
		if err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	return files, nil
}

func multiarch() string {
	if runtime.GOARCH == "arm64" {
		return "aarch64-linux-gnu"
	}
	return "x86_64-linux-gnu"
}

// gather joins regular files, in the order of their names.
func gather(roots []string, want func(name string) bool) ([]byte, error) {
	var out bytes.Buffer
	for _, root := range roots {
		err := filepath.WalkDir(root, func(name string, e fs.DirEntry, err error) error {
			switch {
			case err != nil || !e.Type().IsRegular() || !want(name):
				return nil // unreadable directories are left out
			case out.Len() >= contentSize:
				return fs.SkipAll
			}
			p, err := os.ReadFile(name)
			if err != nil {
				return nil
			}
			fmt.Fprintf(&out, "%s %d\n", name, len(p))
			out.Write(p)
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return out.Bytes()[:min(out.Len(), contentSize)], nil
}

// pack compresses plain with xz.
func pack(dir, label string, plain []byte, args ...string) (content, error) {
	cmd := exec.Command("xz", append([]string{"-c"}, args...)...)
	cmd.Stdin = bytes.NewReader(plain)
	out, err := cmd.Output()
	if err != nil {
		return content{}, fmt.Errorf("xz: %w", err)
	}
	name := filepath.Join(dir, strings.ReplaceAll(label, " ", "-")+".xz")
	return content{label, name, int64(len(out)), int64(len(plain))}, os.WriteFile(name, out, 0o600)
}

// blocks makes a file of ten equal blocks whose headers have sizes.
func blocks(dir string) (content, error) {
	plain, err := gather([]string{"/usr/bin"}, func(string) bool { return true })
	if err != nil {
		return content{}, err
	}
	return pack(dir, "ten blocks", plain, "-6", "-T2", "--block-size="+strconv.Itoa(len(plain)/10))
}

// largest lists the n largest NARs.
func largest(dir string, n int) ([]content, error) {
	names, err := filepath.Glob(filepath.Join(dir, "*.nar.xz"))
	if err != nil {
		return nil, err
	}
	var files []content
	for _, name := range names {
		info, err := os.Stat(name)
		if err != nil {
			return nil, err
		}
		files = append(files, content{label: "NAR " + filepath.Base(name)[:8], name: name, packed: info.Size()})
	}
	slices.SortFunc(files, func(a, b content) int { return int(b.packed - a.packed) })
	files = files[:min(n, len(files))]
	for i, f := range files {
		// The last line of the list is the total, its fifth field the size.
		out, err := exec.Command("xz", "--robot", "-l", f.name).Output()
		if err != nil {
			return nil, fmt.Errorf("xz -l %s: %w", f.name, err)
		}
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		fields := strings.Fields(lines[len(lines)-1])
		if len(fields) < 5 {
			return nil, fmt.Errorf("xz -l %s: unexpected output", f.name)
		}
		if files[i].size, err = strconv.ParseInt(fields[4], 10, 64); err != nil {
			return nil, err
		}
	}
	return files, nil
}
