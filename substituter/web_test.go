package substituter

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"

	fault "thaw/internal/faultserver"
)

// web opens a file of a server with the patience of these tests.
func web(t *testing.T, s HTTPSettings, ev *Events) *Web {
	t.Helper()
	client, err := s.Client()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdleConnections)
	return &Web{Client: client, Settings: s, Retry: quick, Events: ev}
}

func TestWeb(t *testing.T) {
	t.Parallel()
	small, large := []byte("some lines\n"), fault.Noise("web", 3<<20)
	files := fault.Files{"dir/small": small, "dir/large": large}
	broken := func(percent, first int) fault.Rule {
		return fault.Rule{Path: "dir/*", First: first, Fault: fault.CutPercent(percent, fault.WithLength, fault.Close)}
	}
	tests := map[string]struct {
		file     string
		limit    int64
		rules    []fault.Rule
		want     []byte
		kind     Kind
		err      string
		requests int
	}{
		"small":                 {"dir/small", 11, nil, small, 0, "", 1},
		"large":                 {"dir/large", 3 << 20, nil, large, 0, "", 1},
		"not there":             {"dir/other", 11, nil, nil, NotFound, "not there", 1},
		"too long":              {"dir/small", 10, nil, nil, Integrity, "is longer than", 1},
		"too long, unannounced": {"dir/large", 2 << 20, []fault.Rule{{Fault: fault.Framed(fault.Chunked)}}, nil, Integrity, "is longer than 2048 KiB", 1},
		"small breaks":          {"dir/small", 11, []fault.Rule{broken(50, 2)}, small, 0, "", 3},
		"small, no tag":         {"dir/small", 11, []fault.Rule{broken(50, 2), {Fault: fault.Header("ETag", "")}}, small, 0, "", 3},
		"small breaks for ever": {"dir/small", 11, []fault.Rule{broken(50, 0)}, nil, Network, "3 attempts", 3},
		"large breaks":          {"dir/large", 3 << 20, []fault.Rule{broken(60, 1)}, large, 0, "", 2},
		"large breaks twice":    {"dir/large", 3 << 20, []fault.Rule{broken(60, 2)}, large, 0, "", 3},
		"large, no tag":         {"dir/large", 3 << 20, []fault.Rule{broken(60, 1), {Fault: fault.Header("ETag", "")}}, nil, Network, "after 1887436 of 3145728 bytes", 1},
		"large, another file":   {"dir/large", 3 << 20, []fault.Rule{broken(60, 1), {Fault: fault.OtherTag}}, nil, Network, "has another file now", 2},
		"large, ranges ignored": {"dir/large", 3 << 20, []fault.Rule{broken(60, 1), {Fault: fault.NoRange}}, nil, Network, "has another file now", 2},
		"busy":                  {"dir/small", 11, []fault.Rule{{First: 1, Fault: fault.Status(503)}}, small, 0, "", 2},
		"compressed on its way": {"dir/small", 11, []fault.Rule{{Fault: fault.Encoded("gzip", "gzip")}}, small, 0, "", 1},
		"large breaks at once":  {"dir/large", 3 << 20, []fault.Rule{{First: 1, Fault: fault.CutPercent(10, fault.WithLength, fault.Close)}}, large, 0, "", 2},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := fault.New(t, files, tt.rules...)
			var noted events
			body, at, err := web(t, HTTPSettings{}, noted.events()).Get(t.Context(), server.URL+"/"+tt.file, "", tt.limit)
			var got []byte
			if err == nil {
				got, err = io.ReadAll(body)
				body.Close()
				if at != server.URL+"/"+tt.file {
					t.Errorf("it is at %s", at)
				}
			}
			if tt.want != nil && (err != nil || !bytes.Equal(got, tt.want)) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
			if tt.want == nil && (KindOf(err) != tt.kind || !strings.Contains(err.Error(), tt.err)) {
				t.Errorf("%v, want %q of kind %d", err, tt.err, tt.kind)
			}
			if n := server.Count("dir/*"); n != tt.requests {
				t.Errorf("%d requests, want %d", n, tt.requests)
			}
			if _, received, _ := noted.got(); tt.want != nil && received[server.URL] < int64(len(tt.want)) {
				t.Errorf("%d bytes were counted", received[server.URL])
			}
		})
	}
}

// Credentials go to the host that they are for, and not to where that redirects.
func TestWebRedirects(t *testing.T) {
	t.Parallel()
	second := fault.New(t, fault.Files{"release/list": []byte("x\n")})
	first := fault.New(t, fault.Files{}, fault.Rule{Path: "channel/list", Fault: fault.Redirect(302, second.URL+"/release/list?token=secret")})
	host := strings.TrimPrefix(first.URL, "http://")
	netrc, err := ParseNetrc("netrc", "machine "+host+" login me password word")
	if err != nil {
		t.Fatal(err)
	}
	body, at, err := web(t, HTTPSettings{Netrc: netrc, Authorization: "of a cache"}, nil).Get(t.Context(), first.URL+"/channel/list", "text/x-list", 10)
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	if at != second.URL+"/release/list" {
		t.Errorf("it is at %s", at)
	}
	header := func(s *fault.Server) http.Header { return s.Log()[0].Header }
	if got := header(first).Get("Authorization"); got != basic("me", "word") {
		t.Errorf("the first server got the authorization %q", got)
	}
	if got := header(second).Get("Authorization"); got != "" {
		t.Errorf("the second server got the authorization %q", got)
	}
	for _, s := range []*fault.Server{first, second} {
		if got := header(s).Get("Accept"); got != "text/x-list" {
			t.Errorf("a server got Accept: %s", got)
		}
	}
	if _, _, err := web(t, HTTPSettings{}, nil).Get(t.Context(), "ftp://a/b", "", 1); err == nil || !strings.Contains(err.Error(), `"ftp://a/b" is not an http`) {
		t.Error(err)
	}
}
