// Package measure runs programs one at a time and says what they took, and on which
// machine, for benchmarks that put programs beside each other.
package measure

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A Usage is what runs of a program took, with the processes that it waited for.
type Usage struct {
	Wall    []float64 `json:"wall"`    // seconds
	CPU     []float64 `json:"cpu"`     // seconds of user and system time
	Memory  []float64 `json:"memory"`  // MiB, at most, of the largest process
	Written []float64 `json:"written"` // MB of pages of files that it made dirty; not those in memory file systems
}

// Run runs a program once, and returns the beginning of what it printed. Standard
// error is for the error alone.
func (u *Usage) Run(cmd *exec.Cmd) ([]byte, error) {
	// No pipe: nothing is to wait for this process.
	stderr, err := os.CreateTemp("", "measure-stderr-")
	if err != nil {
		return nil, err
	}
	defer os.Remove(stderr.Name())
	defer stderr.Close()
	cmd.Stderr = stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	begin := time.Now()
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	text, _ := io.ReadAll(io.LimitReader(out, 1<<16)) // Wait tells
	if err := cmd.Wait(); err != nil {
		said := make([]byte, 4096)
		n, _ := stderr.ReadAt(said, 0)
		return nil, fmt.Errorf("%v: %w: %s", cmd.Args, err, said[:n])
	}
	u.Wall = append(u.Wall, time.Since(begin).Seconds())
	took := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	u.CPU = append(u.CPU, (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds())
	u.Memory = append(u.Memory, float64(took.Maxrss)/1024)
	u.Written = append(u.Written, float64(took.Oublock)*512/1e6)
	return text, nil
}

// Program is where a program is, which PATH may not lead to.
func Program(name string) string {
	if path, err := exec.LookPath(filepath.Join("/usr/sbin", name)); err == nil && filepath.Base(name) == name {
		return path
	}
	return name
}

// Median returns the median of v, which has at least one.
func Median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

// A Goal is what a figure is meant to be at most.
type Goal struct {
	Name   string  `json:"name"`
	Is     float64 `json:"is"`
	Most   float64 `json:"most"` // zero is anything
	Digits int     `json:"-"`    // behind the point, of what is shown
}

// Met reports whether the goal is met. What is shown decides.
func (g Goal) Met() bool {
	shown, _ := strconv.ParseFloat(strconv.FormatFloat(g.Is, 'f', g.Digits, 64), 64) // as formatted
	return g.Most == 0 || shown <= g.Most
}

func (g Goal) String() string {
	digits := -1
	if g.Digits == 0 {
		digits = 0
	}
	text := g.Name + " ≤ " + strconv.FormatFloat(g.Most, 'f', digits, 64)
	if !g.Met() {
		return "**missed: " + text + "**"
	}
	return text
}

// Machine says what the programs run on.
func Machine() (string, error) {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "", err
	}
	cpu := "unknown processor"
	info, _ := os.ReadFile("/proc/cpuinfo") // absent elsewhere than on Linux
	for line := range strings.Lines(string(info)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
			cpu = strings.TrimSpace(value)
			break
		}
	}
	return fmt.Sprintf("%d cores of %s, %s %s, %s", runtime.GOMAXPROCS(0), cpu,
		unix.ByteSliceToString(u.Sysname[:]), unix.ByteSliceToString(u.Release[:]), runtime.Version()), nil
}

// Versions says which versions of programs there are: each is one with the argument
// that makes it say so.
func Versions(programs ...[2]string) string {
	number := regexp.MustCompile(`[0-9]+(\.[0-9]+)+`)
	var versions []string
	for _, p := range programs {
		out, _ := exec.Command(Program(p[0]), p[1]).CombinedOutput() // some exit with 1
		versions = append(versions, fmt.Sprintf("%s %s", p[0], number.Find(out)))
	}
	return strings.Join(versions, ", ")
}

// Load is the load of the machine.
func Load() string {
	text, _ := os.ReadFile("/proc/loadavg")
	first, _, ok := strings.Cut(string(text), " ")
	if !ok {
		return "unknown"
	}
	return first
}

// DefaultBed is where the large test caches are if no option says so.
func DefaultBed() string {
	if dir := os.Getenv("THAW_TESTBED"); dir != "" {
		return dir
	}
	return "../shared"
}

// WriteReport writes a report to a file, or to standard output if that is "-". What
// the file says under the heading "Findings" stays.
func WriteReport(file, text string) error {
	if file == "-" {
		_, err := os.Stdout.WriteString(text)
		return err
	}
	old, err := os.ReadFile(file)
	if err != nil && !os.IsNotExist(err) {
		return err
	}
	if i := strings.Index(string(old), "\n## Findings"); i >= 0 {
		text += string(old[i:])
	}
	return os.WriteFile(file, []byte(text), 0o666)
}
