package substituter

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"thaw/internal/decompress"
	"thaw/narinfo"
	"thaw/storepath"
)

// Depth says how closely [Remote.Examine] looks at a NAR.
type Depth int

const (
	// Headers asks whether the NAR's file is there and how long it is.
	Headers Depth = iota
	// Contents also reads, decompresses and hashes it.
	Contents
)

// Examine looks for everything that is wrong with what the cache says and has of
// a path, within the budget of decoders' memory. Problems are for people: one line
// each. The error is about this machine or its network, or ctx.
func (r *Remote) Examine(ctx context.Context, p storepath.Path, depth Depth, budget *decompress.Budget) (problems []string, err error) {
	text, err := r.small(ctx, p.Hash()+".narinfo", narinfo.MaxSize)
	switch {
	case KindOf(err) == NotFound:
		return []string{"there is no narinfo"}, nil
	case KindOf(err) == Integrity:
		return []string{"narinfo: " + errors.Unwrap(err).Error()}, nil
	case err != nil:
		return nil, err
	}
	info, err := narinfo.OpenExempt(text, p)
	if err != nil {
		return []string{"narinfo: " + err.Error()}, nil
	}
	if !r.Exempt {
		opened, err := narinfo.Open(text, p, r.Keys)
		switch {
		case err != nil:
			problems = append(problems, "narinfo: "+err.Error())
		case opened.Trust.Warning != "":
			problems = append(problems, "narinfo: "+opened.Trust.Warning)
			info = opened
		default:
			info = opened
		}
	}
	if !decompress.Known(info.Compression) {
		return append(problems, "narinfo: "+decompress.UnsupportedError(info.Compression).Error()), nil
	}
	more, err := r.examineNAR(ctx, info, depth, budget)
	return append(problems, more...), err
}

func (r *Remote) examineNAR(ctx context.Context, info *narinfo.Info, depth Depth, budget *decompress.Budget) (problems []string, err error) {
	for p := r.Retry.start(); ; {
		if problems, err = r.tryNAR(ctx, info, depth, budget, p.silence(silenceNAR)); err == nil {
			return problems, nil
		}
		if err = p.again(ctx, err, 0); err != nil {
			break
		}
	}
	switch KindOf(err) {
	case NotFound:
		return []string{fmt.Sprintf("NAR: there is no %q", clip(info.URL))}, nil
	case Integrity:
		return []string{"NAR: " + errors.Unwrap(err).Error()}, nil
	}
	return nil, err
}

// tryNAR is one attempt of examineNAR. A body may break off because the decoder had to
// wait for its share of the budget.
func (r *Remote) tryNAR(ctx context.Context, info *narinfo.Info, depth Depth, budget *decompress.Budget, silence time.Duration) (problems []string, err error) {
	body, err := r.From.Get(ctx, info.URL, Part{Silence: silence})
	if err != nil {
		return nil, err
	}
	defer body.Close()
	if body.Size >= 0 && info.FileSize != 0 && body.Size != info.FileSize {
		problems = append(problems, fmt.Sprintf("NAR: its file has %d bytes, and the FileSize in its narinfo is %d", body.Size, info.FileSize))
	}
	if depth == Headers {
		return problems, nil
	}
	in := &counted{r: body}
	decoder := &decoder{budget: budget}
	warnings, err := decoder.decode(ctx, in, info, writeTo(io.Discard))
	for _, w := range warnings {
		problems = append(problems, "NAR: "+w)
	}
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case in.err != nil && in.err != io.EOF:
		return nil, broken(body.URL, in.err, in.n, body.Size)
	case err != nil:
		problems = append(problems, "NAR: "+err.Error())
	}
	return problems, nil
}
