package substituter

import (
	"bytes"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	fault "thaw/internal/faultserver"
	"thaw/narinfo"
	"thaw/nixhash"
)

// The object of the fault tests: 200 KiB that do not compress.
const subject = "subject-1.0"

var subjectNAR = fault.NAR(fault.Noise(subject, 200<<10))

func subjectCache(codec string) fault.Files {
	files := fault.Files{}
	files.Add(signer, subject, codec, subjectNAR)
	return files
}

const (
	anInfo = "*.narinfo"
	aNAR   = "nar/*"
	about  = "nix-cache-info"
)

// good is the verdict of cases in which one cache with the fault is enough.
const good Kind = 0

// faultCase is one way for a server to misbehave.
type faultCase struct {
	name  string
	rule  fault.Rule
	alone Kind   // what comes of it if there is no other cache
	text  string // in the error or, if it is good, in a warning
	sent  int64  // of the NAR at most so many bytes are downloaded, alone; 0 for its length
}

// whole is a little more than the file of the subject's NAR.
const whole = 201 << 10

func faultCases() (cases []faultCase) {
	add := func(name, path string, f fault.Fault, alone Kind, text string, sent int64) {
		cases = append(cases, faultCase{name, fault.Rule{Path: path, Fault: f}, alone, text, sent})
	}
	// Statuses, for ever.
	for _, path := range []string{anInfo, aNAR} {
		for _, code := range []int{400, 401, 402, 405, 407, 408, 416, 429, 500, 501, 502, 503, 504, 521, 204, 206, 300, 304} {
			add(fmt.Sprintf("%s %d", path, code), path, fault.Status(code), Network, "", 0)
		}
		for _, code := range []int{403, 404, 410} {
			add(fmt.Sprintf("%s %d", path, code), path, fault.Status(code), NotFound, "not there", 0)
		}
		for _, code := range []int{301, 302, 303, 307, 308} {
			add(fmt.Sprintf("%s %d loop", path, code), path, fault.Redirect(code, "%s"), Network, "more than 10 redirects", 0)
			add(fmt.Sprintf("%s %d file:", path, code), path, fault.Redirect(code, "file:///etc/passwd"), Network, "redirect to file:", 0)
			add(fmt.Sprintf("%s %d nowhere", path, code), path, fault.Status(code), Network, "", 0)
		}
		for name, after := range map[string]string{"seconds": "3600", "date": time.Now().Add(time.Hour).UTC().Format(http.TimeFormat)} {
			for _, code := range []int{429, 503} {
				add(fmt.Sprintf("%s %d for an hour, in %s", path, code, name), path, fault.Busy(code, after), Network, "asks to wait", 0)
			}
		}
		add(path+" stall before headers", path, fault.Hung(fault.BeforeHeaders), Network, "sent nothing for", 0)
		add(path+" stall in headers", path, fault.Hung(fault.InHeaders), Network, "sent nothing for", 0)
		add(path+" closed at once", path, fault.CutAt(0, fault.HTTP10, fault.Close), Network, "", 0)
		add(path+" html", path, fault.Body([]byte("<!doctype html><title>login</title>")), Integrity, "web page", 0)
		add(path+" lfs", path, fault.Body([]byte("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n")), Integrity, "git-lfs", 0)
		add(path+" garbage", path, fault.Body(fault.Noise("garbage", 500)), Integrity, "", 0)
		add(path+" encoding unknown", path, fault.Header("Content-Encoding", "pack200-gzip"), Network, "pack200-gzip", 0)
		for _, codec := range []string{"gzip", "br", "zstd"} {
			add(path+" honest "+codec, path, fault.Encoded(codec, codec), good, "", whole)
			add(path+" lying "+codec, path, fault.Header("Content-Encoding", codec), good, "", whole)
		}
		add(path+" chunked", path, fault.Framed(fault.Chunked), good, "", whole)
		add(path+" HTTP/1.0", path, fault.Framed(fault.HTTP10), good, "", whole)
		for _, percent := range []int{1, 50, 99} {
			for how, framing := range map[string]fault.Framing{"with length": fault.WithLength, "chunked": fault.Chunked} {
				for what, end := range map[string]fault.End{"closed": fault.Close, "reset": fault.Reset, "stalled": fault.Stall} {
					add(fmt.Sprintf("%s %s %s at %d%%", path, how, what, percent), path, fault.CutPercent(percent, framing, end), Network, "", 3*whole)
				}
			}
			// Without a length, the end of a connection says nothing.
			kind := Network
			if path == anInfo && percent == 99 {
				kind = Network // no newline at the end
			}
			add(fmt.Sprintf("%s HTTP/1.0 closed at %d%%", path, percent), path, fault.CutPercent(percent, fault.HTTP10, fault.Close), kind, "", 3*whole)
			add(fmt.Sprintf("%s chunks end at %d%%", path, percent), path, fault.CutPercent(percent, fault.Chunked, fault.Finish), kind, "", 3*whole)
			add(fmt.Sprintf("%s short by %d%%", path, 100-percent), path, fault.Short(percent), Integrity, "", whole)
		}
		add(path+" a byte at a time, slower than the stall time", path, fault.Dripping(1, 150*time.Millisecond), Network, "next to nothing", 0)
	}
	for _, percent := range []int{0, 30, 100} {
		add(fmt.Sprintf("NAR byte flipped at %d%%", percent), aNAR, fault.Flip(percent), Integrity, "", whole)
	}
	add("NAR drips", aNAR, fault.Dripping(16<<10, time.Millisecond), good, "", whole)
	add("NAR endless", aNAR, fault.Forever, Integrity, "", 2*whole)
	add("NAR too long", aNAR, fault.Body(make([]byte, 1<<20)), Integrity, "bytes or more", 0)
	add("narinfo endless", anInfo, fault.Forever, Integrity, "longer than 1024 KiB", 0)
	add("narinfo too long", anInfo, fault.Body(bytes.Repeat([]byte("X: y\n"), 1<<18)), Integrity, "longer than 1024 KiB", 0)
	add("narinfo of another object", anInfo, fault.Body(otherInfo()), Integrity, "is about", 0)
	add("narinfo gzip, not labelled", anInfo, fault.Encoded("gzip", ""), good, "", whole)
	add("narinfo bomb", anInfo, fault.Body(fault.Compress("gzip", make([]byte, 10<<20))), Integrity, "longer than 1024 KiB", 0)

	// nix-cache-info decides about order and store alone.
	add("about 404", about, fault.Status(404), good, "", whole)
	add("about html", about, fault.Body([]byte("<html>")), good, "passed over", whole)
	add("about garbage", about, fault.Body(fault.Noise("about", 1000)), good, "passed over", whole)
	add("about endless", about, fault.Forever, good, "longer than 64 KiB", whole)
	add("about 500", about, fault.Status(500), Network, "HTTP 500 (3 attempts)", 0)
	add("about stall", about, fault.Hung(fault.BeforeHeaders), Network, "sent nothing", 0)
	add("about wrong store", about, fault.Body([]byte("StoreDir: /gnu/store\n")), Integrity, "/gnu/store", 0)

	// Lies in the narinfo.
	field := func(name, value string, alone Kind, text string, sent int64) {
		add("narinfo with another "+name, anInfo, func(a *fault.Answer) { a.Body = setField(a.Body, name, value) }, alone, text, sent)
	}
	field("FileHash", nixhash.Sum256([]byte("x")).Base32(), good, "FileHash in its narinfo is wrong", whole)
	field("FileSize", "1", good, "FileSize in its narinfo", whole)
	field("FileSize", "0", good, "", whole)
	field("NarHash", nixhash.Sum256([]byte("x")).Base32(), Integrity, "not by the trusted key of that name", 0)
	field("NarSize", "1000", Integrity, "not by the trusted key of that name", 0)
	field("References", fault.Path("other").Base(), Integrity, "not by the trusted key of that name", 0)
	field("StorePath", fault.Path("other").String(), Integrity, "is about", 0)
	field("Compression", "xz", good, "the NAR is zstd although the narinfo says xz", whole)
	field("Compression", "lrzip", Integrity, "unsupported compression \"lrzip\"", whole)
	field("Compression", "none", good, "the NAR is zstd although the narinfo says none", whole)
	field("URL", "nar/nothing.nar", NotFound, "not there", 0)
	field("URL", "../../../etc/passwd", Integrity, "leads out of the cache", 0)
	field("URL", "//other.example/x", Integrity, "leads out of the cache", 0)
	field("URL", "/x", Integrity, "leads out of the cache", 0)
	field("URL", "file:///etc/passwd", Integrity, "leads out of the cache", 0)
	field("URL", "http://%zz/", Integrity, "is not valid", 0)
	field("Sig", "", Integrity, "", 0)
	field("Sig", "other-1:"+strings.Repeat("A", 86)+"==", Integrity, "which is not trusted (trusted: test-1)", 0)
	field("Sig", "test-1:"+strings.Repeat("A", 86)+"==", Integrity, "not by the trusted key of that name", 0)
	return cases
}

// setField replaces a line of a narinfo.
func setField(text []byte, name, value string) []byte {
	var out []byte
	for line := range bytes.Lines(text) {
		if bytes.HasPrefix(line, []byte(name+": ")) {
			line = []byte(name + ": " + value + "\n")
		}
		out = append(out, line...)
	}
	return out
}

func otherInfo() []byte {
	files := fault.Files{}
	return files.Add(signer, "other", "none", fault.NAR(nil)).Text()
}

// A fault in the only cache is the right error, in bounded time, and leaves
// nothing behind. Where there is a second cache it does no harm.
func TestFaults(t *testing.T) {
	frames, files := subjectCache(fault.Frames), subjectCache("zstd")
	p := fault.Path(subject)
	healthy := fault.New(t, files)
	for _, tt := range faultCases() {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			t.Run("alone", func(t *testing.T) {
				server := fault.New(t, frames, tt.rule)
				dir := t.TempDir()
				r := newRigWith(t, tt.rule, dir, server.URL)
				nar, err := r.get(t, p)
				warnings, received, _ := r.got()
				if KindOf(err) != tt.alone || err != nil && tt.alone == good {
					t.Fatalf("kind %d: %v", KindOf(err), err)
				}
				said := strings.Join(warnings, "\n")
				if err != nil {
					said = err.Error()
					if left := files2(t, dir); left != "" && !strings.HasSuffix(left, ".narinfo") {
						t.Errorf("left behind: %s", left)
					}
					if strings.Contains(said, "\n") || !strings.Contains(said, server.URL) || !strings.Contains(said, "subject") && !strings.Contains(said, about) {
						t.Errorf("not one line with the object and the URL: %s", said)
					}
				} else if !bytes.Equal(nar, subjectNAR) {
					t.Error("the NAR is wrong")
				}
				if !strings.Contains(said, tt.text) {
					t.Errorf("%q is not in %q", tt.text, said)
				}
				if got, most := received[server.URL], tt.sent+(1<<20)+(64<<10); got > most {
					t.Errorf("%d bytes were downloaded", got)
				}
			})
			t.Run("first", func(t *testing.T) {
				server := fault.New(t, files, tt.rule)
				dir := t.TempDir()
				r := newRigWith(t, tt.rule, dir, server.URL, healthy.URL)
				nar, err := r.get(t, p)
				if err != nil || !bytes.Equal(nar, subjectNAR) {
					t.Fatalf("with a healthy second cache: %v", err)
				}
				if left := rests(t, dir); len(left) > 0 {
					t.Errorf("left behind: %q", left)
				}
				warnings, _, stored := r.got()
				if stored != 1 || len(warnings) > 3 {
					t.Errorf("stored %d, warnings %q", stored, warnings)
				}
				if tt.alone > NotFound {
					if !strings.Contains(strings.Join(warnings, "\n"), server.URL) || len(r.Next.Degraded()) != 1 {
						t.Errorf("the cache at fault is not named: %q, degraded %q", warnings, r.Next.Degraded())
					}
				}
			})
		})
	}
}

func files2(t *testing.T, dir string) string { return strings.Join(files(t, dir), " ") }

// A fault that passes is not noticed.
func TestFaultsThatPass(t *testing.T) {
	caches := []fault.Files{subjectCache(fault.Frames), subjectCache("zstd")} // in turns
	p := fault.Path(subject)
	faults := map[string]fault.Fault{
		"408": fault.Status(408), "500": fault.Status(500), "502": fault.Status(502), "504": fault.Status(504),
		"429, seconds": fault.Busy(429, "1"), "503, no time": fault.Status(503),
		"503, date":      func(a *fault.Answer) { fault.Busy(503, time.Now().Add(time.Second).UTC().Format(http.TimeFormat))(a) },
		"stall":          fault.Hung(fault.BeforeHeaders),
		"stall, headers": fault.Hung(fault.InHeaders), "closed": fault.CutAt(0, fault.HTTP10, fault.Close),
		"cut": fault.CutPercent(50, fault.WithLength, fault.Close), "reset": fault.CutPercent(50, fault.WithLength, fault.Reset),
		"stalled": fault.CutPercent(50, fault.WithLength, fault.Stall), "cut chunks": fault.CutPercent(50, fault.Chunked, fault.Close),
		"short chunks": fault.CutPercent(50, fault.Chunked, fault.Finish), "HTTP/1.0": fault.CutPercent(50, fault.HTTP10, fault.Close),
	}
	for name, f := range faults {
		for _, first := range []int{1, 2} {
			t.Run(fmt.Sprintf("%s, %d times", name, first), func(t *testing.T) {
				t.Parallel()
				rule := fault.Rule{First: first, Fault: f}
				server := fault.New(t, caches[first-1], rule)
				r := newRigWith(t, rule, t.TempDir(), server.URL)
				nar, err := r.get(t, p)
				if err != nil || !bytes.Equal(nar, subjectNAR) {
					t.Fatal(err)
				}
				if w, _, _ := r.got(); len(w) > 0 {
					t.Errorf("warnings %q", w)
				}
				for _, path := range []string{about, anInfo, aNAR} {
					if n := server.Count(path); n > first+1 {
						t.Errorf("%d requests for %s", n, path)
					}
				}
			})
		}
	}
}

// Without FileSize and length, only the NAR itself can tell that it is cut off.
func TestCutOffUnseen(t *testing.T) {
	for _, codec := range []string{"none", "zstd", fault.Frames, "gzip", "br"} {
		t.Run(codec, func(t *testing.T) {
			files := subjectCache(codec)
			info, err := narinfo.Parse(files[fault.Path(subject).Hash()+".narinfo"])
			if err != nil {
				t.Fatal(err)
			}
			info.FileSize, info.FileHash = 0, nixhash.Hash{}
			files.Put(info)
			server := fault.New(t, files, fault.Rule{Path: aNAR, First: 1, Fault: fault.CutPercent(50, fault.Chunked, fault.Finish)})
			r := newRig(t, t.TempDir(), server.URL)
			if nar, err := r.get(t, fault.Path(subject)); err != nil || !bytes.Equal(nar, subjectNAR) {
				t.Fatal(err)
			}
			if got := server.Sent(aNAR); got > int64(len(files[info.URL])) {
				t.Errorf("%d bytes were sent of a file of %d", got, len(files[info.URL]))
			}
		})
	}
}

// Of several causes the most telling one is reported, with the others behind it.
func TestMostUseful(t *testing.T) {
	p := fault.Path(subject)
	missing, dead, lying := fault.Status(404), fault.Status(500), fault.Flip(50)
	for name, tt := range map[string]struct {
		faults []fault.Fault
		want   Kind
	}{
		"missing everywhere":  {[]fault.Fault{missing, missing}, NotFound},
		"network wins":        {[]fault.Fault{missing, dead, missing}, Network},
		"integrity wins":      {[]fault.Fault{dead, lying, missing}, Integrity},
		"integrity wins last": {[]fault.Fault{missing, dead, lying}, Integrity},
	} {
		t.Run(name, func(t *testing.T) {
			var urls []string
			for _, f := range tt.faults {
				urls = append(urls, fault.New(t, subjectCache("zstd"), fault.Rule{Path: aNAR, Fault: f}).URL)
			}
			_, err := newRig(t, t.TempDir(), urls...).get(t, p)
			if KindOf(err) != tt.want {
				t.Fatalf("kind %d: %v", KindOf(err), err)
			}
			for _, u := range urls {
				if !strings.Contains(err.Error(), u) {
					t.Errorf("%s is not in %v", u, err)
				}
			}
		})
	}
}

// A cache in a directory: a file that is short is wrong, not broken off.
func TestFileCacheFaults(t *testing.T) {
	whole := subjectCache("zstd")
	nar := "nar/" + strings.TrimPrefix(urlOf(t, whole), "nar/")
	for name, tt := range map[string]struct {
		change func(fault.Files)
		want   Kind
	}{
		"whole":      {func(fault.Files) {}, good},
		"no NAR":     {func(f fault.Files) { delete(f, nar) }, NotFound},
		"no narinfo": {func(f fault.Files) { delete(f, fault.Path(subject).Hash()+".narinfo") }, NotFound},
		"cut NAR":    {func(f fault.Files) { f[nar] = f[nar][:1000] }, Integrity},
		"empty NAR":  {func(f fault.Files) { f[nar] = nil }, Integrity},
	} {
		t.Run(name, func(t *testing.T) {
			files := maps.Clone(whole)
			tt.change(files)
			dir := t.TempDir()
			writeFiles(t, dir, files)
			_, err := newRig(t, t.TempDir(), "file://"+dir).get(t, fault.Path(subject))
			if KindOf(err) != tt.want {
				t.Errorf("kind %d: %v", KindOf(err), err)
			}
			if _, err := newRig(t, t.TempDir(), "file://"+dir, fault.New(t, whole).URL).get(t, fault.Path(subject)); err != nil {
				t.Errorf("with a healthy second cache: %v", err)
			}
		})
	}
}
