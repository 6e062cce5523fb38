package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"thaw/narinfo"
	"thaw/substituter"
)

// ui tells a person, or a program, how a run goes: one line a finished step, and
// between them, on a terminal, one line that changes. It writes to standard
// error only.
type ui struct {
	out     io.Writer
	mode    string // "live", "plain", "json" or "none"
	verbose bool

	mu       sync.Mutex
	received map[string]int64 // bytes by cache
	fetched  int              // objects
	warnings []string
	live     *live // nil between the steps
}

// live is the step that is going on.
type live struct {
	name         string
	started      time.Time
	paths, total int64 // how many objects and bytes will come
	stop, ended  chan struct{}
}

// ui starts the reporting of a verb, and checks the global options.
func (a *app) ui() (*ui, error) {
	if err := a.global.check(); err != nil {
		return nil, err
	}
	u := &ui{out: a.stderr, mode: a.global.progress, verbose: a.global.verbose, received: map[string]int64{}}
	if u.mode == "auto" {
		u.mode = "plain"
		if f, ok := a.stderr.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
			u.mode = "live"
		}
	}
	if a.global.quiet {
		u.mode = "none"
	}
	return u, nil
}

func (u *ui) events() *substituter.Events {
	return &substituter.Events{
		Warn: u.warn,
		Received: func(cache string, n int) {
			u.mu.Lock()
			defer u.mu.Unlock()
			u.received[cache] += int64(n)
		},
		Stored: func(info *narinfo.Info) {
			u.mu.Lock()
			defer u.mu.Unlock()
			u.fetched++
			if u.verbose {
				u.line("fetched", fmt.Sprintf("%s  %s", info.StorePath.Base(), inBytes(info.NarSize)))
			}
		},
	}
}

func (u *ui) warn(text string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.warnings = append(u.warnings, text)
	if u.mode == "json" {
		u.json("warning", text)
		return
	}
	u.clear()
	fmt.Fprintf(u.out, "thaw: warning: %s\n", text)
}

// step reports a finished step.
func (u *ui) step(name, format string, a ...any) {
	u.finish()
	u.mu.Lock()
	defer u.mu.Unlock()
	u.line(name, fmt.Sprintf(format, a...))
}

// line prints one line. u.mu is held.
func (u *ui) line(name, text string) {
	switch u.mode {
	case "none":
	case "json":
		u.json(name, text)
	default:
		u.clear()
		fmt.Fprintf(u.out, "%-10s %s\n", name, text)
	}
}

func (u *ui) json(event, text string) {
	line, err := json.Marshal(map[string]string{"event": event, "text": text})
	if err == nil {
		fmt.Fprintf(u.out, "%s\n", line)
	}
}

// clear removes the line that changes.
func (u *ui) clear() {
	if u.mode == "live" && u.live != nil {
		fmt.Fprint(u.out, "\r\x1b[K")
	}
}

// begin starts a step in which paths objects of total bytes, as served, arrive.
func (u *ui) begin(name string, paths, total int64) {
	u.finish()
	if u.mode != "live" {
		return
	}
	l := &live{name, time.Now(), paths, total, make(chan struct{}), make(chan struct{})}
	u.mu.Lock()
	u.live = l
	u.mu.Unlock()
	go func() {
		defer close(l.ended)
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				u.draw(l)
			case <-l.stop:
				return
			}
		}
	}()
}

const barWidth = 20

func (u *ui) draw(l *live) {
	u.mu.Lock()
	defer u.mu.Unlock()
	got := u.sum()
	text := fmt.Sprintf("%d/%d paths  %s", u.fetched, l.paths, inBytes(got))
	if l.total > 0 {
		full := int(min(got*barWidth/l.total, barWidth))
		text = fmt.Sprintf("%s%s %d/%d paths  %s of %s", strings.Repeat("█", full), strings.Repeat("░", barWidth-full), u.fetched, l.paths, inBytes(got), inBytes(l.total))
	}
	if s := time.Since(l.started).Seconds(); s > 0.5 {
		text += fmt.Sprintf("  %s/s", inBytes(int64(float64(got)/s)))
	}
	line := []rune(fmt.Sprintf("%-10s %s", l.name, text))
	fmt.Fprintf(u.out, "\r\x1b[K%s", string(line[:min(len(line), u.width())]))
}

// width returns how much of a line the terminal shows.
func (u *ui) width() int {
	if f, ok := u.out.(*os.File); ok {
		if w, _, err := term.GetSize(int(f.Fd())); err == nil && w > 1 {
			return w - 1
		}
	}
	return 79
}

// finish ends the step that is going on.
func (u *ui) finish() {
	u.mu.Lock()
	l := u.live
	u.mu.Unlock()
	if l == nil {
		return
	}
	close(l.stop)
	<-l.ended
	u.mu.Lock()
	u.clear()
	u.live = nil
	u.mu.Unlock()
}

// close ends the reporting. It may be called twice.
func (u *ui) close() { u.finish() }

func (u *ui) sum() (n int64) {
	for _, b := range u.received {
		n += b
	}
	return n
}

// totals returns what has come so far.
func (u *ui) totals() (objects int, bytes int64, byCache map[string]int64, warnings []string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.fetched, u.sum(), maps.Clone(u.received), append([]string{}, u.warnings...)
}

// inBytes prints a number of bytes for people.
func inBytes(n int64) string {
	switch {
	case n < 1<<10:
		return fmt.Sprintf("%d B", n)
	case n < 1<<20:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	case n < 1<<30:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%.2f GiB", float64(n)/(1<<30))
}

// count prints a number of things.
func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
