// Package xz decodes .xz files fast, in plain Go: no cgo, no assembly, no
// unsafe. The formats .lzma and .lz (lzip) are read by the same core.
//
// A [Reader] is an [io.Reader] and an [io.WriterTo] over any other io.Reader;
// it never seeks. Its zero [Config] reads .xz on one core and verifies
// everything:
//
//	z := xz.NewReader(body, xz.Config{MaxSize: size})
//	defer z.Close()
//	_, err := io.Copy(w, z)
//
// # What is read
//
// The .xz file format 1.2.1: concatenated streams, stream padding, any number
// of blocks, the checks None, CRC32, CRC64 and SHA-256, and LZMA2 with all
// its chunk types, resets and lc/lp/pb values. Stream header, block headers,
// index and footer are always verified against each other and against their
// CRC32s. Filters other than LZMA2 (BCJ, delta), which are rarely used, are
// an [UnsupportedError].
//
// The .lzma format ("LZMA alone"), with or without its end marker, with
// lc+lp ≤ 4 as in every encoder's output; and .lz (lzip) version 1 with any
// number of members. Bytes after the end are refused in each format.
//
// # Bounds
//
// All input is taken as hostile. A Reader needs about 200 KiB, the dictionary
// and 2 MiB; less if the output is smaller. Memory is taken as output comes, or
// at once where the caller has stated the size. The dictionary is bounded by
// [Config.MaxDict], the output by [Config.MaxSize]; either bound is an error
// before it is an allocation. An input that is cut off ends in
// [io.ErrUnexpectedEOF], one that is damaged in a [FormatError]. What was read
// before an error comes first, but only a Reader that has reached [io.EOF] has
// verified it: a check stands at a block's end.
//
// A Reader that is used again by [Reader.Reset] keeps its memory: after the
// first stream, the next ones of that size allocate nothing.
//
// # Several cores
//
// Files of several blocks whose headers give both sizes (xz -T2 and more
// writes them) can be decoded by [Config.Workers] goroutines, in order. No
// goroutine runs otherwise, and none of them touches the source. See
// [Config.MaxBlock] and [Config.Blocks] for the memory. Whoever abandons such a Reader before its
// end must call [Reader.Close].
//
// # Reading the code
//
// The files follow the documents from the outside in: reader.go is the public
// face, stream.go the container ([The .xz File Format]), lzma2.go its chunks,
// lzma.go the symbols, bits.go the range decoder, where the time goes;
// window.go holds the dictionary, alone.go and lzip.go the other two formats,
// parallel.go the work on several cores.
//
// [The .xz File Format]: https://tukaani.org/xz/xz-file-format.txt
package xz
