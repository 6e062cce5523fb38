package overlay

// inits are the programs that /sbin/init is a link to, where no package has one.
var inits = map[string]string{
	"busybox": "/bin/busybox",
	"runit":   "/bin/runit-init",
	"s6":      "/etc/s6/init",
	"systemd": "/lib/systemd/systemd",
}

func (b *builder) services() error { return nil }
