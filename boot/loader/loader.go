// Package loader says which files on a boot partition make a boot loader start a
// system.
//
// Each function takes a [Menu] of what can be started and returns the files of one
// loader as a [rootfs.Tree], for any file system that the loader reads: [SystemdBoot],
// [EFI] for firmware alone, [Extlinux] for U-Boot, [RaspberryPi], [Syslinux] for BIOSes, [Isolinux] on CDs;
// [Files] are what other loaders may want, and [IPXE] is a script. Programs of loaders
// are given by the caller; nothing is run, and the result depends on the arguments
// alone. What the language of a loader cannot say, such as a % in a script of the UEFI
// Shell, is refused, never changed.
package loader

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"time"

	"thaw/boot/uki"
	"thaw/rootfs"
)

// A File is the content of a file. The zero value is none.
type File struct {
	Size int64
	Open func() (io.ReadCloser, error)
}

// Bytes is a file with this content.
func Bytes(b []byte) File {
	return File{int64(len(b)), func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil }}
}

// Section is a file with the content of r.
func Section(r *io.SectionReader) File {
	return File{r.Size(), func() (io.ReadCloser, error) { return io.NopCloser(io.NewSectionReader(r, 0, r.Size())), nil }}
}

func (f File) given() bool { return f.Open != nil }

// An Entry is a system that can be started.
type Entry struct {
	// ID names it in file names: 1 to [MaxID] letters of ASCII, digits, dots,
	// hyphens and underscores, the first and last being letters or digits, and
	// other than that of any other entry also without case.
	ID    string
	Title string // for people; if empty, the ID

	// UKI is all in one program, and then nothing else but Title is given.
	UKI File

	Version string // of the kernel, for people; may be empty
	Kernel  File
	Initrd  File // none means none
	Cmdline string
	DTB     File            // one device tree for the machine
	DTBs    map[string]File // several, by relative path, among which the loader chooses
}

// MaxID is how many bytes an ID has at most.
const MaxID = 64

// A Menu is what a loader shows.
type Menu struct {
	Machine uki.Machine
	Entries []Entry
	Default string // the ID of the one to start; if empty, the first
	// Timeout is how many seconds the menu waits for a choice; 0 is no menu.
	Timeout int
	Time    time.Time // of all files
}

const maxTimeout = 3600

// check holds a menu against its rules.
func (m *Menu) check() error {
	if len(m.Entries) == 0 {
		return errors.New("there is nothing to start")
	}
	if m.Timeout < 0 || m.Timeout > maxTimeout {
		return fmt.Errorf("a timeout of %d seconds is not from 0 to %d", m.Timeout, maxTimeout)
	}
	seen := map[string]bool{}
	for i := range m.Entries {
		e := &m.Entries[i]
		if err := e.check(); err != nil {
			return fmt.Errorf("entry %q: %w", e.ID, err)
		}
		if id := strings.ToLower(e.ID); seen[id] {
			return fmt.Errorf("entry %q: another one has this ID", e.ID)
		} else {
			seen[id] = true
		}
	}
	_, err := m.first()
	return err
}

func (e *Entry) check() error {
	if !validID(e.ID) {
		return fmt.Errorf("the ID is not 1 to %d letters, digits, dots, hyphens and underscores", MaxID)
	}
	for _, s := range []string{e.Title, e.Version} {
		if err := oneLine("text", s); err != nil {
			return err
		}
	}
	whole := e.UKI.given()
	switch parts := e.Kernel.given(); {
	case whole == parts:
		return errors.New("it has either a kernel or a unified kernel image")
	case whole && (e.Initrd.given() || e.DTB.given() || len(e.DTBs) > 0 || e.Cmdline != ""):
		return errors.New("a unified kernel image has its own initrd, command line and device tree")
	case e.DTB.given() && len(e.DTBs) > 0:
		return errors.New("it has either one device tree or several to choose from")
	}
	for path := range e.DTBs {
		if !rootfs.ValidPath(path) || path == "." {
			return fmt.Errorf("device tree %q: not a valid path", path)
		}
	}
	return uki.CheckCmdline(e.Cmdline)
}

func validID(id string) bool {
	word := func(c byte) bool { return '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z' }
	if len(id) < 1 || len(id) > MaxID || !word(id[0]) || !word(id[len(id)-1]) {
		return false
	}
	for _, c := range []byte(id) {
		if !word(c) && strings.IndexByte("._-", c) < 0 {
			return false
		}
	}
	return true
}

func oneLine(what, s string) error {
	if strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return fmt.Errorf("the %s %q is not one line", what, s)
	}
	return nil
}

// title returns the title for people.
func (e *Entry) title() string { return cmp.Or(e.Title, e.ID) }

// first returns the entry to start.
func (m *Menu) first() (*Entry, error) {
	if m.Default == "" {
		return &m.Entries[0], nil
	}
	i := slices.IndexFunc(m.Entries, func(e Entry) bool { return e.ID == m.Default })
	if i < 0 {
		return nil, fmt.Errorf("the default %q is no entry", m.Default)
	}
	return &m.Entries[i], nil
}

// only returns the entry of a menu of one, for what has no menu.
func (m *Menu) only() (*Entry, error) {
	if err := m.check(); err != nil {
		return nil, err
	}
	if len(m.Entries) > 1 {
		return nil, fmt.Errorf("there are %d entries and no menu to choose from", len(m.Entries))
	}
	return &m.Entries[0], nil
}

// parts is an error for a unified kernel image, where no EFI is to start it.
func (e *Entry) parts() error {
	if e.UKI.given() {
		return fmt.Errorf("entry %q: only EFI starts a unified kernel image", e.ID)
	}
	return nil
}

// A partition is a tree that is being filled.
type partition struct {
	rootfs.Tree
	time time.Time
}

func (m *Menu) partition() *partition {
	p := &partition{time: m.Time}
	p.Put(p.dir("."), nil)
	return p
}

func (p *partition) dir(path string) rootfs.Entry {
	return rootfs.Entry{Path: path, Mode: fs.ModeDir | 0o755, ModTime: p.time}
}

// file adds a file with its directories.
func (p *partition) file(path string, f File) {
	p.Dirs(path, p.dir(path))
	p.PutFile(rootfs.Entry{Path: path, Mode: 0o644, ModTime: p.time, Size: f.Size}, f.Open)
}

// text adds a file of lines, which end as the loader wants it.
func (p *partition) text(path string, lines []string, end string) {
	p.file(path, Bytes([]byte(strings.Join(lines, end)+end)))
}

// Where the files of an entry are, below its directory.
const (
	kernelName = "kernel"
	initrdName = "initrd"
	dtbName    = "devicetree.dtb"
	dtbsName   = "dtbs"
)

// dirOf is the directory of an entry's files.
func dirOf(e *Entry) string { return "boot/" + e.ID }

// entry adds the files of an entry to a directory.
func (p *partition) entry(dir string, e *Entry) {
	p.file(join(dir, kernelName), e.Kernel)
	if e.Initrd.given() {
		p.file(join(dir, initrdName), e.Initrd)
	}
	if e.DTB.given() {
		p.file(join(dir, dtbName), e.DTB)
	}
	p.files(join(dir, dtbsName), e.DTBs)
}

// files adds files to a directory.
func (p *partition) files(dir string, files map[string]File) {
	for path, f := range files {
		p.file(join(dir, path), f)
	}
}

func join(dir, name string) string {
	if dir == "." {
		return name
	}
	return dir + "/" + name
}

// Files are kernel, initrd and device trees of one entry by these names, and its
// command line as a file cmdline, for machines that are started by other means.
func Files(m Menu) (*rootfs.Tree, error) {
	e, err := m.only()
	if err == nil {
		err = e.parts()
	}
	if err != nil {
		return nil, err
	}
	p := m.partition()
	p.entry(".", e)
	p.text("cmdline", []string{e.Cmdline}, "\n")
	return &p.Tree, nil
}
