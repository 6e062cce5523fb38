package substituter

import (
	"cmp"
	"context"
	"errors"
	"io"
	"io/fs"
	"math"
	"os"

	"thaw/internal/atomicfile"
	"thaw/narinfo"
)

const (
	// followFrom is how much of a NAR's file must be there, in bytes, before
	// it is decoded while the rest arrives, if there is a slot that nobody
	// wants; one slot at least is never held while a server is waited for.
	// Others are decoded when they are whole.
	followFrom = 4 << 20
	// inFlight bounds the bytes of all NAR files that are arriving or wait to
	// be decoded.
	inFlight = 256 << 20
)

// errEnough ends a download that is of no more use.
var errEnough = errors.New("the download is not needed any more")

// fetch gives the NAR of an object to take; without one it stores it. The caller has
// the lock of its key.
func (d *Disk) fetch(ctx context.Context, info *narinfo.Info, take taker) error {
	d.decoder.pending.Add(info.NarSize)
	defer d.decoder.pending.Add(-info.NarSize)
	weight := min(max(cmp.Or(info.FileSize, info.NarSize), 1), inFlight)
	if err := d.flight.Acquire(ctx, weight); err != nil {
		return context.Cause(ctx)
	}
	defer d.flight.Release(weight)
	var s *spool
	if take != nil && weight <= inMemory {
		s = newSpool(d.part(info))
	} else {
		var err error
		if s, err = lockSpool(ctx, d.part(info), func() bool { return d.has(info) }); err != nil {
			return err
		}
		if s == nil && take != nil { // another process has stored it
			if err := d.read(ctx, info, take); err != nil {
				return own(judged(ctx, err, info, "file://"+d.nar(info)))
			}
			return nil
		} else if s == nil {
			return nil
		}
	}
	left := drop
	defer func() { s.close(left) }()
	to := &landing{nar: d.nar(info), s: s, take: take}
	defer to.abort()
	err := d.Next.fetch(ctx, info, func(c *Remote, info *narinfo.Info) error { return d.bring(ctx, c, info, s, to) })
	if ctx.Err() != nil || KindOf(err) == Network {
		left = keep
	}
	if err != nil {
		return own(err)
	}
	written, err := to.commit()
	if err != nil {
		return err
	}
	if take == nil {
		d.setStored(info, written)
	}
	d.Events.stored(info)
	return nil
}

// landing is where a plain NAR goes: to a taker, if there is one, else into the
// spool's file, if the cache's file is whole and in memory, else into one of its own.
type landing struct {
	take  taker
	nar   string
	s     *spool
	temp  *atomicfile.File
	spare bool // the spool's file was opened last
}

// taker returns what takes the NAR.
func (l *landing) taker() (taker, error) {
	if l.take != nil {
		return l.take, nil
	}
	f, err := l.open()
	return writeTo(f), err
}

// open returns the file, empty.
func (l *landing) open() (f *os.File, err error) {
	if l.spare = l.s.spare(); l.spare {
		f = l.s.f
	} else {
		if l.temp == nil {
			if l.temp, err = atomicfile.CreateNew(l.nar, 0o644); err != nil {
				return nil, err
			}
		}
		f = l.temp.File
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	return f, f.Truncate(0)
}

// commit makes what was written to the file that open returned last appear, and
// returns the state that the file had before.
func (l *landing) commit() (written identity, err error) {
	switch {
	case l.take != nil:
		return identity{}, nil
	case l.spare:
		if written, err = identify(l.s.f); err == nil {
			err = l.s.become(l.nar)
		}
	default:
		if written, err = identify(l.temp.File); err == nil {
			err = l.temp.Commit()
		}
	}
	return written, err
}

func (l *landing) abort() {
	if l.temp != nil {
		l.temp.Abort()
	}
}

// bring writes the NAR of an info that c gave to its place.
func (d *Disk) bring(ctx context.Context, c *Remote, info *narinfo.Info, s *spool, to *landing) error {
	if dir, ok := c.From.(File); ok {
		s.restart()
		s.end(nil)
		return d.copy(ctx, dir, c, info, to)
	}
	if err := s.begin(c, info); err != nil {
		return err
	}
	doubted := false
	for p := c.Retry.start(); ; {
		joined, err := d.receive(ctx, c, info, s, to)
		if err == nil {
			return nil
		}
		if KindOf(err) == Integrity {
			s.restart() // nobody shall go on with it
			if joined && !doubted {
				doubted = true // the pieces, one maybe from an earlier run, may not belong together
				continue
			}
		}
		var e *Error
		if !errors.As(err, &e) || !e.cut {
			return err
		}
		if err := p.again(ctx, err, 0); err != nil {
			return err
		}
	}
}

// copy writes the NAR from a cache in a directory.
func (d *Disk) copy(ctx context.Context, dir File, c *Remote, info *narinfo.Info, to *landing) error {
	body, err := dir.Get(ctx, info.URL, Part{})
	if err != nil {
		return named(err, nameOf(info))
	}
	defer body.Close()
	release, err := d.slots.take(ctx, info.NarSize)
	if err != nil {
		return err
	}
	defer release()
	take, err := to.taker()
	if err != nil {
		return err
	}
	counted := &counted{r: body}
	warnings, err := d.decoder.decode(ctx, counted, info, take)
	d.Events.received(c.String(), int(counted.n))
	d.tell(info, body.URL, warnings)
	return judged(ctx, err, info, body.URL)
}

// receive downloads the NAR's file and decodes it, both at the same time where
// that is worth while. With an error it reports whether what was found wrong had
// come in several answers, maybe of different files.
func (d *Disk) receive(ctx context.Context, c *Remote, info *narinfo.Info, s *spool, to *landing) (joined bool, err error) {
	work, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	s.reopen()
	arrived := make(chan error, 1)
	go func() {
		err := c.download(work, info, s)
		s.end(err)
		arrived <- err
	}()
	warnings, joined, err := d.unpack(work, s, info, to)
	cancel(errEnough)
	if down := <-arrived; err != nil && down != nil && !errors.Is(down, errEnough) {
		return joined || s.joined(), named(down, nameOf(info))
	}
	url, sized := s.origin()
	d.tell(info, url, warnings)
	err = judged(ctx, err, info, url)
	if e, ok := err.(*Error); ok && isCutOff(e) && !sized {
		e.Kind, e.cut, e.remedy.again = Network, true, true // the server did not say how long it is
	}
	return joined, err
}

// unpack decodes what arrives in s. It reports too whether that had come in
// several answers.
func (d *Disk) unpack(ctx context.Context, s *spool, info *narinfo.Info, to *landing) (warnings []string, joined bool, err error) {
	for {
		release, err := d.turn(ctx, s, info)
		if err != nil {
			return nil, s.joined(), err
		}
		r := s.reader()
		take, err := to.taker()
		if err == nil {
			warnings, err = d.decoder.decode(ctx, r, info, take)
		}
		release()
		restarted, joined := r.state()
		if err == nil || !restarted {
			return warnings, joined, err
		}
	}
}

// turn waits until s may be decoded.
func (d *Disk) turn(ctx context.Context, s *spool, info *narinfo.Info) (release func(), err error) {
	ended, err := s.wait(followFrom)
	if err == nil && !ended {
		select {
		case d.follow <- struct{}{}:
			if d.decoder.team.Jobs == 1 { // the only slot is for those that are whole
				return func() { <-d.follow }, nil
			}
			if release, ok := d.slots.try(); ok {
				return func() { release(); <-d.follow }, nil
			}
			<-d.follow
		default:
		}
		_, err = s.wait(math.MaxInt64)
	}
	if err != nil {
		return nil, err
	}
	return d.slots.take(ctx, info.NarSize)
}

// tell passes warnings about a NAR on.
func (d *Disk) tell(info *narinfo.Info, url string, warnings []string) {
	for _, w := range warnings {
		d.Events.warn("%s: %s: %s", nameOf(info), url, w)
	}
}

func nameOf(info *narinfo.Info) string { return "NAR of " + info.StorePath.Name() }

// judged makes an [*Error] of what decode found wrong. The trouble of this
// machine's files stays what it is.
func judged(ctx context.Context, err error, info *narinfo.Info, url string) error {
	var local *fs.PathError
	var taken takenError
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.As(err, &taken):
		return taken
	case errors.As(err, &local):
		return err
	}
	return &Error{Object: nameOf(info), URL: url, Kind: Integrity, Err: err}
}
