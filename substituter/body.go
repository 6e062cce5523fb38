package substituter

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"thaw/internal/decompress"
)

// minimum is how many bytes a server must send in the stall time.
const minimum = 1 << 10

// aliveBody ends a response whose server falls silent, or nearly so. The clock
// runs only while somebody waits for data.
type aliveBody struct {
	rc     io.ReadCloser
	stall  time.Duration
	ctx    context.Context // of the request; here because reads have no ctx of their own
	cancel context.CancelCauseFunc
	timer  *time.Timer
	left   time.Duration // of the stall time
	got    int           // bytes since it began
}

func (a *aliveBody) Read(p []byte) (int, error) {
	started := time.Now()
	if a.timer == nil {
		a.timer = time.AfterFunc(a.left, func() {
			a.cancel(fmt.Errorf("the server sent next to nothing for %s", a.stall))
		})
	} else {
		a.timer.Reset(a.left)
	}
	n, err := a.rc.Read(p)
	a.timer.Stop()
	a.left = max(a.left-time.Since(started), 1)
	if a.got += n; a.got >= minimum {
		a.left, a.got = a.stall, 0
	}
	if err != nil && err != io.EOF {
		if a.ctx.Err() != nil {
			err = context.Cause(a.ctx)
		} else if errors.Is(err, io.ErrUnexpectedEOF) {
			err = errors.New("the server closed the connection early")
		}
	}
	return n, err
}

func (a *aliveBody) Close() error {
	if a.timer != nil {
		a.timer.Stop()
	}
	err := a.rc.Close()
	a.cancel(nil)
	return err
}

// alarm calls ring some time after it was last set, until it is off for good.
type alarm struct {
	ring  func()
	mu    sync.Mutex
	timer *time.Timer
	ended bool
}

func (a *alarm) set(d time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.timer != nil {
		a.timer.Stop()
	}
	if !a.ended {
		a.timer = time.AfterFunc(d, a.ring)
	}
}

func (a *alarm) off() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ended = true
	if a.timer != nil {
		a.timer.Stop()
	}
}

// decoded undoes a Content-Encoding. Servers label files that are not so
// encoded: what does not look it is passed on as it is.
func decoded(enc string, body io.ReadCloser) (io.ReadCloser, error) {
	switch enc {
	case "x-gzip":
		enc = "gzip"
	case "gzip", "br", "zstd":
	default:
		return nil, fmt.Errorf("the answer has the unsupported Content-Encoding %q", clip(enc))
	}
	br := bufio.NewReaderSize(body, 32<<10)
	head, _ := br.Peek(24) // an error comes again
	look := decompress.Sniff(head)
	if enc == "br" && look == "" && !isText(head) {
		look = "br"
	}
	if look != enc {
		return &stackedBody{io.NopCloser(br), body}, nil
	}
	z, err := decompress.NewReader(enc, br, -1)
	if err != nil {
		return nil, fmt.Errorf("the answer is not the %s that its Content-Encoding says: %w", enc, err)
	}
	return &stackedBody{z, body}, nil
}

// isText reports whether a file that starts so is text.
func isText(head []byte) bool {
	head = head[:min(len(head), 24)]
	return len(head) > 0 && bytes.IndexFunc(head, func(r rune) bool { return (r < ' ' || r > '~') && r != '\n' && r != '\r' && r != '\t' }) < 0
}

type stackedBody struct {
	io.ReadCloser
	under io.Closer
}

func (s *stackedBody) Close() error {
	return errors.Join(s.ReadCloser.Close(), s.under.Close())
}
