package substituter

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	fault "thaw/internal/faultserver"
	"thaw/narinfo"
)

// peekAt reads so many bytes of an object's NAR.
func (r *rig) peekAt(t *testing.T, info *narinfo.Info, n int64) (head []byte, err error) {
	t.Helper()
	err = r.Peek(t.Context(), info, func(nar io.Reader) error {
		head, err = io.ReadAll(io.LimitReader(nar, n))
		return err
	})
	return head, err
}

// No more of a NAR travels than is looked at, but for what buffers hold.
func TestPeek(t *testing.T) {
	t.Parallel()
	const most = 6 << 20 // of 32 MiB: loopback sockets buffer a lot
	plain := fault.NAR(fault.Noise("peek", 32<<20))
	for _, codec := range []string{"none", "zstd"} {
		t.Run(codec, func(t *testing.T) {
			t.Parallel()
			cached := fault.Files{}
			info := cached.Add(signer, "peek", codec, plain)
			server := fault.New(t, cached)
			dir := t.TempDir()
			r := newRig(t, dir, server.URL)
			info, err := r.Info(t.Context(), info.StorePath)
			if err != nil {
				t.Fatal(err)
			}
			head, err := r.peekAt(t, info, 100)
			if err != nil || !bytes.Equal(head, plain[:100]) {
				t.Fatal(err)
			}
			if _, received, _ := r.got(); received[server.URL] > most {
				t.Errorf("%d bytes came", received[server.URL])
			}
			if got := files(t, dir); len(got) > 0 {
				t.Errorf("it was kept: %q", got)
			}
		})
	}
}

// A NAR that breaks off or is wrong is looked at again, and then elsewhere.
func TestPeekFaults(t *testing.T) {
	t.Parallel()
	plain := fault.NAR(fault.Noise("peek", 200<<10))
	cut := fault.CutPercent(50, fault.WithLength, fault.Close)
	tests := map[string]struct {
		rules []fault.Rule
		err   string // without another cache
	}{
		"breaks once":  {[]fault.Rule{{Path: aNAR, First: 1, Fault: cut}}, ""},
		"busy once":    {[]fault.Rule{{Path: aNAR, First: 1, Fault: fault.Status(503)}}, ""},
		"breaks":       {[]fault.Rule{{Path: aNAR, Fault: cut}}, "closed the connection early"},
		"not there":    {[]fault.Rule{{Path: aNAR, Fault: fault.Status(404)}}, "not there"},
		"a web page":   {[]fault.Rule{{Path: aNAR, Fault: fault.Body([]byte("<html>"))}}, "a web page instead of the NAR"},
		"not unpacked": {[]fault.Rule{{Path: aNAR, Fault: fault.Body([]byte("\x28\xb5\x2f\xfdgarbage"))}}, "NAR of peek"},
		"refused":      {[]fault.Rule{{Path: aNAR, Fault: fault.Body(make([]byte, 1<<10))}}, "the first byte is wrong"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cached := fault.Files{}
			path := cached.Add(signer, "peek", "none", plain).StorePath
			server := fault.New(t, cached, tt.rules...)
			good := fault.New(t, cached)
			for _, urls := range [][]string{{server.URL}, {server.URL, good.URL}} {
				r := newRig(t, t.TempDir(), urls...)
				info, err := r.Info(t.Context(), path)
				if err != nil {
					t.Fatal(err)
				}
				var head []byte
				err = r.Peek(t.Context(), info, func(nar io.Reader) (err error) {
					if head, err = io.ReadAll(nar); err == nil && head[0] == 0 {
						err = errors.New("the first byte is wrong")
					}
					return err
				})
				if len(urls) == 1 && tt.err != "" {
					if err == nil || !strings.Contains(err.Error(), tt.err) || KindOf(err) == 0 {
						t.Errorf("%v, want %q", err, tt.err)
					}
				} else if err != nil || !bytes.Equal(head, plain) {
					t.Errorf("%d bytes, %v", len(head), err)
				}
			}
		})
	}
}

// What is in the local cache is looked at there, and fetched if it is damaged.
func TestPeekLocal(t *testing.T) {
	t.Parallel()
	plain := fault.NAR([]byte("a file"))
	cached := fault.Files{}
	path := cached.Add(signer, "peek", "none", plain).StorePath
	server := fault.New(t, cached)
	r := newRig(t, t.TempDir(), server.URL)
	if _, err := r.get(t, path); err != nil {
		t.Fatal(err)
	}
	r.Offline = true
	info, err := r.Info(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if head, err := r.peekAt(t, info, 1<<10); err != nil || !bytes.Equal(head, plain) {
		t.Error(err)
	}
	if n := server.Count(aNAR); n != 1 {
		t.Errorf("%d requests for the NAR", n)
	}
	if err := os.Truncate(r.nar(info), 8); err != nil {
		t.Fatal(err)
	}
	if _, err := r.peekAt(t, info, 1<<10); KindOf(err) != NotFound || !strings.Contains(err.Error(), "--offline") {
		t.Error(err)
	}
	r.Offline = false
	if head, err := r.peekAt(t, info, 1<<10); err != nil || !bytes.Equal(head, plain) {
		t.Error(err)
	}
}
