package overlay

import (
	"fmt"
	"slices"
	"strings"

	"thaw/rootfs"
	"thaw/spec"
)

// etc writes what the spec says of the machine into /etc.
func (b *builder) etc() error {
	r := b.rootfs
	for _, f := range []struct {
		given         bool
		path, content string
		key           string
	}{
		{r.Hostname != "", "etc/hostname", r.Hostname + "\n", "hostname"},
		{len(r.Hosts) > 0, "etc/hosts", b.hosts(), "hosts"},
		{len(r.OSRelease) > 0, "etc/os-release", osRelease(r.OSRelease), "os-release"},
		{r.MachineID == "empty", "etc/machine-id", "", "machine-id"},
		{r.MachineID == "uninitialized", "etc/machine-id", "uninitialized\n", "machine-id"},
		{len(r.Mounts) > 0, "etc/fstab", b.fstab(), "mounts"},
	} {
		if !f.given {
			continue
		}
		if err := b.file(f.path, 0o644, f.content, "rootfs."+f.key); err != nil {
			return err
		}
	}
	return nil
}

// defaults makes what an image wants and packages or files may have better.
func (b *builder) defaults() error {
	r := b.rootfs
	file := func(path, content string) { b.fallback(rootfs.Entry{Path: path, Mode: 0o644}, content) }
	if r.Hostname != "" {
		file("etc/hosts", b.hosts())
	}
	if r.Hostname != "" || len(r.Hosts) > 0 || b.hasAccounts() {
		// Without it, some C libraries ask the network before /etc/hosts.
		file("etc/nsswitch.conf", "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\n")
	}
	if r.Services == nil {
		return nil
	}
	// systemd takes a root without it for none.
	file("etc/os-release", "ID=linux\nNAME=Linux\n")
	if r.Services.Supervisor == "systemd" && r.MachineID == "" {
		file("etc/machine-id", "")
	}
	init := map[string]string{
		"busybox": b.merged("/bin/busybox"), "runit": b.merged("/bin/runit-init"),
		"s6": "/etc/s6/init", "systemd": b.merged("/lib/systemd/systemd"),
	}
	b.fallback(rootfs.Link("sbin/init", init[r.Services.Supervisor]), "")
	return nil
}

// hosts is the content of /etc/hosts: the host itself as Debian has it, then what
// the spec lists.
func (b *builder) hosts() string {
	var out strings.Builder
	out.WriteString("127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n")
	if name := b.rootfs.Hostname; name != "" && name != "localhost" {
		out.WriteString("127.0.1.1 " + name)
		if short, _, dotted := strings.Cut(name, "."); dotted {
			out.WriteString(" " + short)
		}
		out.WriteString("\n")
	}
	for _, h := range b.rootfs.Hosts {
		fmt.Fprintf(&out, "%s %s\n", h.Address, strings.Join(h.Names, " "))
	}
	return out.String()
}

// osRelease is the content of /etc/os-release, quoted for shells as os-release(5)
// says.
func osRelease(variables []spec.Variable) string {
	escape := strings.NewReplacer(`\`, `\\`, `"`, `\"`, `$`, `\$`, "`", "\\`")
	var out strings.Builder
	for _, v := range variables {
		value := v.Value
		if spec.Quote(value) != value {
			value = `"` + escape.Replace(value) + `"`
		}
		fmt.Fprintf(&out, "%s=%s\n", v.Name, value)
	}
	return out.String()
}

// mounts makes the directories that are mounted over.
func (b *builder) mounts() error {
	for _, m := range b.rootfs.Mounts {
		if m.Path == "" || volatile(path(m.Path)) {
			continue // there, once something is mounted above it
		}
		if err := b.dir(path(m.Path), b.spec.Place("rootfs.mounts", m.Origin)); err != nil {
			return err
		}
	}
	return nil
}

// escape writes a field of fstab, or of /proc/mounts, as the kernel does.
var escape = strings.NewReplacer(" ", `\040`, "\t", `\011`, "\n", `\012`, `\`, `\134`, "#", `\043`).Replace

// fstab is the content of /etc/fstab.
func (b *builder) fstab() string {
	var out strings.Builder
	for _, m := range b.rootfs.Mounts {
		at := m.Path
		if at == "" {
			at = "none"
		}
		options := slices.Clone(m.Options)
		if len(options) == 0 {
			options = []string{"defaults"}
		}
		for i, o := range options {
			options[i] = escape(o)
		}
		fmt.Fprintf(&out, "%s %s %s %s 0 %d\n", escape(m.Source), escape(at), m.Type, strings.Join(options, ","), m.Pass)
	}
	return out.String()
}
