package iso_test

import (
	"bufio"
	"bytes"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"thaw/image/iso"
	"thaw/internal/testkernel"
	"thaw/rootfs"
	"thaw/rootfs/rootfstest"
)

// TestMain is the init of the machine that TestKernel starts.
func TestMain(m *testing.M) {
	testkernel.Main(m, []string{"drivers/cdrom/cdrom", "fs/isofs/isofs"}, serve)
}

// serve mounts the first disk for every line on the second serial port, puts what it
// finds onto the second disk, and answers with a line: its length, or an error.
func serve() error {
	port, err := os.OpenFile("/dev/ttyS1", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	termios, err := unix.IoctlGetTermios(int(port.Fd()), unix.TCGETS)
	if err != nil {
		return err
	}
	termios.Lflag &^= unix.ECHO
	if err := unix.IoctlSetTermios(int(port.Fd()), unix.TCSETS, termios); err != nil {
		return err
	}
	fmt.Fprintln(port, "ready")
	for lines := bufio.NewScanner(port); lines.Scan(); {
		n, err := answer()
		fmt.Fprintln(port, n, err)
	}
	return nil
}

// answer says what is on the first disk.
func answer() (int64, error) {
	if err := unix.Mount("/dev/vda", "/newroot", "iso9660", unix.MS_RDONLY, ""); err != nil {
		return 0, fmt.Errorf("mount: %w", err)
	}
	nodes, err := rootfstest.Walk("/newroot")
	if err := errors.Join(err, unix.Unmount("/newroot", 0)); err != nil {
		return 0, err
	}
	out, err := os.OpenFile("/dev/vdb", os.O_WRONLY, 0)
	if err != nil {
		return 0, err
	}
	w := bufio.NewWriterSize(out, 1<<20)
	err = errors.Join(gob.NewEncoder(w).Encode(nodes), w.Flush())
	n, _ := out.Seek(0, io.SeekCurrent)
	return n, errors.Join(err, out.Sync(), out.Close())
}

// TestKernel has the suite judged by Linux, in a machine of its own.
func TestKernel(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("SKIPPED: a boot takes some seconds")
	}
	m := start(t)
	t.Run("longest name", func(t *testing.T) {
		longest := strings.Repeat("n", iso.MaxName)
		v := newVolume(t, testOptions)
		v.add(file(longest, 0), "content")
		nodes, err := m.read(v.close())
		if err != nil || len(nodes) != 2 || nodes[1].Path != longest {
			t.Errorf("%v, %+v", err, nodes)
		}
	})
	const minTime, maxTime = -1 << 31, 1<<31 - 1 // of this kernel
	// Linux looks through a directory for each name: thousands take minutes.
	large := regexp.MustCompile(`^(many|d\d\d+)$`)
	refuse := func(e rootfs.Entry) string {
		_, name := rootfs.Split(e.Path)
		switch sec := e.ModTime.Unix(); {
		case max(e.UID, e.GID) == math.MaxUint32:
			return "Linux has no such owner"
		case sec < minTime || sec > maxTime:
			return "Linux 6.1 has 32 bits for times of this"
		case large.MatchString(name):
			return "it takes long"
		}
		return ""
	}
	can := abilities()
	can.Names = func(name string) bool { return !large.MatchString(name) && len(name) <= iso.MaxName }
	can.HardLinks = false // Linux shows a file for each name
	can.MinTime, can.MaxTime, can.MaxID = minTime, maxTime, math.MaxUint32-1
	rootfstest.Test(t, rootfstest.Format{
		Create: create(refuse, nil),
		Read:   func(dir string) ([]rootfstest.Node, error) { return m.read(filepath.Join(dir, imageName)) },
		Can:    can,
	})
}

// machine is one that reads volumes.
type machine struct {
	disks [2]string
	port  *bufio.Reader
	in    io.Writer
}

// diskSize is that of both disks, which are mostly holes.
const diskSize = 8 << 30

// start starts the machine.
func start(t *testing.T) *machine {
	dir := t.TempDir()
	m := &machine{disks: [2]string{filepath.Join(dir, "volume"), filepath.Join(dir, "answer")}}
	args := []string{"-serial", "file:" + filepath.Join(dir, "console"), "-serial", "stdio"}
	for _, disk := range m.disks {
		if err := os.WriteFile(disk, nil, 0o666); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(disk, diskSize); err != nil {
			t.Fatal(err)
		}
		args = append(args, "-drive", "if=virtio,format=raw,file="+disk)
	}
	cmd := testkernel.Command(t.Context(), t, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	m.in, m.port = in, bufio.NewReader(out)
	if line, err := m.port.ReadString('\n'); strings.TrimSpace(line) != "ready" {
		console, _ := os.ReadFile(filepath.Join(dir, "console"))
		t.Fatalf("the machine says %q, %v\n%s%s", line, err, console, stderr.Bytes())
	}
	return m
}

// read reads a volume as Linux does.
func (m *machine) read(volume string) (nodes []rootfstest.Node, err error) {
	if err := os.Truncate(m.disks[0], 0); err != nil {
		return nil, err
	}
	if out, err := exec.Command("cp", "--sparse=always", volume, m.disks[0]).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("cp: %v: %s", err, out)
	}
	if err := os.Truncate(m.disks[0], diskSize); err != nil {
		return nil, err
	}
	if _, err := io.WriteString(m.in, "go\n"); err != nil {
		return nil, err
	}
	line, err := m.port.ReadString('\n')
	if err != nil {
		return nil, err
	}
	var n int64
	var said string
	if _, err := fmt.Sscan(line, &n, &said); err != nil || said != "<nil>" {
		return nil, fmt.Errorf("the machine says %q", line)
	}
	f, err := os.Open(m.disks[1])
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return nodes, gob.NewDecoder(io.LimitReader(f, n)).Decode(&nodes)
}
