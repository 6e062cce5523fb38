package assemble

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"thaw/nar"
	"thaw/narinfo"
	"thaw/rootfs"
	"thaw/substituter"
)

// signedDepth is how deep an object may nest that a trusted key or its content
// address vouches for. Others have the limit of package nar.
const signedDepth = 1024

// storeTime is the modification time of everything in a store.
var storeTime = time.Unix(1, 0).UTC()

// ReadObject calls visit for each entry of a store object. Paths are relative to
// the object, whose own is ".". data is nil unless the entry is a regular file,
// and need not be read. An error of visit ends the reading.
//
// visit sees bytes before the NAR's hash is known to be right: what it does with
// them must not last if ReadObject returns an error.
func ReadObject(ctx context.Context, s substituter.Substituter, info *narinfo.Info, visit func(e rootfs.Entry, data io.Reader) error) (err error) {
	stream, err := s.Open(ctx, info)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stream.Close()) }()
	return ReadNAR(stream, info, visit)
}

// readers have buffers, which cost more than many a store object.
var readers = sync.Pool{New: func() any { return nar.NewReader(nil) }}

// ReadNAR is [ReadObject] for a NAR that is open.
func ReadNAR(stream io.Reader, info *narinfo.Info, visit func(e rootfs.Entry, data io.Reader) error) error {
	r := readers.Get().(*nar.Reader)
	defer func() {
		r.Reset(nil)
		readers.Put(r)
	}()
	r.Reset(stream)
	if len(info.Trust.Keys) > 0 || info.Trust.ByCA {
		r.AllowDepth(signedDepth)
	}
	for {
		h, err := r.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return badNAR(info, err)
		}
		e := rootfs.Entry{Path: h.Path, Mode: h.Kind.Mode(), Size: h.Size, Target: h.Target, ModTime: storeTime}
		var data io.Reader
		if h.Kind.IsFile() {
			data = r
		}
		if err := visit(e, data); err != nil {
			return badNAR(info, err)
		}
	}
}

// badNAR makes an integrity error of what the format of a NAR is blamed for. Its
// hash may be right: then somebody signed rubbish.
func badNAR(info *narinfo.Info, err error) error {
	var f *nar.FormatError
	if errors.As(err, &f) && substituter.KindOf(err) == 0 {
		return &substituter.Error{Object: "NAR of " + info.StorePath.Name(), URL: info.Source, Kind: substituter.Integrity, Err: err}
	}
	return err
}
