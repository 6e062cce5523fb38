package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"thaw/benchmarks/internal/measure"
)

// tooLong is when a run is ended.
const tooLong = 5 * time.Minute

// A bench measures rows.
type bench struct {
	ctx                    context.Context // ends with the first signal
	dir, caches, thaw, url string
	runs                   int
	results                map[string]string // digests by result and content
}

// measure measures a row, all its sides in turns.
func (b *bench) measure(r *row) error {
	sides := []*program{&r.Ours}
	for i := range r.Peers {
		if p := &r.Peers[i].program; p.Script != "" {
			sides = append(sides, p)
		}
	}
	warm := filepath.Join(b.dir, "warm")
	defer removeAll(warm)
	if r.warm != "" {
		if err := os.Mkdir(warm, 0o777); err != nil {
			return err
		}
		if err := b.once(r, &program{Script: r.warm}, nil); err != nil {
			return err
		}
	}
	for n := range b.runs {
		for i, p := range sides {
			if err := b.once(r, p, func(dir string, said []byte) (err error) {
				if i == 0 || n == 0 && r.result != image { // others are believed after that
					p.Digest, err = b.digest(r, dir, said)
				}
				return err
			}); err != nil {
				return err
			}
		}
	}
	if !traced() {
		return nil
	}
	for _, p := range sides {
		t := program{Script: p.Script}
		if err := b.once(r, &t, func(dir string, _ []byte) (err error) {
			p.Syscalls, err = calls(filepath.Join(dir, "strace"))
			return err
		}, "strace", "-f", "-c", "-o", "strace"); err != nil {
			return err
		}
	}
	return nil
}

// fresh makes an empty directory for a run, on a file system of its own where this
// user may mount one: an ext4 in which thousands of files were removed within the last
// minutes, those of the run before, takes several times as long to make others.
func (b *bench) fresh() (dir string, remove func(), err error) {
	dir = filepath.Join(b.dir, "run")
	if os.Geteuid() != 0 {
		if err := removeAll(dir); err != nil {
			return "", nil, err
		}
		return dir, func() { removeAll(dir) }, os.Mkdir(dir, 0o777)
	}
	disk := dir + ".ext4"
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return "", nil, err
	}
	for _, args := range [][]string{
		{"truncate", "--size=8G", disk},
		{measure.Program("mkfs.ext4"), "-q", "-F", "-m", "0", disk},
		{"mount", "-o", "loop,noinit_itable", disk, dir},
	} {
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			os.Remove(disk)
			return "", nil, fmt.Errorf("%v: %w: %s", args, err, out)
		}
	}
	return dir, func() {
		if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil {
			log.Printf("umount %s: %v: %s", dir, err, out)
		}
		os.Remove(disk)
	}, nil
}

// once runs a program once, below others if there are any, in a fresh directory,
// which after then sees, with what the program printed.
func (b *bench) once(r *row, p *program, after func(dir string, said []byte) error, below ...string) error {
	dir, done, err := b.fresh()
	if err != nil {
		return err
	}
	defer done()
	home := filepath.Join(dir, "home")
	if err := os.MkdirAll(home, 0o777); err != nil {
		return err
	}
	url := b.url
	if r.Latency != 0 {
		url += "/" + r.Latency.String()
	}
	keyFile := filepath.Join(b.caches, keysFile)
	keys, err := os.ReadFile(keyFile)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(b.ctx, tooLong)
	defer cancel()
	args := slices.Concat(below, []string{"sh", "-c", p.Script})
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir = dir
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH") + ":/usr/sbin:/sbin", "HOME=" + home, "TMPDIR=" + home, "LC_ALL=C",
		"THAW=" + b.thaw, "CACHES=" + b.caches, "URL=" + url + "/" + r.Cache, "P=" + strings.Join(r.paths, " "),
		"KEYFILE=" + keyFile, "KEYS=" + strings.Join(strings.Fields(string(keys)), " "),
		"DIR=" + dir, "WARM=" + filepath.Join(b.dir, "warm"),
	}
	// What the shell started ends with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return unix.Kill(-cmd.Process.Pid, unix.SIGKILL) }

	// What the run before left is not written during this one.
	unix.Sync()
	if _, err := ask(b.url); err != nil {
		return err
	}
	said, err := p.Run(cmd)
	if ctx.Err() != nil {
		return fmt.Errorf("%s: %w", p.Script, context.Cause(ctx))
	}
	if err != nil {
		return err
	}
	if p.Asked, err = ask(b.url); err != nil {
		return err
	}
	if after == nil {
		return nil
	}
	return after(dir, said)
}

// digest returns the digest of what a run left, which has to be that of all the runs
// before.
func (b *bench) digest(r *row, dir string, said []byte) (string, error) {
	var digest string
	var err error
	switch r.result {
	case image:
		fields := strings.Fields(string(said))
		if len(fields) == 0 || !strings.HasPrefix(fields[len(fields)-1], "sha256:") {
			return "", fmt.Errorf("no digest in %q", said)
		}
		digest = fields[len(fields)-1]
	case list:
		var text []byte
		text, err = os.ReadFile(filepath.Join(dir, "list"))
		lines := slices.Sorted(strings.Lines(string(text)))
		digest = fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(strings.Join(lines, ""))))
	case tree:
		digest, err = treeDigest(filepath.Join(dir, "root", "nix", "store"))
	}
	if err != nil {
		return "", err
	}
	key := fmt.Sprint(r.result, r.content)
	if was := b.results[key]; was != "" && was != digest {
		return "", fmt.Errorf("the result has the digest %s, and had %s before", digest, was)
	}
	b.results[key] = digest
	return digest, nil
}

// treeDigest is of the names, modes and contents of a store's objects.
func treeDigest(store string) (string, error) {
	all := sha256.New()
	err := filepath.WalkDir(store, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if path == store {
			return nil
		}
		if path == filepath.Join(store, ".links") { // of Nix alone
			return fs.SkipDir
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		var content string
		switch d.Type() {
		case fs.ModeSymlink:
			if content, err = os.Readlink(path); err != nil {
				return err
			}
		case 0:
			f, err := os.Open(path)
			if err != nil {
				return err
			}
			defer f.Close()
			h := sha256.New()
			if _, err := io.Copy(h, f); err != nil {
				return err
			}
			content = string(h.Sum(nil))
		}
		fmt.Fprintf(all, "%q %v %d %q\n", path[len(store):], info.Mode(), info.ModTime().Unix(), content)
		return nil
	})
	return fmt.Sprintf("sha256:%x", all.Sum(nil)), err
}

// traced reports whether system calls can be counted.
var traced = sync.OnceValue(func() bool {
	err := exec.Command("strace", "-c", "-o", os.DevNull, "true").Run()
	if err != nil {
		log.Printf("SKIPPED: system calls: strace: %v", err)
	}
	return err == nil
})

// calls returns how many system calls a summary of strace has.
func calls(file string) (int64, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	lines := bytes.Split(bytes.TrimSpace(text), []byte("\n"))
	fields := strings.Fields(string(lines[len(lines)-1]))
	if len(fields) < 5 || fields[len(fields)-1] != "total" {
		return 0, fmt.Errorf("strace ends with %q", fields)
	}
	return strconv.ParseInt(fields[3], 10, 64)
}

// removeAll removes a directory, with those below it that say that they are for
// reading only.
func removeAll(dir string) error {
	if os.RemoveAll(dir) == nil {
		return nil
	}
	filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error { // RemoveAll tells
		if d != nil && d.IsDir() {
			os.Chmod(path, 0o700)
		}
		return nil
	})
	return os.RemoveAll(dir)
}
