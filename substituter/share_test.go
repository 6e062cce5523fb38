package substituter

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"testing"

	fault "thaw/internal/faultserver"
	"thaw/internal/testbed"
	"thaw/nixhash"
	"thaw/storepath"
)

// Decoders that ask for large windows do not all get them at once, however many jobs
// there are. Of those that went before, the collector of garbage may have left some.
func TestDecodersShareMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: 256 MiB of NARs")
	}
	const window, nars = 64 << 20, 4
	xz := testbed.Tool(t, "xz")
	thaw := program(t)
	files := fault.Files{}
	var refs []storepath.Path
	for n := range nars {
		content := make([]byte, window)
		content[0] = byte(n)
		nar := fault.NAR(content)
		var packed bytes.Buffer
		cmd := exec.Command(xz, "--stdout", fmt.Sprintf("--lzma2=preset=0,dict=%d", window))
		cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(nar), &packed, os.Stderr
		if err := cmd.Run(); err != nil {
			t.Fatal(err)
		}
		info := files.Add(signer, fmt.Sprint("wide-", n), "none", nar, refs...)
		delete(files, info.URL)
		info.Compression, info.URL = "xz", fmt.Sprint("nar/", n, ".nar.xz")
		info.FileHash, info.FileSize = nixhash.Sum256(packed.Bytes()), int64(packed.Len())
		files[info.URL] = packed.Bytes()
		files.Put(info)
		refs = append(refs, info.StorePath)
	}
	server := fault.New(t, files)
	cmd := exec.Command(thaw, "unpack", refs[nars-1].String(), "--root", t.TempDir(), "--jobs", "8",
		"--cache", server.URL, "--cache-dir", t.TempDir(), "--trusted-key", signer.Key().String())
	cmd.Env = append(os.Environ(), "GOMEMLIMIT=64MiB")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	most, stop := peak(cmd.Process.Pid)
	err := cmd.Wait()
	stop()
	if err != nil {
		t.Fatalf("%v: %s", err, &out)
	}
	if memory := most.Load(); memory > nars*window-window/2 {
		t.Errorf("it took %d MiB", memory>>20)
	} else {
		t.Logf("%d MiB", memory>>20)
	}
}
