package faultserver

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strings"

	"thaw/narinfo"
	"thaw/nixhash"
	"thaw/storepath"
)

// Signer signs narinfos. Its key follows from its name.
type Signer string

func (s Signer) private() ed25519.PrivateKey {
	seed := sha256.Sum256([]byte(s))
	return ed25519.NewKeyFromSeed(seed[:])
}

// Key returns the public key.
func (s Signer) Key() narinfo.Key {
	return narinfo.Key{Name: string(s), Public: s.private().Public().(ed25519.PublicKey)}
}

// Sign adds a signature to a narinfo.
func (s Signer) Sign(i *narinfo.Info) {
	sig := ed25519.Sign(s.private(), i.Fingerprint())
	i.Sigs = append(i.Sigs, string(s)+":"+base64.StdEncoding.EncodeToString(sig))
}

// CacheInfo is a nix-cache-info of the usual content.
const CacheInfo = "StoreDir: /nix/store\nWantMassQuery: 1\nPriority: 40\n"

// Path returns the store path of an object of that name.
func Path(name string) storepath.Path {
	sum := sha256.Sum256([]byte(name))
	p, err := storepath.New(nixhash.Encode32(sum[:20]), name)
	if err != nil {
		panic(err)
	}
	return p
}

// Add puts a signed object into the cache: its NAR, compressed with a codec of
// [Compress], and its narinfo.
func (f Files) Add(s Signer, name, codec string, nar []byte, refs ...storepath.Path) *narinfo.Info {
	packed := Compress(codec, nar)
	i := &narinfo.Info{
		StorePath: Path(name), NarHash: nixhash.Sum256(nar), NarSize: int64(len(nar)), References: refs,
		Compression: strings.TrimSuffix(codec, "-frames"), FileHash: nixhash.Sum256(packed), FileSize: int64(len(packed)),
	}
	i.URL = "nar/" + i.FileHash.Digest32() + ".nar"
	s.Sign(i)
	f[i.URL] = packed
	f.Put(i)
	if f["nix-cache-info"] == nil {
		f["nix-cache-info"] = []byte(CacheInfo)
	}
	return i
}

// Put writes a narinfo.
func (f Files) Put(i *narinfo.Info) { f[i.StorePath.Hash()+".narinfo"] = i.Text() }

// NAR returns the archive of one plain file with that content.
func NAR(content []byte) []byte {
	var b bytes.Buffer
	put := func(s []byte) {
		b.Write(binary.LittleEndian.AppendUint64(nil, uint64(len(s))))
		b.Write(s)
		b.Write(make([]byte, -len(s)&7))
	}
	for _, s := range []string{"nix-archive-1", "(", "type", "regular", "contents"} {
		put([]byte(s))
	}
	put(content)
	put([]byte(")"))
	return b.Bytes()
}

// Noise returns n bytes that do not compress, always the same for a seed.
func Noise(seed string, n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8(sha256.Sum256([]byte(seed))).Read(b)
	return b
}

// Wide puts a closure of n objects into the cache and returns its root, which
// refers to layers of objects that refer to up to width others each. The longest
// chain has about the logarithm of n to that base objects.
func (f Files) Wide(s Signer, n, width int) storepath.Path {
	name := func(i int) string { return fmt.Sprintf("object-%d", i) }
	for i := n - 1; i >= 0; i-- {
		var refs []storepath.Path
		for j := i*width + 1; j <= i*width+width && j < n; j++ {
			refs = append(refs, Path(name(j)))
		}
		f.Add(s, name(i), "none", NAR(fmt.Appendf(nil, "the content of %d", i)), refs...)
	}
	return Path(name(0))
}
