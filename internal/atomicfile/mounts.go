package atomicfile

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// mountinfo is where the kernel lists what is mounted (proc_pid_mountinfo(5)).
var mountinfo = "/proc/self/mountinfo"

// Mounted returns a place at or below path where something is mounted, "" for none. A
// bind mount of the same file system counts, which no device number tells.
func Mounted(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	if path, err = filepath.EvalSymlinks(path); err != nil {
		return "", err
	}
	text, err := os.ReadFile(mountinfo)
	if err != nil {
		return "", err
	}
	for _, point := range mountPoints(string(text)) {
		if Within(point, path) {
			return point, nil
		}
	}
	return "", nil
}

// Within reports whether a clean path is dir or below it.
func Within(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/")
}

// mountPoints returns the fifth fields of mountinfo.
func mountPoints(text string) (points []string) {
	for line := range strings.Lines(text) {
		if f := strings.Fields(line); len(f) > 4 {
			points = append(points, unescape(f[4]))
		}
	}
	return points
}

// unescape undoes \040 and the like: three octal digits.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+4 <= len(s) {
			if c, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(c))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
