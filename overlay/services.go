package overlay

import (
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"thaw/rootfs"
	"thaw/spec"
)

// services writes what the supervisor reads. Commands were split into words by
// the spec; here they are quoted for whatever reads them, so that nothing is
// expanded on the way.
func (b *builder) services() error {
	s := b.rootfs.Services
	if s == nil {
		return nil
	}
	w := serviceWriter{builder: b, Services: s}
	switch s.Supervisor {
	case "busybox":
		w.busybox()
	case "runit":
		w.runit()
	case "s6":
		w.s6()
	case "systemd":
		w.systemd()
	}
	return w.err
}

// servicesPlace is the place of what belongs to no service in particular.
const servicesPlace = "rootfs.services"

type serviceWriter struct {
	*builder
	*spec.Services
	err error // the first
}

// put adds a file with the mode perm.
func (w *serviceWriter) put(path string, perm fs.FileMode, content, place string) {
	if w.err == nil {
		w.err = w.file(path, perm, content, place)
	}
}

// link adds a symbolic link.
func (w *serviceWriter) link(path, target, place string) {
	if w.err == nil {
		w.err = w.builder.put(rootfs.Link(path, target), nil, place)
	}
}

// script adds a script of the shell.
func (w *serviceWriter) script(path, body, place string) {
	w.put(path, 0o755, "#!/bin/sh\n# Written by thaw from rootfs.services.\nexport PATH="+spec.Quote(w.searchPath())+"\n"+body, place)
}

func (w *serviceWriter) place(s *spec.Service) string {
	return w.spec.Place("rootfs.services.run", s.Origin)
}

// once are the services that run once, in order; lasting are the others.
func (w *serviceWriter) once() []spec.Service    { return w.which(true) }
func (w *serviceWriter) lasting() []spec.Service { return w.which(false) }

func (w *serviceWriter) which(once bool) []spec.Service {
	return slices.DeleteFunc(slices.Clone(w.Run), func(s spec.Service) bool { return s.Once != once })
}

// merged is the path of a file of the merged view.
func (b *builder) merged(path string) string {
	return strings.TrimSuffix(b.rootfs.Merge.Into, "/") + path
}

// searchPath is where programs are looked for.
func (b *builder) searchPath() string {
	dirs := "/bin:/sbin:/usr/bin:/usr/sbin"
	if into := b.rootfs.Merge.Into; into != "/" && into != "/usr" {
		dirs = into + "/bin:" + into + "/sbin:" + dirs
	}
	return dirs
}

// user returns the account of a service.
func (b *builder) user(s *spec.Service) spec.User {
	users := b.users()
	i := slices.IndexFunc(users, func(u spec.User) bool { return u.Name == s.User })
	return users[max(i, 0)]
}

// A switcher is how a supervisor runs a command as another user: a tool and its
// arguments.
type switcher func(u spec.User, command string) (tool, arguments string)

// run is a script that becomes the service.
func (w *serviceWriter) run(s *spec.Service, as switcher) string {
	u := w.user(s)
	var out strings.Builder
	fmt.Fprintf(&out, "export HOME=%s USER=%s LOGNAME=%s\n", spec.Quote(u.Home), u.Name, u.Name)
	command := s.Command.String()
	if u.UID != 0 || len(u.Groups) > 0 {
		tool, arguments := as(u, command)
		if slices.ContainsFunc(s.Environment, func(v spec.Variable) bool { return v.Name == "PATH" }) {
			// The service's own PATH need not lead to the tool.
			fmt.Fprintf(&out, "as=$(command -v %s || echo %[1]s)\n", tool)
			tool = `"$as"`
		}
		command = tool + " " + arguments
	}
	for _, v := range s.Environment {
		fmt.Fprintf(&out, "export %s=%s\n", v.Name, spec.Quote(v.Value))
	}
	fmt.Fprintf(&out, "cd %s || exit 1\nexec %s\n", spec.Quote(s.Directory), command)
	return out.String()
}

// su is how BusyBox runs a command as another user.
func su(u spec.User, command string) (string, string) {
	return "su", fmt.Sprintf("-m -s /bin/sh -c %s %s", spec.Quote("exec "+command), u.Name)
}

// tty is what makes a terminal the input and output of a script.
func tty(name string) string { return fmt.Sprintf("exec </dev/%s >/dev/%[1]s 2>&1\n", name) }

// runOnce are the lines that run the scripts in dir, one for each service that
// runs once, to their ends.
func (w *serviceWriter) runOnce(dir string, as switcher) string {
	var out strings.Builder
	for _, s := range w.once() {
		path := dir + "/" + s.Name
		body := w.run(&s, as)
		if s.Console != "" {
			body = tty(s.Console) + body
		}
		w.script(path, body, w.place(&s))
		fmt.Fprintf(&out, "/%s || echo \"%s failed: $?\" >&2\n", path, s.Name)
	}
	return out.String()
}

// getty are the arguments for a getty on a terminal.
func getty(terminal string) string {
	if vt, ok := strings.CutPrefix(terminal, "tty"); ok && strings.Trim(vt, "0123456789") == "" {
		return fmt.Sprintf("38400 %s linux", terminal)
	}
	return fmt.Sprintf("-L %s 115200 vt100", terminal)
}

// runGetty runs a getty, which is called agetty where there is no BusyBox, after
// a prefix.
func runGetty(prefix, terminal string) string {
	return fmt.Sprintf("getty=getty\ncommand -v getty >/dev/null || getty=agetty\nexec %s\"$getty\" %s\n", prefix, getty(terminal))
}

// boot is the part of a script that makes a system of a kernel with a root. It
// does nothing over that is done, as in a container.
func (w *serviceWriter) boot() string {
	var out strings.Builder
	out.WriteString(`mounted() {
	while read -r _ dir _; do
		[ "$dir" != "$1" ] || return 0
	done </proc/mounts
	return 1
}
[ -e /proc/mounts ] || mount -t proc -o nosuid,nodev,noexec proc /proc
mounted /sys || mount -t sysfs -o nosuid,nodev,noexec sysfs /sys
mounted /dev || mount -t devtmpfs -o nosuid,mode=0755 devtmpfs /dev
mounted /run || mount -t tmpfs -o nosuid,nodev,mode=0755 tmpfs /run
mkdir -p /dev/pts /dev/shm
mounted /dev/pts || mount -t devpts -o nosuid,noexec,mode=0620,ptmxmode=0666 devpts /dev/pts
mounted /dev/shm || mount -t tmpfs -o nosuid,nodev,mode=1777 tmpfs /dev/shm
`)
	root, all := "rw", "[ ! -e /etc/fstab ] || mount -a\n"
	for _, m := range w.rootfs.Mounts {
		all = ""
		if m.Path == "/" {
			root = remount(m.Options)
		}
	}
	fmt.Fprintf(&out, "mount -o %s /\n%s", spec.Quote("remount,"+root), all)
	for _, m := range w.rootfs.Mounts {
		if m.Path == "" || m.Path == "/" || slices.Contains(m.Options, "noauto") {
			continue
		}
		at := spec.Quote(m.Path)
		if volatile(path(m.Path)) {
			fmt.Fprintf(&out, "mkdir -p %s\n", at)
		}
		fmt.Fprintf(&out, "mounted %s || mount %s\n", spec.Quote(escape(m.Path)), at)
	}
	if slices.ContainsFunc(w.rootfs.Mounts, func(m spec.Mount) bool { return m.Type == "swap" }) {
		out.WriteString("swapon -a\n")
	}
	out.WriteString(`if [ -r /etc/hostname ]; then
	read -r name </etc/hostname
	echo "$name" >/proc/sys/kernel/hostname
fi
ip link set lo up 2>/dev/null || ifconfig lo up 2>/dev/null
`)
	return out.String()
}

// remount returns the options for mounting the root again: those that are the
// kernel's business, and always ro or rw.
func remount(options []string) string {
	out := slices.DeleteFunc(slices.Clone(options), func(o string) bool {
		return slices.Contains([]string{"defaults", "auto", "noauto", "nofail", "_netdev", "rw", "ro"}, o) || strings.HasPrefix(o, "x-")
	})
	if slices.Contains(options, "ro") {
		return strings.Join(append([]string{"ro"}, out...), ",")
	}
	return strings.Join(append([]string{"rw"}, out...), ",")
}

// halt is the part of a script that lets go of file systems.
const halt = "swapoff -a 2>/dev/null\numount -a -r 2>/dev/null\nsync\n"

// busybox writes what BusyBox's init reads.
func (w *serviceWriter) busybox() {
	const dir = "etc/init.d"
	var inittab strings.Builder
	line := func(terminal, action, command string) {
		fmt.Fprintf(&inittab, "%s::%s:%s\n", terminal, action, command)
	}
	inittab.WriteString("# Written by thaw from rootfs.services.\n")
	line("", "sysinit", "/"+dir+"/rcS")
	for _, s := range slices.Concat(w.once(), w.lasting()) {
		w.script(dir+"/"+s.Name, w.run(&s, su), w.place(&s))
		action := "respawn"
		if s.Once {
			action = "wait"
		}
		line(s.Console, action, "/"+dir+"/"+s.Name)
	}
	for _, t := range w.Getty {
		line(t, "respawn", "getty "+getty(t))
	}
	line("", "ctrlaltdel", "reboot")
	line("", "shutdown", "/"+dir+"/rcK")
	w.script(dir+"/rcS", w.boot(), servicesPlace)
	w.script(dir+"/rcK", halt, servicesPlace)
	w.put("etc/inittab", 0o644, inittab.String(), servicesPlace)
}
