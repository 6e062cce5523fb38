package resolve

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"thaw/nar"
	"thaw/narinfo"
	"thaw/storepath"
	"thaw/substituter"
)

// Bounds of how far paths are looked into.
const (
	maxLooks = 16       // candidates of one query
	maxRefs  = 8        // objects that a candidate refers to
	maxPeek  = 64 << 20 // bytes of NARs for one candidate
)

// machine is what programs are for. The numbers are those of ELF headers: e_machine,
// EI_CLASS and EI_DATA, from the System V ABI.
type machine struct {
	name        string
	number      uint16
	class, data byte
	systems     []string // of Nix
}

var machines = []machine{
	{"x86_64", 62, 2, 1, []string{"x86_64-linux"}},
	{"aarch64", 183, 2, 1, []string{"aarch64-linux"}},
	{"i386", 3, 1, 1, []string{"i686-linux"}},
	{"arm", 40, 1, 1, []string{"armv7l-linux", "armv6l-linux"}},
	{"riscv64", 243, 2, 1, []string{"riscv64-linux"}},
	{"powerpc64le", 21, 2, 1, []string{"powerpc64le-linux"}},
	{"s390x", 22, 2, 2, []string{"s390x-linux"}},
	{"loongarch64", 258, 2, 1, []string{"loongarch64-linux"}},
}

// Systems returns the systems that [Query.Arch] can name for a list.
func Systems() (names []string) {
	for _, m := range machines {
		names = append(names, m.systems...)
	}
	return names
}

// sighting is what was seen in a store object.
type sighting struct {
	program string   // a text such as "bin/git is ELF for x86_64"; "" if there is none
	systems []string // that it is for
	none    string   // why there is no program
	size    int64    // of the NAR, in bytes; 0 if it is not known
	err     error
}

func (s *sighting) fits(arch string) bool { return slices.Contains(s.systems, arch) }

// look is the key of a sighting.
type look struct {
	path storepath.Path
	arch string
}

// narrow chooses the one candidate that is for the system of a query, and says
// what speaks for that.
func (r *run) narrow(ctx context.Context, q Query, w *want, where string) (p storepath.Path, evidence string, err error) {
	if len(w.found) == 1 && !w.more && (q.Arch == "" || r.Store == nil) {
		return w.found[0], "", nil
	}
	ambiguous := &AmbiguousError{Name: q.asked(), Where: where, More: w.more}
	if len(w.found) > maxLooks || w.more || r.Store == nil {
		for _, p := range w.found {
			ambiguous.Candidates = append(ambiguous.Candidates, Candidate{Path: p})
		}
		return p, "", ambiguous
	}
	var rejected []Candidate
	var chosen string // the evidence for the last one that is left
	missing := 0
	for i, p := range w.found {
		s := r.look(ctx, p, q.Arch)
		if s.err != nil && q.Arch == "" && substituter.KindOf(s.err) != substituter.NotFound && ctx.Err() == nil {
			for _, p := range w.found[i:] { // it was only to be told what they are
				ambiguous.Candidates = append(ambiguous.Candidates, Candidate{Path: p})
			}
			break
		}
		evidence := cmp.Or(s.program, s.none)
		c := Candidate{p, fmt.Sprintf("%s; %d bytes", evidence, s.size)}
		switch {
		case substituter.KindOf(s.err) == substituter.NotFound:
			c.Note = "in none of the caches"
			missing++
			if q.Arch != "" {
				rejected = append(rejected, c)
				continue
			}
		case s.err != nil:
			return p, "", s.err
		case q.Arch != "" && s.program != "" && !s.fits(q.Arch):
			rejected = append(rejected, c)
			continue
		}
		ambiguous.Candidates = append(ambiguous.Candidates, c)
		chosen = evidence
	}
	switch left := ambiguous.Candidates; {
	case len(left) == 0:
		return p, "", &NotFoundError{Name: q.asked(), Where: where, Reason: "nothing of that name is for " + q.Arch, Rejected: rejected}
	case len(left) == 1 && q.Arch != "":
		if missing > 0 {
			chosen += fmt.Sprintf("; of that name %d more, in none of the caches", missing)
		}
		return left[0].Path, chosen, nil
	}
	return p, "", ambiguous
}

// look looks into a path, and into what it refers to if it has no program itself,
// as a script that calls one.
func (r *run) look(ctx context.Context, p storepath.Path, arch string) *sighting {
	left := int64(maxPeek)
	s, info := r.lookInto(ctx, p, arch, &left)
	if s.err == nil && s.program == "" {
		s = r.lookBeyond(ctx, info, arch, &left, s)
	}
	return s
}

// lookBeyond looks into what an object without a program refers to.
func (r *run) lookBeyond(ctx context.Context, info *narinfo.Info, arch string, left *int64, s *sighting) *sighting {
	n := 0
	for _, ref := range info.References {
		if ref == info.StorePath || n == maxRefs || *left <= 0 {
			continue
		}
		n++
		if other, _ := r.lookInto(ctx, ref, arch, left); other.program != "" {
			return &sighting{program: "it refers to " + ref.Name() + ", where " + other.program, systems: other.systems, size: s.size}
		} else if other.err != nil && substituter.KindOf(other.err) != substituter.NotFound {
			return other
		}
	}
	return s
}

// lookInto looks for a program in the NAR of a path, of which it reads left bytes
// at most. What has a program is remembered: many packages refer to it. The info
// is that of a path without one.
func (r *run) lookInto(ctx context.Context, p storepath.Path, arch string, left *int64) (*sighting, *narinfo.Info) {
	key := look{p, arch}
	r.mu.Lock()
	known := r.looks[key]
	r.mu.Unlock()
	if known != nil {
		return known, nil
	}
	info, err := r.Store.Info(ctx, p)
	if err != nil {
		return &sighting{err: err}, nil
	}
	var s *sighting
	var read int64
	err = r.Store.Peek(ctx, info, func(nar io.Reader) error {
		in := &bounded{r: nar, left: *left}
		var err error
		s, err = findProgram(in, arch)
		read = *left - in.left
		return err
	})
	if err != nil {
		return &sighting{err: err}, nil
	}
	*left -= read
	s.size = info.NarSize
	if s.program != "" {
		r.mu.Lock()
		r.looks[key] = s
		r.mu.Unlock()
	}
	return s, info
}

// bounded is a reader with an end that it does not hide.
type bounded struct {
	r    io.Reader
	left int64
}

var errBound = errors.New("enough was read")

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errBound
	}
	n, err := b.r.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}

// headerSize is how much of a program says what it is for: an ELF header as far as
// e_machine.
const headerSize = 20

// findProgram reads a NAR up to the first program that says which machine it is
// for. Programs of 32 bits do not say that about x86_64-linux, whose packages can
// have some.
func findProgram(r io.Reader, arch string) (*sighting, error) {
	s := &sighting{none: "it has no programs that tell its machine"}
	n := nar.NewReader(r)
	n.AllowDepth(1 << 10)
	for {
		h, err := n.Next()
		switch {
		case err == io.EOF:
			return s, nil
		case errors.Is(err, errBound):
			return &sighting{none: fmt.Sprintf("no program in its first %d MiB tells its machine", maxPeek>>20)}, nil
		case err != nil:
			return nil, err
		case h.Size < headerSize || !mayBeProgram(h):
			continue
		}
		path := h.Path
		var head [headerSize]byte
		if _, err := io.ReadFull(n, head[:]); err != nil && !errors.Is(err, errBound) {
			return nil, err
		}
		name, systems := programFor(head)
		if name == "" {
			continue
		}
		found := &sighting{program: clip(path) + " is " + name, systems: systems}
		if arch == "x86_64-linux" && slices.Contains(systems, "i686-linux") {
			s = found // unless there is more
			continue
		}
		return found, nil
	}
}

// mayBeProgram leaves out what is no program by its name and mode: firmware too
// comes as ELF.
func mayBeProgram(h *nar.Header) bool {
	name := h.Path[strings.LastIndexByte(h.Path, '/')+1:]
	return h.Kind == nar.Executable || strings.Contains(name, ".so") || strings.HasSuffix(name, ".ko") || strings.HasSuffix(name, ".dylib")
}

// programFor tells what a file that begins so is for, "" if it does not say.
func programFor(head [headerSize]byte) (name string, systems []string) {
	if bytes.HasPrefix(head[:], []byte("\x7fELF")) {
		order := binary.ByteOrder(binary.LittleEndian)
		if head[5] == 2 {
			order = binary.BigEndian
		}
		for _, m := range machines {
			if order.Uint16(head[18:]) == m.number && head[4] == m.class && head[5] == m.data {
				return "ELF for " + m.name, m.systems
			}
		}
		return "", nil
	}
	if bytes.HasPrefix(head[:], []byte("\xcf\xfa\xed\xfe")) { // Mach-O, 64 bits; its cputype follows
		switch binary.LittleEndian.Uint32(head[4:]) {
		case 0x0100_0007:
			return "Mach-O for x86_64", []string{"x86_64-darwin"}
		case 0x0100_000c:
			return "Mach-O for aarch64", []string{"aarch64-darwin"}
		}
	}
	return "", nil
}
