package main

import (
	"bufio"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"thaw/device"
	"thaw/image/unwrap"
)

// writeOptions are those of the write verb.
type writeOptions struct {
	yes, list, json bool
}

func (a *app) write() *cobra.Command {
	var o writeOptions
	cmd := &cobra.Command{
		Use:   "write IMAGE DEVICE",
		Short: "Write a disk image to a device, and read it back",
		Long: `Write a disk image to a block device, such as a USB stick, a memory card or a disk,
from its beginning on; then read all of it back from the device and compare it.
What was on the device is lost.

IMAGE is a raw image, one compressed with gzip, zstd, xz or bzip2, or a qcow2, VHD,
VHDX, VDI or VMDK image; its content tells, not its name. A compressed one is
expanded once before anything is written, to know that it is whole and fits.

A device is refused if anything on it is in use, such as a mounted file system, if
the running system or IMAGE is on it, and if it is read-only or too small.
--list lists those that can be meant. Unless --yes is given, thaw asks.

The beginning of the image is written last, when all the rest has been found right:
a device whose writing was interrupted, or that is bad, does not look like the image.
The result line has the device, the size of the image, and its SHA-256 as read back.`,
		Example: "  thaw write --list\n  thaw write vm.img.zst /dev/sdb",
		GroupID: "carry",
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.list {
				if len(args) > 0 {
					return usage("", "--list takes no arguments")
				}
				return a.listDevices(o.json)
			}
			if len(args) != 2 {
				return usage(candidates(), "write needs an image and a device: thaw write IMAGE DEVICE")
			}
			return a.writeDevice(cmd, &o, args[0], args[1])
		},
	}
	f := cmd.Flags()
	f.BoolVarP(&o.yes, "yes", "y", false, "do not ask")
	f.BoolVar(&o.list, "list", false, "list the devices that there are, and why one cannot be written to")
	f.BoolVar(&o.json, "json", false, "print the result as JSON")
	return cmd
}

func (a *app) writeDevice(cmd *cobra.Command, o *writeOptions, name, path string) error {
	u, err := a.ui()
	if err != nil {
		return err
	}
	defer u.close()
	m, end, err := openImage(name)
	if err != nil {
		return err
	}
	defer end()
	d, err := device.Host{}.Find(path)
	if err == nil {
		err = obstacle(d, m, name)
	}
	if err != nil {
		return explainDevice(path, err)
	}
	f, err := device.Open(d)
	if err != nil {
		return explainDevice(path, err)
	}
	defer f.Close()
	if m.Size() > f.Size() { // before anybody is asked
		return explainDevice(path, &device.SmallError{Has: f.Size(), Needs: m.Size()})
	}
	if !o.yes {
		if in, ok := cmd.InOrStdin().(*os.File); !ok || !term.IsTerminal(int(in.Fd())) {
			return usage("if you are sure: --yes", "%s: all that is on it will be lost, and there is no terminal to ask on", describe(d))
		}
		if !confirm(cmd.InOrStdin(), a.stderr, d) {
			return &codedError{text: path + " was not written to", code: exitFailed}
		}
	}
	progress := &meter{ui: u, device: path}
	w, err := device.Write(cmd.Context(), f, m, progress.tell)
	progress.end()
	if err != nil {
		var lost *device.UnfinishedError
		if errors.As(err, &lost) {
			u.warn(path + " holds no valid image")
		}
		if cause := context.Cause(cmd.Context()); cause != nil {
			return cause
		}
		return explainDevice(path, err)
	}
	u.step("verifying", "%s read back, and the same", inBytes(w.Size))
	if !f.Reread() {
		u.warn("the kernel goes on with the old partition table: plug " + path + " in again")
	}
	if w.Backup {
		u.step("note", "%s is larger than the image. To use the rest, move the backup of the partition table there: sgdisk -e %s", path, path)
	}
	if err := f.Close(); err != nil {
		return err
	}
	digest := "sha256:" + hex.EncodeToString(w.Digest[:])
	if o.json {
		return json.NewEncoder(a.stdout).Encode(map[string]any{"device": path, "size": w.Size, "digest": digest, "zeros": w.Zeros, "larger": w.Backup})
	}
	_, err = fmt.Fprintf(a.stdout, "%s\t%d\t%s\n", path, w.Size, digest)
	return err
}

// openImage opens a disk image in a file.
func openImage(name string) (*unwrap.Image, func(), error) {
	f, err := openFile(name)
	if err != nil {
		hint := ""
		if errors.Is(err, fs.ErrNotExist) {
			hint = "thaw build makes one"
		}
		return nil, nil, usage(hint, "image %s: %v", name, cause(err))
	}
	st, err := f.Stat()
	var m *unwrap.Image
	if err == nil {
		m, err = unwrap.Open(f, st.Size())
	}
	if err != nil {
		f.Close()
		return nil, nil, &codedError{text: fmt.Sprintf("image %s: %v", name, err), code: exitFailed}
	}
	return m, func() { f.Close() }, nil
}

// cause is an error without the path that a message has already.
func cause(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// obstacle says why a device is none to write an image to.
func obstacle(d *device.Device, m *unwrap.Image, image string) error {
	switch {
	case len(d.Uses) > 0:
		return usesError{d}
	case device.Host{}.Holds(d, image):
		return errors.New("the image itself is on it")
	case d.ReadOnly:
		return device.ErrReadOnly
	case d.Size == 0:
		return errors.New("it has no medium")
	case d.Disk != "" && device.Table(m):
		return fmt.Errorf("it is a partition of /dev/%s, and the image has a partition table of its own: give the whole disk", d.Disk)
	}
	return nil
}

// usesError says that a device is in use.
type usesError struct{ d *device.Device }

func (e usesError) Error() string {
	var all []string
	for _, u := range e.d.Uses {
		all = append(all, u.String())
	}
	what := "it is in use"
	if slices.ContainsFunc(e.d.Uses, func(u device.Use) bool { return u.System }) {
		what = "the running system is on it"
	}
	return what + ": " + strings.Join(all, ", ")
}

// explainDevice says what is wrong with a device, and what to do.
func explainDevice(path string, err error) error {
	c := &codedError{text: path + ": " + strings.TrimPrefix(err.Error(), path+": "), code: exitFailed}
	var used usesError
	var small *device.SmallError
	var sector *device.SectorError
	var mismatch *device.MismatchError
	switch {
	case errors.As(err, &mismatch):
		c.code, c.hint = exitIntegrity, "the device, its reader or its cable is bad: try another one"
	case errors.Is(err, fs.ErrNotExist):
		c.text, c.hint, c.code = path+" is not there", candidates(), exitUsage
	case errors.Is(err, device.ErrNotBlock):
		c.text, c.hint, c.code = path+" is not a block device", candidates(), exitUsage
	case errors.Is(err, device.ErrPermission):
		c.hint = "run it as root: sudo thaw write …"
	case errors.Is(err, device.ErrReadOnly):
		c.hint = "memory cards and some sticks have a switch for that"
	case errors.As(err, &used) && strings.HasPrefix(used.Error(), "it is"):
		c.hint = "unmount it first, or whatever uses it; thaw write --list shows the others"
	case errors.As(err, &used):
		c.hint = candidates()
	case errors.As(err, &small):
		c.hint = fmt.Sprintf("take one of %s or more", inBytes(max(small.Needs, small.Has+1)))
	case errors.As(err, &sector):
		c.hint = fmt.Sprintf("build the image with sector-size: %d", sector.Device)
		if sector.Device != 512 {
			c.hint += ", as raw or qcow2"
		}
	}
	return c
}

// describe is a line about a device.
func describe(d *device.Device) string {
	s := []string{inBytes(d.Size)}
	if d.Model != "" {
		s = append(s, d.Model)
	}
	if d.Bus != "" {
		s = append(s, d.Bus)
	}
	if len(d.Parts) > 0 {
		s = append(s, count(len(d.Parts), "partition"))
	}
	return d.Path + ": " + printable(strings.Join(s, ", "))
}

// printable replaces what could steer a terminal: a device says what it likes.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return '?'
		}
		return r
	}, s)
}

// candidates lists the devices that can be written to, for a hint.
func candidates() string {
	list, err := device.Host{}.List()
	if err != nil {
		return ""
	}
	var lines []string
	for _, d := range list {
		if len(d.Uses) == 0 && !d.ReadOnly {
			lines = append(lines, describe(d))
		}
	}
	if len(lines) == 0 {
		return "there is no device that can be written to; thaw write --list says why"
	}
	return "these can be written to:\n" + strings.Join(lines, "\n")
}

func (a *app) listDevices(asJSON bool) error {
	list, err := device.Host{}.List()
	if err != nil {
		return err
	}
	type row struct {
		Device    string   `json:"device"`
		Size      int64    `json:"size"`
		Model     string   `json:"model,omitempty"`
		Bus       string   `json:"bus,omitempty"`
		Removable bool     `json:"removable"`
		Refused   []string `json:"refused"`
	}
	rows := []row{}
	for _, d := range list {
		r := row{d.Path, d.Size, printable(d.Model), d.Bus, d.Removable, []string{}}
		for _, u := range d.Uses {
			r.Refused = append(r.Refused, printable(u.String()))
		}
		if d.ReadOnly {
			r.Refused = append(r.Refused, "is read-only")
		}
		rows = append(rows, r)
	}
	if asJSON {
		return json.NewEncoder(a.stdout).Encode(rows)
	}
	for _, r := range rows {
		state := "free"
		if len(r.Refused) > 0 {
			state = strings.Join(r.Refused, ", ")
		}
		if _, err := fmt.Fprintf(a.stdout, "%s\t%d\t%s\t%s\t%s\n", r.Device, r.Size, r.Bus, r.Model, state); err != nil {
			return err
		}
	}
	return nil
}

// confirm asks whether a device shall be written to.
func confirm(in io.Reader, out io.Writer, d *device.Device) bool {
	fmt.Fprintf(out, "%s\n", describe(d))
	if !d.Removable && d.Bus != "loop" {
		fmt.Fprintln(out, "This is not a removable device.")
	}
	fmt.Fprint(out, "All that is on it will be lost. Write to it? Type yes: ")
	line, _ := bufio.NewReader(io.LimitReader(in, 100)).ReadString('\n')
	return strings.TrimSpace(line) == "yes"
}

// meter shows how a device is written.
type meter struct {
	ui     *ui
	device string

	mu         sync.Mutex
	phase      device.Phase
	began, due time.Time
	drawn      bool
}

// tell implements [device.Progress].
func (m *meter) tell(p device.Phase, done, total int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.began.IsZero() || p != m.phase {
		m.clear()
		m.phase, m.began, m.due = p, time.Now(), time.Time{}
	}
	if p == device.Writing && done == total {
		m.clear()
		m.ui.step("writing", "%s to %s", inBytes(total), m.device)
		return
	}
	if now := time.Now(); m.ui.mode == "live" && now.After(m.due) {
		m.due = now.Add(100 * time.Millisecond)
		m.draw(done, total, now.Sub(m.began).Seconds())
	}
}

func (m *meter) draw(done, total int64, seconds float64) {
	text := inBytes(done)
	if total > 0 {
		full := int(min(done*barWidth/total, barWidth))
		text = fmt.Sprintf("%s%s %s of %s", strings.Repeat("█", full), strings.Repeat("░", barWidth-full), inBytes(done), inBytes(total))
	}
	if seconds > 0.5 {
		text += fmt.Sprintf("  %s/s", inBytes(int64(float64(done)/seconds)))
		if rate := float64(done) / seconds; total > 0 && rate > 0 {
			text += fmt.Sprintf("  %v left", time.Duration(float64(total-done)/rate*float64(time.Second)).Round(time.Second))
		}
	}
	line := []rune(fmt.Sprintf("%-10s %s", m.phase, text))
	m.ui.mu.Lock()
	defer m.ui.mu.Unlock()
	fmt.Fprintf(m.ui.out, "\r\x1b[K%s", string(line[:min(len(line), m.ui.width())]))
	m.drawn = true
}

// clear removes the line that changes.
func (m *meter) clear() {
	if m.drawn {
		m.ui.mu.Lock()
		defer m.ui.mu.Unlock()
		fmt.Fprint(m.ui.out, "\r\x1b[K")
		m.drawn = false
	}
}

func (m *meter) end() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.clear()
}
