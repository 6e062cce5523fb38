package substituter

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// Web gets files that are in no cache as those of caches are got: with the same
// client, the same patience, and credentials for the file's own host alone.
type Web struct {
	Client   *http.Client
	Settings HTTPSettings // of its fields for one cache, Authorization is not used
	Retry    Retry
	Events   *Events // may be nil
}

// begun is how much of a file must have come before it is handed out, in bytes.
// Until then it can be asked for again.
const begun = 1 << 20

// Get opens the file at an http or https URL, which has at most limit bytes;
// accept is the value of the header of that name, "" for none. The URL that it
// returns is the one redirects have led to, without its query. A download that
// breaks off goes on where it ended, if the server says that it is still the same
// file. A file that is not there is an [*Error] of kind [NotFound].
func (w *Web) Get(ctx context.Context, rawURL, accept string, limit int64) (body io.ReadCloser, at string, err error) {
	s := w.Settings
	s.Authorization = ""
	h, err := NewHTTP(rawURL, w.Client, s)
	if err != nil {
		return nil, "", fmt.Errorf("%q is %w", clip(rawURL), err)
	}
	d := &webFile{ctx: ctx, from: h, url: rawURL, accept: accept, limit: limit, events: w.Events}
	for p := w.Retry.start(); ; {
		if err = d.begin(p); err == nil {
			d.patience = p
			at, _, _ = strings.Cut(d.body.URL, "?")
			return d, at, nil
		}
		if err = p.again(ctx, err, 0); err != nil {
			return nil, "", err
		}
	}
}

// webFile is a file as it arrives.
type webFile struct {
	ctx      context.Context // of Get; here because reads have no ctx of their own
	from     *HTTP
	url      string
	accept   string
	limit    int64
	events   *Events
	patience *patience

	body   *Body
	start  bytes.Reader // what came before the file was handed out
	length int64        // of what has come
	err    error        // that ended the body, io.EOF for its end
	failed error        // that ended the file
}

// begin asks for the file and reads its beginning.
func (d *webFile) begin(p *patience) (err error) {
	d.length, d.err = 0, nil
	if d.body, err = d.from.Get(d.ctx, d.url, Part{Silence: p.silence(silenceNAR), Accept: d.accept}); err != nil {
		return err
	}
	if d.body.Size > d.limit {
		d.body.Close()
		return d.tooLong()
	}
	text, err := io.ReadAll(io.LimitReader(arriving{d}, begun))
	if err != nil {
		d.body.Close()
		return err
	}
	d.start.Reset(text)
	return nil
}

func (d *webFile) tooLong() error {
	return &Error{URL: d.body.URL, Kind: Integrity, Err: fmt.Errorf("is longer than %d KiB", d.limit>>10)}
}

// arriving is the body of a file alone.
type arriving struct{ d *webFile }

func (a arriving) Read(p []byte) (int, error) {
	d := a.d
	if d.err != nil || len(p) == 0 {
		return 0, d.err
	}
	n, err := d.body.Read(p)
	d.length += int64(n)
	d.events.received(d.from.url.Scheme+"://"+d.from.url.Host, n)
	switch {
	case d.length > d.limit:
		n, err = 0, d.tooLong()
	case err == io.EOF && d.length < d.body.Size:
		err = broken(d.body.URL, errEarly, d.length, d.body.Size)
	case err != nil && err != io.EOF:
		err = broken(d.body.URL, err, d.length, d.body.Size)
	}
	d.err = err
	if n > 0 {
		err = nil
	}
	return n, err
}

// Read implements [io.Reader].
func (d *webFile) Read(p []byte) (int, error) {
	if d.start.Len() > 0 {
		return d.start.Read(p)
	}
	for d.failed == nil {
		n, err := arriving{d}.Read(p)
		if n > 0 || err == nil || err == io.EOF {
			return n, err
		}
		d.failed = d.resume(err)
	}
	return 0, d.failed
}

// resume asks for the rest of the file after its body broke off.
func (d *webFile) resume(err error) error {
	tag := d.body.Tag
	d.body.Close()
	if tag == "" {
		return err // what comes might be of another file
	}
	for {
		if err := d.patience.again(d.ctx, err, d.length); err != nil {
			return err
		}
		var body *Body
		body, err = d.from.Get(d.ctx, d.url, Part{From: d.length, Tag: tag, Silence: d.patience.silence(silenceNAR), Accept: d.accept})
		switch {
		case err != nil:
			continue
		case body.From != d.length:
			body.Close()
			return &Error{URL: body.URL, Kind: Network, Err: fmt.Errorf("the download broke off after %d bytes, and the server has another file now", d.length)}
		}
		d.body, d.err = body, nil
		return nil
	}
}

// Close ends the download.
func (d *webFile) Close() error { return d.body.Close() }
