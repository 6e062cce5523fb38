// Package nixhash reads and writes hashes in the spellings that Nix uses:
//
//	sha256:1b4sb93wp679q4zx9k1ignby1yna3z7c4c2ri3wphylbc2dwsys0   base-32
//	sha256:40d96e...                                              base-16
//	sha256:QNluQ...=                                              base-64
//	sha256-QNluQ...=                                              SRI
//
// Only canonical spellings are read: exact length, no stray bits, one case.
package nixhash

import (
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"hash"
	"strings"
)

// Algo is a hash algorithm that Nix knows.
type Algo uint8

// The algorithms. The zero Algo is none.
const (
	MD5 Algo = 1 + iota
	SHA1
	SHA256
	SHA512
)

var algos = [...]struct {
	name string
	size int
}{{}, {"md5", md5.Size}, {"sha1", sha1.Size}, {"sha256", sha256.Size}, {"sha512", sha512.Size}}

// String returns the algorithm's name as Nix writes it.
func (a Algo) String() string { return algos[a].name }

// Size returns the length of a digest in bytes.
func (a Algo) Size() int { return algos[a].size }

// New returns a fresh hash of the algorithm.
func (a Algo) New() hash.Hash {
	switch a {
	case MD5:
		return md5.New()
	case SHA1:
		return sha1.New()
	case SHA256:
		return sha256.New()
	case SHA512:
		return sha512.New()
	}
	panic("nixhash: no algorithm")
}

// ParseAlgo reads an algorithm's name.
func ParseAlgo(name string) (Algo, error) {
	for a := MD5; a <= SHA512; a++ {
		if algos[a].name == name {
			return a, nil
		}
	}
	return 0, fmt.Errorf("%q is not a hash algorithm that Nix uses", clip(name))
}

// Hash is a digest and its algorithm. It is comparable; the zero value is no
// hash.
type Hash struct {
	algo   Algo
	digest [sha512.Size]byte
}

// Of wraps a digest. It panics unless digest has the algorithm's size.
func Of(a Algo, digest []byte) Hash {
	if len(digest) != a.Size() || a == 0 {
		panic("nixhash: digest of the wrong size")
	}
	h := Hash{algo: a}
	copy(h.digest[:], digest)
	return h
}

// Sum256 returns the SHA-256 of data.
func Sum256(data []byte) Hash {
	d := sha256.Sum256(data)
	return Of(SHA256, d[:])
}

// Parse reads a hash with its algorithm in any of the four spellings.
func Parse(s string) (Hash, error) {
	i := strings.IndexAny(s, ":-")
	if i < 0 {
		return Hash{}, fmt.Errorf("%q is not ALGORITHM:DIGEST", clip(s))
	}
	a, err := ParseAlgo(s[:i])
	if err != nil {
		return Hash{}, err
	}
	text := s[i+1:]
	h := Hash{algo: a}
	n := a.Size()
	switch {
	case len(text) == base64.StdEncoding.EncodedLen(n):
		var b []byte // with too little padding, one or two bytes too many
		if b, err = base64.StdEncoding.Strict().DecodeString(text); err == nil && len(b) != n {
			err = fmt.Errorf("a digest of %d bytes", len(b))
		}
		copy(h.digest[:], b)
	case s[i] == '-':
		err = fmt.Errorf("a digest of %d characters", len(text))
	case len(text) == 2*n && text == strings.ToLower(text):
		_, err = hex.Decode(h.digest[:n], []byte(text))
	case len(text) == base32Len(n):
		err = decode32(h.digest[:n], text)
	default:
		err = fmt.Errorf("a digest of %d characters", len(text))
	}
	if err != nil {
		return Hash{}, fmt.Errorf("%q is not a %s hash: %w", clip(s), a, err)
	}
	return h, nil
}

// IsZero reports whether h is the zero value.
func (h Hash) IsZero() bool { return h.algo == 0 }

// Algo returns the algorithm, or 0 for the zero value.
func (h Hash) Algo() Algo { return h.algo }

// Digest returns a copy of the digest's bytes.
func (h Hash) Digest() []byte { return append([]byte(nil), h.digest[:h.algo.Size()]...) }

// Base32 returns ALGORITHM:DIGEST in Nix's base-32, the spelling of narinfo
// files and of signatures.
func (h Hash) Base32() string { return h.algo.String() + ":" + h.Digest32() }

// Base16 returns ALGORITHM:DIGEST in hexadecimal, the spelling of Nix's database.
func (h Hash) Base16() string { return h.algo.String() + ":" + h.Hex() }

// SRI returns ALGORITHM-DIGEST in base-64.
func (h Hash) SRI() string {
	return h.algo.String() + "-" + base64.StdEncoding.EncodeToString(h.digest[:h.algo.Size()])
}

// Hex returns the digest alone in hexadecimal.
func (h Hash) Hex() string { return hex.EncodeToString(h.digest[:h.algo.Size()]) }

// Digest32 returns the digest alone in Nix's base-32.
func (h Hash) Digest32() string { return Encode32(h.digest[:h.algo.Size()]) }

// String returns the base-32 spelling, or "" for the zero value.
func (h Hash) String() string {
	if h.IsZero() {
		return ""
	}
	return h.Base32()
}

func clip(s string) string {
	if len(s) > 160 {
		return s[:160] + "…"
	}
	return s
}
