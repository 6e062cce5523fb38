package substituter

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"

	"thaw/internal/decompress"
	"thaw/narinfo"
)

// Peek lets read see an object's NAR, plain and from its beginning, without
// verifying it: what read learns is a hint about the object and must not become
// part of anything. Little more is fetched than read reads, and nothing is kept.
// An error of read means that the NAR is wrong: then, and if it breaks off, read
// is called again, from the beginning, as long as there is another copy to try.
func (d *Disk) Peek(ctx context.Context, info *narinfo.Info, read func(r io.Reader) error) error {
	if d.has(info) {
		err := d.peekLocal(ctx, info, read)
		if err == nil || ctx.Err() != nil {
			return err
		}
	}
	if d.offline() {
		return &Error{Object: nameOf(info), URL: "file://" + d.nar(info), Kind: NotFound, Err: errors.New("it is not whole in the local cache, and --offline forbids to fetch it")}
	}
	return d.Next.fetch(ctx, info, func(c *Remote, info *narinfo.Info) error {
		for p := c.Retry.start(); ; {
			err := d.peek(ctx, c, info, Part{Silence: p.silence(silenceNAR)}, read)
			if err == nil {
				return nil
			}
			if err = p.again(ctx, err, 0); err != nil {
				return named(err, nameOf(info))
			}
		}
	})
}

func (d *Disk) peekLocal(ctx context.Context, info *narinfo.Info, read func(r io.Reader) error) error {
	f, err := os.Open(d.nar(info))
	if err != nil {
		return err
	}
	defer f.Close()
	return read(&withContext{ctx, f})
}

// peek is one attempt of Peek.
func (d *Disk) peek(ctx context.Context, c *Remote, info *narinfo.Info, part Part, read func(r io.Reader) error) error {
	body, err := c.From.Get(ctx, info.URL, part)
	if err != nil {
		return err
	}
	defer body.Close()
	release, err := d.slots.take(ctx, info.NarSize)
	if err != nil {
		return err
	}
	defer release()
	in := &counted{r: io.LimitReader(body, largestFile(info))}
	defer func() { c.Events.received(c.String(), int(in.n)) }()
	plain, err := d.plain(ctx, in, info)
	if err == nil {
		err = read(&withContext{ctx, io.LimitReader(plain, info.NarSize)})
		plain.Close()
	}
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case in.err != nil && in.err != io.EOF:
		return broken(body.URL, in.err, in.n, body.Size)
	case in.err == io.EOF && in.n < body.Size:
		return broken(body.URL, errEarly, in.n, body.Size)
	}
	return &Error{URL: body.URL, Kind: Integrity, Err: err}
}

// plain decompresses the file of a NAR, as its first bytes or else its narinfo
// say.
func (d *Disk) plain(ctx context.Context, in io.Reader, info *narinfo.Info) (io.ReadCloser, error) {
	br := bufio.NewReaderSize(in, 64<<10)
	head, err := br.Peek(24)
	if err != nil && err != io.EOF {
		return nil, err
	}
	codec := decompress.Sniff(head)
	if codec == "" {
		if what := notANar(head); what != "" {
			return nil, errors.New(what)
		}
		codec = info.Compression
	}
	if !decompress.Known(codec) {
		return nil, decompress.UnsupportedError(codec)
	}
	return d.decoder.budget.NewReader(ctx, codec, br, info.NarSize, decompress.Team{})
}
