package substituter

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Retry says how patient a [Remote] is with a server. The zero values of its
// fields are the documented defaults.
type Retry struct {
	Attempts int           // requests for one file that bring nothing; 0 means 5
	Soon     time.Duration // base of the back-off after a failure; 0 means 100 ms
	Later    time.Duration // the same after a server asked for patience; 0 means 1 s
	Budget   time.Duration // for waits and for attempts that bring nothing, for one file; 0 means 2 minutes
}

// longestWait bounds one back-off.
const longestWait = time.Minute

// enough is by how many bytes an attempt must get further than all before it to
// count as one that brought something.
const enough = 64 << 10

// mostSilent is how many requests for one file a server may leave without any
// answer.
const mostSilent = 3

// How long the first request for a file waits for its answer to begin. Servers
// may make a NAR while it is waited for.
const (
	silenceSmall = 5 * time.Second
	silenceNAR   = 15 * time.Second
)

// remedy says whether a failed request may be made again.
type remedy struct {
	again   bool
	patient bool          // the server asked for patience
	after   time.Duration // for so long at least
}

// patience is what is left of a [Retry] for one file.
type patience struct {
	retry    Retry
	attempts int   // since something came
	reached  int64 // bytes of the file that were there at some time
	spent    time.Duration
	started  time.Time // of the attempt that is going on
}

func (r Retry) start() *patience {
	r.Attempts = cmp.Or(r.Attempts, 5)
	r.Soon = cmp.Or(r.Soon, 100*time.Millisecond)
	r.Later = cmp.Or(r.Later, time.Second)
	r.Budget = cmp.Or(r.Budget, 2*time.Minute)
	return &patience{retry: r, started: time.Now()}
}

// silence returns how long the next attempt waits for an answer to begin: twice
// as long each time. Requests get lost, above all in servers that are asked for
// much at a time, and are soon answered when they are made again.
func (p *patience) silence(first time.Duration) time.Duration {
	return first << min(p.attempts, 10)
}

// again decides after an attempt that failed with length bytes of the file there.
// It returns nil, after the back-off, if there shall be another one, else what to
// report.
func (p *patience) again(ctx context.Context, err error, length int64) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var e *Error
	if !errors.As(err, &e) || !e.remedy.again {
		return err
	}
	if length >= p.reached+enough {
		p.attempts, p.spent, p.reached = 0, 0, length
	} else {
		p.spent += time.Since(p.started)
	}
	p.attempts++
	base := p.retry.Soon
	if e.remedy.patient {
		base = p.retry.Later
	}
	var silent silentError
	limit := p.retry.Attempts
	if errors.As(err, &silent) {
		limit = min(limit, mostSilent)
	}
	wait := max(backoff(base, p.attempts), e.remedy.after)
	switch {
	case p.spent+e.remedy.after > p.retry.Budget && e.remedy.after > 0:
		e.Err = fmt.Errorf("%w, and asks to wait %s", e.Err, e.remedy.after.Round(time.Second))
		fallthrough
	case p.attempts >= limit || p.spent+wait > p.retry.Budget:
		if p.attempts > 1 {
			e.Err = fmt.Errorf("%w (%d attempts)", e.Err, p.attempts)
		}
		return err
	}
	if err := sleep(ctx, wait); err != nil {
		return err
	}
	p.spent += wait
	p.started = time.Now()
	return nil
}

// backoff returns a random time of up to base·2ⁿ⁻¹ and at most a minute.
func backoff(base time.Duration, n int) time.Duration {
	return rand.N(min(base<<min(n-1, 20), longestWait)) + 1
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// retryAfter reads the header of that name, which has seconds or a date; 0 if it
// has neither. RFC 9110, section 10.2.3.
func retryAfter(h http.Header, now time.Time) time.Duration {
	text := strings.TrimSpace(h.Get("Retry-After"))
	if s, err := strconv.ParseInt(text, 10, 32); err == nil && s > 0 {
		return time.Duration(s) * time.Second
	}
	if t, err := http.ParseTime(text); err == nil {
		return max(t.Sub(now), 0)
	}
	return 0
}
