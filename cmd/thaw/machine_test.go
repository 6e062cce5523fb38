package main

import (
	"bytes"
	"context"
	"io"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"thaw/internal/testbed"
)

// machine is a virtual machine whose serial console a test reads and types on. It
// waits for what the console shows, never for a time.
type machine struct {
	t     *testing.T
	ctx   context.Context
	cmd   *exec.Cmd
	in    io.WriteCloser
	out   chan []byte // what the console shows; closed at the end
	log   []byte      // all that it has shown
	asked int         // up to here it was waited for
}

// calm are arguments of kernels on busy computers that emulate each instruction: the
// kernel neither checks its timer against the clock nor says so, and nothing else,
// within what a test reads.
const calm = "no_timer_check nowatchdog loglevel=1"

// appended are the arguments of the kernel at the end of a command.
var appended = regexp.MustCompile(`-append "?([^"]*)"?$`)

// ended returns a context that ends early enough before all tests must have ended for
// what a machine has shown to be told.
func ended(t *testing.T) (context.Context, context.CancelFunc) {
	if end, ok := t.Deadline(); ok {
		return context.WithDeadline(t.Context(), end.Add(-time.Until(end)/10))
	}
	return context.WithCancel(t.Context())
}

// start runs a command of the shell in dir: one that starts qemu with the
// console on its standard input and output. At its end are arguments of the kernel.
func start(t *testing.T, dir, command string) *machine {
	t.Helper()
	testbed.Tool(t, "qemu-system-x86_64")
	command = appended.ReplaceAllString(command, `-append "$1 `+calm+`"`)
	if !strings.Contains(command, calm) {
		t.Fatalf("the command does not end with the kernel's arguments: %s", command)
	}
	ctx, cancel := ended(t)
	m := &machine{t: t, ctx: ctx, cmd: exec.CommandContext(ctx, "sh", "-c", "exec "+command), out: make(chan []byte)}
	m.cmd.Dir = dir
	r, w := io.Pipe()
	m.cmd.Stdout, m.cmd.Stderr = w, w
	var err error
	if m.in, err = m.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := m.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		err := m.cmd.Wait()
		w.CloseWithError(io.EOF)
		done <- err
	}()
	go func() {
		defer close(m.out)
		for {
			chunk := make([]byte, 4096)
			n, err := r.Read(chunk)
			if n > 0 {
				select {
				case m.out <- chunk[:n]:
				case <-ctx.Done(): // nobody reads any more
				}
			}
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return m
}

// shown is the end of what the console has shown.
func (m *machine) shown() []byte { return m.log[max(0, len(m.log)-6000):] }

// more waits for more on the console, and reports whether there is.
func (m *machine) more(waiting string) bool {
	m.t.Helper()
	select {
	case chunk, ok := <-m.out:
		m.log = append(m.log, chunk...)
		return ok
	case <-m.ctx.Done():
		m.t.Fatalf("waiting for %s: %v\n%s", waiting, m.ctx.Err(), m.shown())
	}
	return false
}

// expect waits for a text on the console, after what was waited for before, and
// returns what came between.
func (m *machine) expect(text string) string {
	m.t.Helper()
	for {
		if before, _, ok := bytes.Cut(m.log[m.asked:], []byte(text)); ok {
			m.asked += len(before) + len(text)
			return string(before)
		}
		if !m.more(text) {
			m.t.Fatalf("the machine ended before it showed %q\n%s", text, m.shown())
		}
	}
}

// send types something.
func (m *machine) send(text string) {
	m.t.Helper()
	if _, err := io.WriteString(m.in, text); err != nil {
		m.t.Fatalf("%v\n%s", err, m.shown())
	}
}

// login logs in and waits for the shell's prompt, such as "$ ".
func (m *machine) login(name, password, prompt string) {
	m.t.Helper()
	m.expect(" login: ")
	m.send(name + "\n")
	m.expect("Password: ")
	m.send(password + "\n")
	m.expect(prompt)
}

// ask has the shell run a command, which must print want.
func (m *machine) ask(command, want string) {
	m.t.Helper()
	m.send(`printf 'It says%s\n' " {$(` + command + ")}\"\n") // what is typed shows, too, and is not like the answer
	m.expect("It says {")
	if got := strings.ReplaceAll(m.expect("}\r\n"), "\r\n", "\n"); got != want {
		m.t.Errorf("%s\nsays %q instead of %q", command, got, want)
	}
}

// ends waits until the machine has powered off.
func (m *machine) ends() {
	m.t.Helper()
	for m.more("its end") {
	}
	if code := m.cmd.ProcessState.ExitCode(); code != 0 {
		m.t.Errorf("the virtual machine: exit %d\n%s", code, m.shown())
	}
}
