package overlay

import (
	"fmt"

	"thaw/spec"
)

// s6 writes an init, /etc/s6/init, that copies the service directories of
// /etc/s6/services to /run/service and becomes s6-svscan there: s6 writes to them,
// and the root may be read-only.
func (w *serviceWriter) s6() {
	const dir = "etc/s6"
	once := w.runOnce(dir+"/once", s6Setuidgid)
	w.script(dir+"/init", w.boot()+once+"rm -rf /run/service\ncp -R /"+dir+"/services /run/service\nexec s6-svscan /run/service\n", servicesPlace)
	const scan = dir + "/services/.s6-svscan"
	w.script(scan+"/finish", "how=poweroff\n[ ! -e /run/shutdown ] || read -r how </run/shutdown\nkill -TERM -1 2>/dev/null && sleep 1\nkill -KILL -1 2>/dev/null\n"+halt+"exec \"$how\" -f\n", servicesPlace)
	// What halt, poweroff and reboot send to the first process.
	for _, s := range [][2]string{{"SIGUSR1", "halt"}, {"SIGUSR2", "poweroff"}, {"SIGTERM", "reboot"}, {"SIGINT", "reboot"}} {
		w.script(scan+"/"+s[0], fmt.Sprintf("echo %s >/run/shutdown\nexec s6-svscanctl -t /run/service\n", s[1]), servicesPlace)
	}
	for _, s := range w.lasting() {
		body := w.run(&s, s6Setuidgid)
		if s.Console != "" {
			body = tty(s.Console) + body
		}
		w.script(dir+"/services/"+s.Name+"/run", body, w.place(&s))
	}
	for _, t := range w.Getty {
		w.script(dir+"/services/getty-"+t+"/run", runGetty("", t), servicesPlace)
	}
}

// s6Setuidgid is how s6 runs a command as another user.
func s6Setuidgid(u spec.User, command string) (string, string) {
	return "s6-setuidgid", u.Name + " " + command
}
