package resolve

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ulikunitz/xz"

	fault "thaw/internal/faultserver"
	"thaw/nar"
	"thaw/narinfo"
	"thaw/spec"
	"thaw/storepath"
	"thaw/substituter"
)

const signer = fault.Signer("test-1")

var quick = substituter.Retry{Attempts: 2, Soon: time.Millisecond, Later: time.Millisecond, Budget: time.Hour}

// patient waits for a server as long as it takes: it is on this machine, which may be slow.
type patient struct{ substituter.Transport }

// Get implements [substituter.Transport].
func (p patient) Get(ctx context.Context, ref string, part substituter.Part) (*substituter.Body, error) {
	part.Silence = 0
	return p.Transport.Get(ctx, ref, part)
}

// source is one whose files lie in dir, and whose store objects come from a cache.
func source(t testing.TB, dir string, cache *fault.Server) Source {
	t.Helper()
	settings := substituter.HTTPSettings{Connect: time.Hour, Stall: time.Hour}
	client, err := settings.Client()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdleConnections)
	src := Source{
		Get:  (&substituter.Web{Client: client, Retry: quick}).Get,
		Open: func(name string) (io.ReadCloser, error) { return os.Open(filepath.Join(dir, name)) },
	}
	if cache != nil {
		from, err := substituter.NewHTTP(cache.URL, client, settings)
		if err != nil {
			t.Fatal(err)
		}
		src.Store = store(t, &substituter.Remote{From: patient{from}, Keys: narinfo.Keys{signer.Key()}, Retry: quick})
	}
	return src
}

// store is a new local cache of others.
func store(t testing.TB, caches ...*substituter.Remote) *substituter.Disk {
	t.Helper()
	var keys narinfo.Keys
	for _, c := range caches {
		keys = append(keys, c.Keys...)
	}
	d, err := substituter.OpenDisk(t.TempDir(), &substituter.List{Caches: caches}, keys, 2, nil)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// from parses a place, which must be right.
func from(t testing.TB, s string) spec.From {
	t.Helper()
	f, err := spec.ParseFrom(s)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// serve serves files by path, and counts requests.
func serve(t testing.TB, files fault.Files, rules ...fault.Rule) *fault.Server {
	t.Helper()
	return fault.New(t, files, rules...)
}

// writeFile writes a file in a directory of the test.
func writeFile(t testing.TB, dir, name, text string) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// one resolves one query.
func one(t testing.TB, src Source, q Query) (Answer, error) {
	t.Helper()
	answers, err := Resolve(t.Context(), src, []Query{q})
	if err != nil {
		if answers != nil {
			t.Errorf("answers beside an error: %v", answers)
		}
		return Answer{}, err
	}
	return answers[0], nil
}

// checkText compares an error, or an answer in one line, with a text. One of
// several lines shows an error in full.
func checkText(t testing.TB, a Answer, err error, want string) {
	t.Helper()
	got := a.Path.String() + " | " + a.How + " | " + strings.Join(a.Others, " ")
	if err != nil {
		got = err.Error()
	}
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// packed compresses a text.
func packed(t testing.TB, codec, text string) string {
	t.Helper()
	if codec != "xz" {
		return string(fault.Compress(codec, []byte(text)))
	}
	var b bytes.Buffer
	w, err := xz.NewWriter(&b)
	if err == nil {
		_, err = io.WriteString(w, text)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// elf is the beginning of a program.
func elf(number uint16, class, data byte) []byte {
	b := make([]byte, 64)
	copy(b, "\x7fELF")
	b[4], b[5], b[6] = class, data, 1
	order := binary.ByteOrder(binary.LittleEndian)
	if data == 2 {
		order = binary.BigEndian
	}
	order.PutUint16(b[18:], number)
	return b
}

var (
	amd64 = elf(62, 2, 1)
	arm64 = elf(183, 2, 1)
	i386  = elf(3, 1, 1)
	arm32 = elf(40, 1, 1)
	s390x = elf(22, 2, 2)
	avr   = elf(83, 1, 1)
)

// entry is a file of an archive; a path that ends in * is executable.
type entry struct {
	path string
	text []byte
}

// archive makes a NAR of files, sorted, with their directories.
func archive(t testing.TB, files ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := nar.NewWriter(&b)
	put := func(h nar.Header, text []byte) {
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(text); err != nil {
			t.Fatal(err)
		}
	}
	put(nar.Header{Path: ".", Kind: nar.Directory}, nil)
	made := map[string]bool{}
	for _, f := range files {
		path, executable := strings.CutSuffix(f.path, "*")
		for i := range path {
			if path[i] == '/' && !made[path[:i]] {
				made[path[:i]] = true
				put(nar.Header{Path: path[:i], Kind: nar.Directory}, nil)
			}
		}
		kind := nar.Regular
		if executable {
			kind = nar.Executable
		}
		put(nar.Header{Path: path, Kind: kind, Size: int64(len(f.text))}, f.text)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// object puts a store object into a cache. Equal names need different salts.
func object(t testing.TB, files fault.Files, salt, name string, nar []byte, refs ...storepath.Path) storepath.Path {
	t.Helper()
	p, err := storepath.New(fault.Path(salt+"-"+name).Hash(), name)
	if err != nil {
		t.Fatal(err)
	}
	i := files.Add(signer, salt+"-"+name, "zstd", nar, refs...)
	delete(files, i.StorePath.Hash()+".narinfo")
	i.StorePath, i.Sigs = p, nil
	signer.Sign(i)
	files.Put(i)
	return p
}

// handler answers requests by path: a body, or a path to redirect to.
type handler struct {
	t     testing.TB
	pages map[string]string
}

func (h handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	text, ok := h.pages[r.URL.Path]
	if to, moved := strings.CutPrefix(text, "→"); moved {
		http.Redirect(w, r, to, http.StatusFound)
		return
	}
	if !ok {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusNotFound)
		text = `{"error":"There is no successful build to redirect to."}`
	}
	if _, err := io.WriteString(w, text); err != nil {
		h.t.Error(err)
	}
}
