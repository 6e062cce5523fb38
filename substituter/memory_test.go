package substituter

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"sync/atomic"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	fault "thaw/internal/faultserver"
)

// mostMemory is what no server can make thaw exceed, in bytes.
const mostMemory = 64 << 20

// Neither endless answers, nor bombs, nor streams that ask for large windows make
// the program large, nor what it leaves on disk.
func TestMemory(t *testing.T) {
	thaw := program(t)
	p := fault.Path(subject)
	wide := func(window int) fault.Files {
		files := subjectCache("none")
		url := urlOf(t, files)
		var packed bytes.Buffer
		w, err := zstd.NewWriter(&packed, zstd.WithWindowSize(window), zstd.WithEncoderConcurrency(1))
		if err != nil {
			t.Fatal(err)
		}
		for part := subjectNAR; len(part) > 0; part = part[min(len(part), 1000):] { // so that its size is not known
			w.Write(part[:min(len(part), 1000)])
			w.Flush()
		}
		w.Close()
		files[url] = packed.Bytes()
		return files
	}
	bomb := subjectCache("none")
	bomb[urlOf(t, bomb)] = fault.Compress("zstd", make([]byte, 1<<30))
	for name, tt := range map[string]struct {
		files fault.Files
		rule  fault.Rule
		good  bool
	}{
		"endless nix-cache-info": {subjectCache("zstd"), fault.Rule{Path: about, Fault: fault.Forever}, true},
		"endless narinfo":        {subjectCache("zstd"), fault.Rule{Path: anInfo, Fault: fault.Forever}, false},
		"endless NAR":            {subjectCache("zstd"), fault.Rule{Path: aNAR, Fault: fault.Forever}, false},
		"bomb":                   {bomb, fault.Rule{Path: "-"}, false},
		"narinfo bomb":           {subjectCache("zstd"), fault.Rule{Path: anInfo, Fault: fault.Body(fault.Compress("zstd", make([]byte, 1<<30)))}, false},
		"labelled bomb":          {subjectCache("none"), fault.Rule{Path: aNAR, Fault: func(a *fault.Answer) { fault.Header("Content-Encoding", "zstd")(a); a.Body = bomb[urlOf(t, bomb)] }}, false},
		"window of 8 MiB":        {wide(8 << 20), fault.Rule{Path: "-"}, true},
		"window of 128 MiB":      {wide(128 << 20), fault.Rule{Path: "-"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			server := fault.New(t, tt.files, tt.rule)
			cmd := exec.Command(thaw, "unpack", p.String(), "--root", t.TempDir(), "--cache", server.URL, "--cache-dir", t.TempDir(), "--trusted-key", signer.Key().String())
			var out bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &out
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			most, stop := peak(cmd.Process.Pid)
			err := cmd.Wait()
			stop()
			if (err == nil) != tt.good {
				t.Errorf("%v: %s", err, &out)
			}
			memory := most.Load()
			t.Logf("%d MiB", memory>>20)
			if memory > mostMemory {
				t.Errorf("it took %d MiB", memory>>20)
			}
		})
	}
}

// peak watches the largest resident memory of a process, in bytes. What rusage
// has of it includes the parent's.
func peak(pid int) (most *atomic.Int64, stop func()) {
	most = new(atomic.Int64)
	ended, gone := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(gone)
		for {
			text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
			_, rest, ok := bytes.Cut(text, []byte("VmHWM:"))
			var kib int64
			if err == nil && ok {
				fmt.Sscan(string(rest[:min(len(rest), 40)]), &kib)
				most.Store(max(most.Load(), kib<<10))
			}
			select {
			case <-ended:
				return
			case <-time.After(time.Millisecond):
			}
		}
	}()
	return most, func() { close(ended); <-gone }
}
