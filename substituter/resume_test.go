package substituter

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	fault "thaw/internal/faultserver"
	"thaw/narinfo"
)

// A large object, of more than is kept of a broken download.
var largeNAR = fault.NAR(fault.Noise("large", 6<<20))

func largeCache(codec string) (files fault.Files, info *narinfo.Info) {
	files = fault.Files{}
	return files, files.Add(signer, "large", codec, largeNAR)
}

// A body that breaks off goes on where it ended if the server can do that, and
// starts again where it cannot or lies.
func TestResumes(t *testing.T) {
	files, info := largeCache("zstd")
	size := int64(len(files[info.URL]))
	small := int64(len(files[about]) + len(info.Text()))
	cut := fault.Rule{Path: aNAR, First: 1, Fault: fault.CutPercent(50, fault.WithLength, fault.Close)}
	cutTwice := fault.Rule{Path: aNAR, First: 2, Fault: fault.CutPercent(50, fault.WithLength, fault.Reset)}
	tests := map[string]struct {
		rules    []fault.Rule
		most     int64 // bytes that may be sent
		requests int
	}{
		"range":            {[]fault.Rule{cut}, size, 2},
		"range, twice":     {[]fault.Rule{cutTwice}, size, 3},
		"no tag":           {[]fault.Rule{cut, {Path: aNAR, Fault: fault.Header("ETag", "")}}, size, 2},
		"weak tag":         {[]fault.Rule{cut, {Path: aNAR, Fault: fault.Header("ETag", `W/"x"`)}}, size, 2},
		"not announced":    {[]fault.Rule{cut, {Path: aNAR, Fault: fault.Header("Accept-Ranges", "")}}, size, 2},
		"range ignored":    {[]fault.Rule{cut, {Path: aNAR, Fault: fault.NoRange}}, size * 3 / 2, 2},
		"wrong range":      {[]fault.Rule{cut, {Path: aNAR, Fault: fault.WrongRange}}, size * 2 * 3 / 2, 3},
		"whole file as it": {[]fault.Rule{cut, {Path: aNAR, Fault: fault.WholeAs206}}, size * 5 / 2, 3},
		"other tag":        {[]fault.Rule{cut, {Path: aNAR, Fault: fault.OtherTag}}, size * 3 / 2, 2},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			server := fault.New(t, files, tt.rules...)
			dir := t.TempDir()
			r := newRig(t, dir, server.URL)
			nar, err := r.get(t, info.StorePath)
			if err != nil || !bytes.Equal(nar, largeNAR) {
				t.Fatal(err)
			}
			_, received, _ := r.got()
			if got := received[server.URL] - small; got > tt.most || server.Count(aNAR) != tt.requests {
				t.Errorf("%d bytes in %d answers, want at most %d in %d", got, server.Count(aNAR), tt.most, tt.requests)
			}
			if left := rests(t, dir); len(left) > 0 {
				t.Errorf("left behind: %q", left)
			}
		})
	}
}

// A server that always breaks off at the same place is given up, although much
// comes each time.
func TestSamePlace(t *testing.T) {
	files, info := largeCache("zstd")
	server := fault.New(t, files,
		fault.Rule{Path: aNAR, Fault: fault.NoRange},
		fault.Rule{Path: aNAR, Fault: fault.CutPercent(50, fault.WithLength, fault.Close)})
	_, err := newRig(t, t.TempDir(), server.URL).get(t, info.StorePath)
	if KindOf(err) != Network || server.Count(aNAR) > quick.Attempts+1 {
		t.Errorf("%d requests, %v", server.Count(aNAR), err)
	}
}

// slack is more than the server's longest error page.
const slack = 100

// partFile returns the file in which the NAR of an info arrives.
func partFile(dir string, info *narinfo.Info) string {
	return filepath.Join(dir, "nar", info.NarHash.Digest32()+partSuffix)
}

// What came of a download that failed is not fetched again: not by a later run,
// and not from another cache that has the same file.
func TestResumesAcrossRuns(t *testing.T) {
	files, info := largeCache("zstd")
	size := int64(len(files[info.URL]))
	tests := map[string]struct {
		change func(t *testing.T, part string)
		codec  string
		most   int64
	}{
		"as it was": {func(*testing.T, string) {}, "zstd", size*40/100 + 100},
		"whole": {func(t *testing.T, part string) {
			head, err := os.ReadFile(part)
			if err != nil {
				t.Fatal(err)
			}
			os.WriteFile(part, append(head[:markSize:markSize], files[info.URL]...), 0o644)
		}, "zstd", 0},
		"damaged": {func(t *testing.T, part string) {
			text, err := os.ReadFile(part)
			if err != nil {
				t.Fatal(err)
			}
			text[1<<20] ^= 1
			os.WriteFile(part, text, 0o644)
		}, "zstd", size*140/100 + 100},
		"longer than the file": {func(t *testing.T, part string) {
			f, err := os.OpenFile(part, os.O_APPEND|os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			f.Write(make([]byte, size))
		}, "zstd", 2 * size}, // the whole file may be arriving when the rest is found wrong
		"without its mark":    {func(t *testing.T, part string) { os.WriteFile(part, make([]byte, 3<<20), 0o644) }, "zstd", size},
		"of another encoding": {func(*testing.T, string) {}, "none", int64(len(largeNAR))},
		"short":               {func(t *testing.T, part string) { os.Truncate(part, 1000) }, "zstd", size},
		"old":                 {func(t *testing.T, part string) { os.Chtimes(part, time.Time{}, time.Now().Add(-2*oldestRest)) }, "zstd", size},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			broken := fault.New(t, files,
				fault.Rule{Path: aNAR, First: 1, Fault: fault.CutPercent(60, fault.WithLength, fault.Close)},
				fault.Rule{Path: aNAR, Fault: func(a *fault.Answer) {
					if _, ok := fault.Offset(a.Request); ok {
						fault.Status(500)(a)
					}
				}})
			dir := t.TempDir()
			if _, err := newRig(t, dir, broken.URL).get(t, info.StorePath); KindOf(err) != Network {
				t.Fatal(err)
			}
			part := partFile(dir, info)
			if st, err := os.Stat(part); err != nil || st.Size() != size*60/100+markSize {
				t.Fatalf("after the first run: %v", err)
			}
			tt.change(t, part)
			other, _ := largeCache(tt.codec)
			server := fault.New(t, other)
			nar, err := newRig(t, dir, server.URL).get(t, info.StorePath)
			if err != nil || !bytes.Equal(nar, largeNAR) {
				t.Fatal(err)
			}
			if sent := server.Sent(aNAR); sent > tt.most+slack {
				t.Errorf("%d bytes were sent, want at most %d", sent, tt.most)
			}
			if left := rests(t, dir); len(left) > 0 {
				t.Errorf("left behind: %q", left)
			}
		})
	}
}

// In one run, the second cache goes on where the first one broke off.
func TestResumesInAnotherCache(t *testing.T) {
	files, info := largeCache("zstd")
	size := int64(len(files[info.URL]))
	first := fault.New(t, files, fault.Rule{Path: aNAR, Fault: fault.NoRange}, fault.Rule{Path: aNAR, Fault: fault.CutPercent(60, fault.WithLength, fault.Close)})
	second := fault.New(t, files)
	r := newRig(t, t.TempDir(), first.URL, second.URL)
	if nar, err := r.get(t, info.StorePath); err != nil || !bytes.Equal(nar, largeNAR) {
		t.Fatal(err)
	}
	if sent := second.Sent(aNAR); sent > size*40/100+100 {
		t.Errorf("the second cache sent %d of %d bytes", sent, size)
	}
	if w, _, _ := r.got(); len(w) != 1 || !strings.Contains(w[0], "taken from "+second.URL+" instead") {
		t.Errorf("warnings %q", w)
	}
}

// A run that is interrupted keeps what came, and leaves no goroutine behind.
func TestInterrupted(t *testing.T) {
	noLeaks(t)
	files, info := largeCache("zstd")
	server := fault.New(t, files, fault.Rule{Path: aNAR, Fault: fault.CutPercent(50, fault.WithLength, fault.Stall)})
	dir := t.TempDir()
	r := newRig(t, dir, server.URL)
	why := fmt.Errorf("why")
	ctx, cancel := context.WithCancelCause(t.Context())
	got, err := r.Info(ctx, info.StorePath)
	if err != nil {
		t.Fatal(err)
	}
	r.Events.Received = func(string, int) {
		if st, err := os.Stat(partFile(dir, info)); err == nil && st.Size() > 2<<20 {
			cancel(why)
		}
	}
	if err := r.Prefetch(ctx, 4, []*narinfo.Info{got}); err != why {
		t.Errorf("%v instead of the cause", err)
	}
	if left := rests(t, dir); len(left) != 1 || !strings.HasSuffix(left[0], partSuffix) {
		t.Errorf("left behind: %q", left)
	}
	r.client.CloseIdleConnections()
	server.Stop()
}

// Processes that share a directory fetch each NAR once.
func TestSharedDirectory(t *testing.T) {
	const processes, objects = 8, 40
	files := fault.Files{}
	root := files.Wide(signer, objects, 4)
	files.Add(signer, "large", "zstd", largeNAR)
	server := fault.Unstarted(t, files)
	server.Latency = 2 * time.Millisecond
	server.Start()
	dir := t.TempDir()
	var wg sync.WaitGroup
	for range processes {
		wg.Go(func() {
			r := newRig(t, dir, server.URL) // its locks in memory are its own
			infos := []*narinfo.Info{}
			for i := range objects {
				info, err := r.Info(t.Context(), fault.Path(fmt.Sprintf("object-%d", i)))
				if err != nil {
					t.Error(err)
					return
				}
				infos = append(infos, info)
			}
			large, err := r.Info(t.Context(), fault.Path("large"))
			if err != nil {
				t.Error(err)
				return
			}
			if err := r.Prefetch(t.Context(), 8, append(infos, large)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := server.Count(aNAR); n != objects+1 {
		t.Errorf("%d requests for %d NARs", n, objects+1)
	}
	if left := rests(t, dir); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
	if nar, err := newRig(t, dir).get(t, root); err != nil || len(nar) == 0 {
		t.Errorf("offline afterwards: %v", err)
	}
}

// Whatever a server does, no goroutine is left behind.
func TestNoLeaks(t *testing.T) {
	noLeaks(t)
	files, info := largeCache("zstd")
	for _, rule := range []fault.Rule{
		{Path: "-"},
		{Path: aNAR, Fault: fault.Flip(10)}, // found while the rest arrives
		{Path: aNAR, Fault: fault.Forever},
		{Path: aNAR, Fault: fault.Status(500)},
		{Path: aNAR, Fault: fault.CutPercent(80, fault.WithLength, fault.Reset)},
		{Path: aNAR, First: 1, Fault: fault.CutPercent(80, fault.Chunked, fault.Close)},
		{Path: anInfo, Fault: fault.Forever},
		{Path: anInfo, Fault: fault.Redirect(302, "%s")},
		{Path: about, Fault: fault.Forever},
	} {
		server, healthy := fault.New(t, files, rule), fault.New(t, files)
		for _, urls := range [][]string{{server.URL}, {server.URL, healthy.URL}} {
			r := newRig(t, t.TempDir(), urls...)
			if _, err := r.get(t, info.StorePath); err != nil && len(urls) > 1 {
				t.Error(err)
			}
			r.client.CloseIdleConnections()
		}
		server.Stop()
		healthy.Stop()
	}
}
