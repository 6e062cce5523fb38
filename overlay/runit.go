package overlay

import (
	"fmt"
	"slices"
	"strings"

	"thaw/spec"
)

// runit writes the three stages of runit and the directories of its services:
// /etc/sv/NAME, enabled by links in /etc/service. What runit writes to is in
// /run, so that the root may be read-only.
func (w *serviceWriter) runit() {
	const dir, state = "etc/runit", "/run/runit"
	once := w.runOnce(dir+"/once", chpst)
	w.script(dir+"/1", w.boot()+"mkdir -p "+state+"\n"+once, servicesPlace)
	w.script(dir+"/2", "exec runsvdir -P /etc/service\n", servicesPlace)
	w.script(dir+"/3", "sv -w 20 force-stop /etc/service/* 2>/dev/null\nsv exit /etc/service/* 2>/dev/null\n"+halt, servicesPlace)
	w.script(dir+"/ctrlaltdel", fmt.Sprintf("cd %s || exit 1\n: >reboot\n: >stopit\nchmod 100 reboot stopit\n", state), servicesPlace)
	w.link(dir+"/reboot", state+"/reboot", servicesPlace)
	w.link(dir+"/stopit", state+"/stopit", servicesPlace)
	if w.err == nil { // where there is no stage 1, as in a container
		w.err = w.dir(state[1:], servicesPlace)
	}
	if w.err == nil {
		w.err = w.dir("etc/service", servicesPlace)
	}
	service := func(name, run, place string) {
		w.script("etc/sv/"+name+"/run", run, place)
		w.link("etc/sv/"+name+"/supervise", state+"/supervise."+name, place)
		w.link("etc/service/"+name, "/etc/sv/"+name, place)
	}
	for _, s := range w.lasting() {
		body := w.run(&s, chpst)
		if s.Console != "" {
			// Only the first process of a session gets a terminal of its own.
			body = "[ \"$1\" = first ] || exec chpst -P \"$0\" first\n" + tty(s.Console) + body
		}
		service(s.Name, body, w.place(&s))
	}
	for _, t := range w.Getty {
		service("getty-"+t, runGetty("chpst -P ", t), servicesPlace)
	}
}

// chpst is how runit runs a command as another user.
func chpst(u spec.User, command string) (string, string) {
	groups := slices.Concat([]string{u.Name, u.Group}, u.Groups)
	return "chpst", fmt.Sprintf("-u %s %s", strings.Join(groups, ":"), command)
}
