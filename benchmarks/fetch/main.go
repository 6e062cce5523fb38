// Command fetch measures how thaw gets along with latency: it serves caches over
// loopback, waits before each answer, and runs a thaw binary on them.
//
//	go build -o /tmp/thaw ./cmd/thaw && go run ./benchmarks/fetch -thaw /tmp/thaw -testbed ../shared
//
// Each line has the time of the best of several runs, what latency alone would
// cost, and the most memory that a run took.
package main

import (
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"thaw/internal/faultserver"
	"thaw/storepath"
)

func main() {
	var b bench
	testbed := flag.String("testbed", "../shared", "directory of the large test caches")
	flag.StringVar(&b.thaw, "thaw", "", "the program to measure")
	flag.IntVar(&b.runs, "runs", 3, "runs of which the best counts")
	flag.IntVar(&b.connections, "connections", 64, "as of thaw")
	only := flag.String("only", "", "wide, dag or large")
	flag.Parse()
	if b.thaw == "" {
		fmt.Fprintln(os.Stderr, "give -thaw FILE")
		os.Exit(2)
	}
	fmt.Println("what       latency   seconds   latency alone   CPU s   MiB   requests")
	caches := filepath.Join(*testbed, "caches")
	key := filepath.Join(caches, "keys/testbed-1.pub")
	for _, latency := range []time.Duration{25 * time.Millisecond, 100 * time.Millisecond} {
		if *only == "" || *only == "wide" {
			// Three levels of narinfos, of which the last takes 300 requests, and
			// as many NARs.
			alone := 3*latency + 2*latency*time.Duration((301+b.connections-1)/b.connections)
			b.measure("wide", latency, alone, http.FileServer(http.Dir(caches+"/xz")), key, true, roots(caches+"/lists/wide.roots"))
		}
		if *only == "" || *only == "dag" {
			b.measure("dag", latency, 160*latency /* its levels */, http.FileServer(http.Dir(caches+"/xz")), key, false, roots(caches+"/lists/dag.roots"))
		}
	}
	if *only == "" || *only == "large" {
		const n, width, latency = 10_000, 10, 30 * time.Millisecond
		signer := faultserver.Signer("bench-1")
		// As flat as it can be: five layers.
		files := faultserver.Files{}
		root := files.Wide(signer, n, width)
		depth := 0
		for reach := 0; reach < n; depth++ {
			reach = reach*width + 1
		}
		b.large("10,000", latency, n, depth, files, signer, root)
		// As closures are: a long chain of references beside much that is not.
		const chain = 40
		files = faultserver.Files{}
		wide := files.Wide(signer, n-chain, width)
		for i := range chain {
			var refs []storepath.Path
			if i > 0 {
				refs = append(refs, faultserver.Path(fmt.Sprintf("chain-%d", i-1)))
			}
			if i == chain-1 {
				refs = append(refs, wide)
			}
			name := fmt.Sprintf("chain-%d", i)
			files.Add(signer, name, "none", faultserver.NAR([]byte(name)), refs...)
		}
		b.large("10,000 deep", latency, n, chain, files, signer, faultserver.Path(fmt.Sprintf("chain-%d", chain-1)))
	}
}

// large measures the walk of a closure of n paths with chains of depth references.
func (b *bench) large(name string, latency time.Duration, n, depth int, files faultserver.Files, signer faultserver.Signer, root storepath.Path) {
	alone := time.Duration(depth)*latency + time.Duration(n)*latency/time.Duration(b.connections)
	b.measure(name, latency, alone, serve(files), signer.Key().String(), false, []string{root.String()})
}

func serve(files faultserver.Files) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, ok := files[strings.TrimPrefix(r.URL.Path, "/")]
		if !ok {
			http.NotFound(w, r)
			return
		}
		w.Write(text)
	})
}

func roots(file string) []string {
	text, err := os.ReadFile(file)
	check(err)
	list := strings.Fields(string(text))
	for _, p := range list {
		_, err := storepath.Parse(p)
		check(err)
	}
	return list
}

type bench struct {
	thaw              string
	runs, connections int
}

// measure runs thaw unpack, or thaw closure, on a cold cache.
func (b *bench) measure(name string, latency, alone time.Duration, h http.Handler, key string, unpack bool, paths []string) {
	var mu sync.Mutex
	asked := map[string]int{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		asked[r.URL.Path]++
		mu.Unlock()
		time.Sleep(latency)
		h.ServeHTTP(w, r)
	}))
	defer server.Close()
	dir, err := os.MkdirTemp("", "thaw-bench-")
	check(err)
	defer os.RemoveAll(dir)
	var times []time.Duration
	var cpu time.Duration
	var memory int64
	for n := range b.runs {
		args := []string{"closure"}
		if unpack {
			args = []string{"unpack", "--root", fmt.Sprintf("%s/root-%d", dir, n)}
		}
		args = append(args, "--quiet", "--cache", server.URL, "--trusted-key", key, "--connections", fmt.Sprint(b.connections),
			"--cache-dir", fmt.Sprintf("%s/cache-%d", dir, n))
		cmd := exec.Command(b.thaw, append(args, paths...)...)
		cmd.Stderr = os.Stderr
		started := time.Now()
		check(cmd.Run())
		times = append(times, time.Since(started))
		use := cmd.ProcessState.SysUsage().(*syscall.Rusage)
		memory = max(memory, use.Maxrss>>10)
		cpu = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	}
	requests, most := 0, 0
	for _, n := range asked {
		requests += n
		most = max(most, n)
	}
	again := ""
	if most > b.runs {
		again = "  SOME ASKED FOR TWICE"
	}
	fmt.Printf("%-10s %-8s %8.2f %15.2f %7.2f %5d %10d%s\n", name, latency, slices.Min(times).Seconds(), alone.Seconds(), cpu.Seconds(), memory, requests/b.runs, again)
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "fetch:", err)
		os.Exit(1)
	}
}
