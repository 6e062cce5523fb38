package substituter

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	fault "thaw/internal/faultserver"
	"thaw/internal/testbed"
	"thaw/storepath"
)

// program builds thaw.
func program(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "thaw")
	cmd := exec.Command("go", "build", "-o", file, "./cmd/thaw")
	cmd.Dir = testbed.Root(t)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return file
}

// system is a cache with some small objects and some large ones, and a root that
// refers to all.
func system() (files fault.Files, root storepath.Path) {
	files = fault.Files{}
	refs := []storepath.Path{files.Wide(signer, 60, 8)}
	for i := range 4 {
		name := fmt.Sprintf("large-%d", i)
		refs = append(refs, files.Add(signer, name, []string{"zstd", "none"}[i%2], fault.NAR(fault.Noise(name, (i+1)<<20))).StorePath)
	}
	return files, files.Add(signer, "system", "zstd", fault.NAR([]byte("all")), refs...).StorePath
}

// build starts a build of an image.
func build(thaw, url, cache, out string, root storepath.Path) (cmd *exec.Cmd, stdout, stderr *bytes.Buffer) {
	stdout, stderr = &bytes.Buffer{}, &bytes.Buffer{}
	cmd = exec.Command(thaw, "build", root.String(), "-o", out, "--cache", url, "--cache-dir", cache, "--trusted-key", signer.Key().String(), "--quiet")
	cmd.Stdout, cmd.Stderr = stdout, stderr
	return cmd, stdout, stderr
}

// bell rings at a request of a server.
type bell struct {
	left atomic.Int64
	rung chan struct{}
}

func newBell() *bell { return &bell{rung: make(chan struct{}, 1)} }

// at makes the bell ring at the request that comes after so many others.
func (b *bell) at(others int) {
	b.left.Store(0)
	select {
	case <-b.rung: // nobody has heard it
	default:
	}
	b.left.Store(int64(others) + 1)
}

// hear is a fault of all answers that changes nothing.
func (b *bell) hear(*fault.Answer) {
	if b.left.Add(-1) == 0 {
		b.rung <- struct{}{}
	}
}

// A build that is killed, at any of its requests and after the last, leaves nothing that
// hurts: an image is whole if it is there, and the next build makes the same one, fetches
// no finished NAR again, and cleans up.
func TestKilled(t *testing.T) {
	kills := 60
	if testing.Short() {
		kills = 8
	}
	thaw := program(t)
	files, root := system()
	b := newBell()
	server := fault.Unstarted(t, files, fault.Rule{Fault: b.hear}, fault.Rule{Path: aNAR, Fault: fault.Dripping(256<<10, 4*time.Millisecond)})
	server.Latency = time.Millisecond
	server.Start()

	out, whole := filepath.Join(t.TempDir(), "image.tar"), t.TempDir()
	cmd, want, stderr := build(thaw, server.URL, whole, out, root)
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s", err, stderr)
	}
	image, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	requests := len(server.Log())
	nars := func(cache string) []string {
		there, _ := filepath.Glob(cache + "/nar/*.nar")
		return there
	}
	// written returns how much of an image is there under the names that match.
	written := func(pattern string) (size int) {
		there, _ := filepath.Glob(pattern)
		for _, name := range there {
			if st, err := os.Stat(name); err == nil {
				size += int(st.Size())
			}
		}
		return size
	}
	const temp = "/.image.tar.*.part"
	// After the last request the kills come at these moments, or later, or never.
	moments := []func(dir, cache string) bool{
		func(_, cache string) bool { return len(nars(cache)) > 0 },
		func(_, cache string) bool { return len(nars(cache)) == len(nars(whole)) },
		func(dir, _ string) bool { return written(dir+temp) > len(image)/2 },
		func(dir, _ string) bool { return written(dir+temp) == len(image) },
		func(dir, _ string) bool { return written(dir+"/image.tar") > 0 },
	}
	digest := func(line *bytes.Buffer) string { return line.String()[strings.IndexByte(line.String(), '\t'):] }

	finished, again, resumed := 0, 0, 0
	for n := range kills + len(moments) {
		dir, cache := t.TempDir(), t.TempDir()
		out := filepath.Join(dir, "image.tar")
		cmd, said, told := build(thaw, server.URL, cache, out, root)
		b.at((requests - 1) * min(n, kills-1) / (kills - 1))
		ended := start(t, cmd)
		select {
		case <-b.rung:
		case <-ended:
		}
		for n >= kills && !moments[n-kills](dir, cache) && !closed(ended) {
			time.Sleep(100 * time.Microsecond)
		}
		cmd.Process.Kill()
		<-ended
		if code := cmd.ProcessState.ExitCode(); code > 0 {
			t.Fatalf("before kill %d it ended with %d: %s", n, code, told)
		}
		there := nars(cache)
		if got, err := os.ReadFile(out); (err == nil || said.Len() > 0) && !bytes.Equal(got, image) {
			t.Errorf("kill %d left an image of %d bytes instead of %d: %v; it said %q", n, len(got), len(image), err, said)
		}
		before := len(server.Log())

		cmd, got, stderr := build(thaw, server.URL, cache, out, root)
		if err := cmd.Run(); err != nil {
			t.Fatalf("after kill %d: %v\n%s", n, err, stderr)
		}
		if digest(got) != digest(want) {
			t.Errorf("after kill %d: %s instead of %s", n, got, want)
		}
		if b, err := os.ReadFile(out); !bytes.Equal(b, image) {
			t.Errorf("after kill %d: other bytes, %v", n, err)
		}
		if left := rests(t, cache); len(left) > 0 {
			t.Errorf("after kill %d: left in the cache: %q", n, left)
		}
		if list, err := os.ReadDir(dir); err != nil || len(list) != 1 {
			t.Errorf("after kill %d: beside the output: %v, %v", n, list, err)
		}
		finished += len(there)
		fetched := map[string]int{}
		for _, q := range server.Log()[before:] {
			fetched[q.Path]++
			if q.Header.Get("Range") != "" {
				resumed++
			}
		}
		for name, text := range files {
			if !strings.HasSuffix(name, ".narinfo") || fetched["nar/"+fileOf(text)] == 0 {
				continue
			}
			for _, nar := range there {
				if strings.Contains(string(text), "NarHash: sha256:"+strings.TrimSuffix(filepath.Base(nar), ".nar")) {
					again++
				}
			}
		}
	}
	t.Logf("%d kills: %d NARs were finished, %d of them fetched again; %d downloads went on where they were", kills+len(moments), finished, again, resumed)
	if again > 0 || finished == 0 {
		t.Errorf("%d of %d finished NARs were fetched again", again, finished)
	}
}

// closed reports whether a channel is closed.
func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// fileOf returns the name of the NAR's file in the text of a narinfo.
func fileOf(text []byte) string {
	_, rest, _ := strings.Cut(string(text), "URL: nar/")
	name, _, _ := strings.Cut(rest, "\n")
	return name
}

// Processes that build different images over one cold directory at once all
// succeed, and fetch each NAR once; one that is killed is replaced by another.
func TestManyProcesses(t *testing.T) {
	thaw := program(t)
	files, root := system()
	for _, kill := range []bool{false, true} {
		var roots []storepath.Path
		for i := range 8 {
			name := fmt.Sprintf("image-%d", i)
			roots = append(roots, files.Add(signer, name, "none", fault.NAR([]byte(name)), root).StorePath)
		}
		b := newBell()
		server := fault.Unstarted(t, files, fault.Rule{Path: aNAR, Fault: b.hear}, fault.Rule{Path: aNAR, Fault: fault.Dripping(256<<10, 2*time.Millisecond)})
		server.Latency = time.Millisecond
		server.Start()
		cache, dir := t.TempDir(), t.TempDir()
		var wg sync.WaitGroup
		if kill { // the first one at work, before any can be done
			cmd, _, stderr := build(thaw, server.URL, cache, dir+"/0.tar", roots[0])
			b.at(0)
			ended := start(t, cmd)
			select {
			case <-b.rung:
				b.at(len(files) / 8)
			case <-ended: // which is wrong even if both are ready
				t.Fatalf("it ended at its first NAR or before: %s", stderr)
			}
			wg.Go(func() {
				select {
				case <-b.rung:
				case <-ended:
					if len(b.rung) == 0 { // else both were ready
						t.Errorf("it ended before it was killed: %s", stderr)
					}
				}
				cmd.Process.Kill()
				<-ended
				if code := cmd.ProcessState.ExitCode(); code > 0 {
					t.Errorf("it ended with %d: %s", code, stderr)
				}
			})
			roots = roots[1:]
		}
		for i, root := range roots {
			wg.Go(func() {
				cmd, _, stderr := build(thaw, server.URL, cache, fmt.Sprintf("%s/%d.tar", dir, i+1), root)
				if err := cmd.Run(); err != nil {
					t.Errorf("process %d: %v\n%s", i, err, stderr)
				}
			})
		}
		wg.Wait()
		asked := map[string]int{}
		for _, q := range server.Log() {
			if strings.HasPrefix(q.Path, "nar/") {
				asked[q.Path]++
			}
		}
		twice := 0
		for name, n := range asked {
			if n > 1 {
				twice++
			}
			if n > 2 || n > 1 && !kill {
				t.Errorf("%s is asked for %d times", name, n)
			}
		}
		t.Logf("killed %v: %d NARs, %d asked for twice", kill, len(asked), twice)
		if left := rests(t, cache); len(left) > 0 && !kill {
			t.Errorf("left behind: %q", left)
		}
	}
}

// start starts a program. The channel is closed when it has ended.
func start(t *testing.T, cmd *exec.Cmd) <-chan struct{} {
	t.Helper()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		cmd.Wait()
		close(ended)
	}()
	return ended
}
