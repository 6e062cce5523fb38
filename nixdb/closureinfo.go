package nixdb

import (
	"fmt"
	"strconv"

	"thaw/narinfo"
)

// StorePaths returns the file store-paths of nixpkgs' closureInfo: the paths,
// sorted, one a line.
func StorePaths(infos []*narinfo.Info) []byte {
	var b []byte
	for _, info := range sorted(infos) {
		b = fmt.Appendln(b, info.StorePath)
	}
	return b
}

// Registration returns the file registration of nixpkgs' closureInfo, which
// `nix-store --load-db` reads. Each path, sorted, has the lines
//
//	path
//	hash of the NAR, sha256: and base-32
//	bytes of the NAR
//	deriver: always empty
//	number of references
//	references, sorted, one a line
//
// Signatures and content addresses have no place in it.
func Registration(infos []*narinfo.Info) []byte {
	var b []byte
	for _, info := range sorted(infos) {
		b = fmt.Appendf(b, "%s\n%s\n%d\n\n%d\n", info.StorePath, info.NarHash.Base32(), info.NarSize, len(info.References))
		for _, ref := range sortedReferences(info) {
			b = fmt.Appendln(b, ref)
		}
	}
	return b
}

// TotalNarSize returns the file total-nar-size of nixpkgs' closureInfo: the bytes
// of all NARs in decimal, on a line.
func TotalNarSize(infos []*narinfo.Info) []byte {
	var total int64
	for _, info := range infos {
		total += info.NarSize
	}
	return append(strconv.AppendInt(nil, total, 10), '\n')
}
