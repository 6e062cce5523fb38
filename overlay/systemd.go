package overlay

import (
	"fmt"
	"slices"
	"strings"

	"thaw/spec"
)

// systemd writes units to /etc/systemd/system, and the links that make
// multi-user.target want them. The targets and systemd's own units come from
// packages.
func (w *serviceWriter) systemd() {
	const dir = "etc/systemd/system"
	after := ""
	for _, s := range slices.Concat(w.once(), w.lasting()) {
		unit := s.Name + ".service"
		place := w.place(&s)
		if strings.HasSuffix(s.Directory, " ") || strings.HasSuffix(s.Directory, `\`) {
			w.err = fmt.Errorf("%s: systemd takes no directory that ends in a blank or backslash", place)
			return
		}
		w.put(dir+"/"+unit, 0o644, w.unit(&s, after), place)
		w.link(dir+"/multi-user.target.wants/"+unit, "../"+unit, place)
		if s.Once {
			after = " " + unit
		}
	}
	for _, t := range w.Getty {
		unit := "serial-getty@"
		if strings.HasPrefix(getty(t), "38400") {
			unit = "getty@"
		}
		// systemd goes by the name of the link.
		w.link(dir+"/getty.target.wants/"+unit+t+".service", "../"+unit+".service", servicesPlace)
	}
}

// unit is the unit of a service that starts after another, if that is not "".
func (w *serviceWriter) unit(s *spec.Service, after string) string {
	var out strings.Builder
	fmt.Fprintf(&out, "# Written by thaw from rootfs.services.\n[Unit]\nDescription=%s\nAfter=network.target%s\n", s.Name, after)
	if !s.Once {
		out.WriteString("StartLimitIntervalSec=0\n")
	}
	words := make([]string, len(s.Command.Words))
	for i, word := range s.Command.Words {
		words[i] = unitQuote(strings.ReplaceAll(word, "$", "$$"))
	}
	fmt.Fprintf(&out, "\n[Service]\nExecStart=%s\nUser=%s\nWorkingDirectory=%s\n", strings.Join(words, " "), s.User, strings.ReplaceAll(s.Directory, "%", "%%"))
	fmt.Fprintf(&out, "Environment=%s\n", unitQuote("PATH="+w.searchPath()))
	for _, v := range s.Environment {
		fmt.Fprintf(&out, "Environment=%s\n", unitQuote(v.Name+"="+v.Value))
	}
	if s.Once {
		out.WriteString("Type=oneshot\nRemainAfterExit=yes\n")
	} else {
		out.WriteString("Restart=always\nRestartSec=1\n")
	}
	if s.Console != "" {
		fmt.Fprintf(&out, "StandardInput=tty\nStandardOutput=inherit\nStandardError=inherit\nTTYPath=/dev/%s\nTTYReset=yes\n", s.Console)
	}
	out.WriteString("\n[Install]\nWantedBy=multi-user.target\n")
	return out.String()
}

// unitQuote writes a text as one word of a unit, in which no specifier is
// expanded.
func unitQuote(s string) string {
	s = strings.ReplaceAll(s, "%", "%%")
	if spec.Quote(s) == s {
		return s
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\t", `\t`).Replace(s) + `"`
}
