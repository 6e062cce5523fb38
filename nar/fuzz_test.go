package nar_test

import (
	"bytes"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"

	"thaw/nar"
)

// Whatever is accepted is written again byte for byte; the verdict does not
// depend on how the bytes arrive, nor on whether contents are read.
func FuzzRoundTrip(f *testing.F) {
	for _, v := range vectors(f) {
		f.Add(v.data)
	}
	f.Add([]byte(sample))
	f.Add([]byte(archive(program("#!"))))
	f.Fuzz(func(t *testing.T, data []byte) {
		err := checkCanonical(t, data)
		_, skipped := walk(bytes.NewReader(data))
		_, piecemeal := walk(iotest.OneByteReader(bytes.NewReader(data)))
		if fmt.Sprint(skipped) != fmt.Sprint(err) || fmt.Sprint(piecemeal) != fmt.Sprint(err) {
			t.Fatalf("read: %v; skipped: %v; by single bytes: %v", err, skipped, piecemeal)
		}
		if err == nil && len(data) > 0 {
			if _, err := walk(bytes.NewReader(data[:len(data)-1])); err == nil {
				t.Fatal("also accepted without the last byte")
			}
		}
	})
}

// Whatever the Writer accepts, the Reader gives back. A line of the script is
// an entry: its kind, then its path, then after a tab its target or contents.
func FuzzWriter(f *testing.F) {
	f.Add("d.\nda\nfa/b\thello\nla/c\t..\nxb\t#!\nfc")
	f.Add("d.\nd" + strings.Repeat("a\nda/", 3) + "\nfb")
	f.Add("f.\tx")
	f.Add("l.\tx\nfa")
	f.Add("d.\nfb\nfa")
	f.Add("d.\nda\nfb\nfa/c")
	f.Add("d.\nf/a\nf.\nfa/../b\nf..")
	f.Fuzz(func(t *testing.T, script string) {
		var puts []put
		var headers []nar.Header
		for _, line := range strings.Split(script, "\n") {
			path, rest, _ := strings.Cut(line, "\t")
			if path == "" {
				continue
			}
			p := put{Header: nar.Header{Path: path[1:]}}
			switch path[0] {
			case 'd':
				p.Kind = nar.Directory
			case 'l':
				p.Kind, p.Target = nar.Symlink, rest
			case 'x':
				p.Kind, p.Size, p.contents = nar.Executable, int64(len(rest)), rest
			default:
				p.Size, p.contents = int64(len(rest)), rest
			}
			puts = append(puts, p)
			headers = append(headers, p.Header)
		}
		var out bytes.Buffer
		if write(&out, puts...) != nil {
			return
		}
		if err := checkCanonical(t, out.Bytes()); err != nil {
			t.Fatalf("the Writer accepts what the Reader refuses: %v", err)
		}
		r := nar.NewReader(&out)
		for i := 0; ; i++ {
			h, err := r.Next()
			if err == io.EOF && i == len(puts) {
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			contents, err := io.ReadAll(r)
			if err != nil || string(contents) != puts[i].contents || !reflect.DeepEqual(*h, headers[i]) {
				t.Fatalf("%v with %q (%v), want %v with %q", *h, contents, err, headers[i], puts[i].contents)
			}
		}
	})
}
