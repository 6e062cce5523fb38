package narinfo

import (
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"thaw/storepath"
)

// CacheNixosOrg is the public key of cache.nixos.org.
const CacheNixosOrg = "cache.nixos.org-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY="

// Key is a public key by which narinfos are signed. Names are chosen by their
// owners and prove nothing: two keys may have the same.
type Key struct {
	Name   string
	Public ed25519.PublicKey
}

// ParseKey reads NAME:BASE64, the form of Nix's trusted-public-keys.
func ParseKey(s string) (Key, error) {
	name, text, ok := strings.Cut(s, ":")
	if !ok || name == "" {
		return Key{}, fmt.Errorf("%q is not a public key: it has the form NAME:BASE64", clip(s))
	}
	pub, err := decodeBase64(text)
	switch {
	case err != nil:
		return Key{}, fmt.Errorf("the public key %q is not base-64 after its name", clip(s))
	case len(pub) == ed25519.PrivateKeySize:
		return Key{}, fmt.Errorf("the key named %q is a secret key; a public key has %d bytes", clip(name), ed25519.PublicKeySize)
	case len(pub) != ed25519.PublicKeySize:
		return Key{}, fmt.Errorf("the public key %q has %d bytes instead of %d", clip(name), len(pub), ed25519.PublicKeySize)
	}
	return Key{name, pub}, nil
}

// String returns NAME:BASE64.
func (k Key) String() string { return k.Name + ":" + base64.StdEncoding.EncodeToString(k.Public) }

// Keys are the keys that a run trusts. No keys means that only
// content-addressed paths are believed.
type Keys []Key

// Names returns the names of the keys, in their order.
func (ks Keys) Names() []string {
	names := make([]string, len(ks))
	for i, k := range ks {
		names[i] = k.Name
	}
	return names
}

// UnsignedError says that nobody trusted vouches for a path.
type UnsignedError struct {
	Path    storepath.Path
	Present []string // key names on the narinfo, in order
	Trusted []string // key names that this run trusts
	Reason  Untrusted
	CA      string // why its content address is no proof, or "" if it has none
}

// Untrusted is one of the ways in which a narinfo can lack trust.
type Untrusted int

// The three ways.
const (
	NoSignature  Untrusted = iota // it has no signature at all
	UnknownKeys                   // it is signed, by none of the trusted keys
	BadSignature                  // it names a trusted key, and the signature is not that key's
)

func (e *UnsignedError) Error() string {
	trusted := "no key is trusted"
	if len(e.Trusted) > 0 {
		trusted = "trusted: " + strings.Join(e.Trusted, ", ")
	}
	var s string
	switch e.Reason {
	case NoSignature:
		s = fmt.Sprintf("%s has no signature (%s)", e.Path.Base(), trusted)
	case UnknownKeys:
		s = fmt.Sprintf("%s is signed by %s, which is not trusted (%s)", e.Path.Base(), strings.Join(e.Present, ", "), trusted)
	case BadSignature:
		s = fmt.Sprintf("%s has a signature that says %s but is not by the trusted key of that name: forged, or the trusted key has the wrong value",
			e.Path.Base(), strings.Join(e.Present, ", "))
	}
	if e.CA != "" {
		s += "; its content address is no proof: " + e.CA
	}
	return s
}

// WrongPathError says that a narinfo is about another object.
type WrongPathError struct{ Want, Got storepath.Path }

func (e *WrongPathError) Error() string {
	return fmt.Sprintf("the narinfo of %s is about %s", e.Want.Base(), e.Got.Base())
}

// Open reads the text of a narinfo and returns it only if it is about want and
// can be believed: it has a signature by a trusted key, or its store path
// recomputes from its CA field. The name in its StorePath may differ from
// want's, as long as the hash part is the same.
//
// When trust comes from the CA alone, the NAR must still be held against it:
// see [Info.ContentCheck].
//
// Errors are [*SyntaxError], [*WrongPathError] or [*UnsignedError].
func Open(text []byte, want storepath.Path, trusted Keys) (*Info, error) {
	info, err := OpenExempt(text, want)
	if err != nil {
		return nil, err
	}
	good, reason := info.verify(trusted)
	caErr := info.verifyCA()
	info.Trust.Sigs = good
	info.Trust.Keys = signers(good)
	info.Trust.ByCA = info.CA != "" && caErr == nil
	if len(good) == 0 && !info.Trust.ByCA {
		err := &UnsignedError{Path: info.StorePath, Present: info.keyNames(), Trusted: trusted.Names(), Reason: reason}
		if caErr != nil {
			err.CA = caErr.Error()
		}
		return nil, err
	}
	if caErr != nil {
		info.Trust.Warning = fmt.Sprintf("the CA of %s is passed over, its signature is good: %v", info.StorePath.Base(), caErr)
	}
	return info, nil
}

// OpenExempt reads the text of a narinfo from a cache that needs no signatures:
// it checks only that it is about want. Trust stays empty.
func OpenExempt(text []byte, want storepath.Path) (*Info, error) {
	info, err := Parse(text)
	if err != nil {
		return nil, err
	}
	if info.StorePath.Hash() != want.Hash() {
		return nil, &WrongPathError{want, info.StorePath}
	}
	return info, nil
}

// verify returns the signatures by trusted keys, sorted and each once, or why
// there are none.
func (i *Info) verify(trusted Keys) (good []string, reason Untrusted) {
	if len(i.Sigs) == 0 {
		return nil, NoSignature
	}
	reason = UnknownKeys
	var prints [][]byte
	for _, s := range i.Sigs {
		name, text, _ := strings.Cut(s, ":")
		for _, k := range trusted {
			if k.Name != name {
				continue
			}
			if prints == nil {
				prints = i.fingerprints()
			}
			sig, err := decodeBase64(text)
			if err == nil && len(sig) == ed25519.SignatureSize && slices.ContainsFunc(prints, func(p []byte) bool { return ed25519.Verify(k.Public, p, sig) }) {
				good = append(good, name+":"+base64.StdEncoding.EncodeToString(sig))
				break
			}
			reason = BadSignature
		}
	}
	slices.Sort(good)
	return slices.Compact(good), reason
}

// signers returns the names before the colons of good signatures, sorted and
// each once.
func signers(good []string) []string {
	var names []string
	for _, s := range good {
		name, _, _ := strings.Cut(s, ":")
		names = append(names, name)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Fingerprint returns the text that signatures cover, with the references
// sorted as Nix does:
//
//	1;STOREPATH;NARHASH;NARSIZE;REFERENCE,REFERENCE,…
func (i *Info) Fingerprint() []byte {
	return i.fingerprint(slices.SortedFunc(slices.Values(i.References), storepath.Path.Compare))
}

// fingerprints returns the sorted form and, if it differs, the form as listed:
// some old genuine signatures cover that.
func (i *Info) fingerprints() [][]byte {
	prints := [][]byte{i.Fingerprint()}
	if !slices.IsSortedFunc(i.References, storepath.Path.Compare) {
		prints = append(prints, i.fingerprint(i.References))
	}
	return prints
}

func (i *Info) fingerprint(refs []storepath.Path) []byte {
	b := append([]byte("1;"), i.StorePath.String()...)
	b = append(append(b, ';'), i.NarHash.Base32()...)
	b = strconv.AppendInt(append(b, ';'), i.NarSize, 10)
	b = append(b, ';')
	for n, r := range refs {
		if n > 0 {
			b = append(b, ',')
		}
		b = append(b, r.String()...)
	}
	return b
}

// keyNames returns the names before the colons of the signatures.
func (i *Info) keyNames() []string {
	var names []string
	for _, s := range i.Sigs {
		name, _, ok := strings.Cut(s, ":")
		if !ok {
			name = "(no key name)"
		}
		if name = strconv.QuoteToGraphic(clip(name)); !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// decodeBase64 reads standard base-64 with or without its padding.
func decodeBase64(s string) ([]byte, error) {
	return base64.RawStdEncoding.Strict().DecodeString(strings.TrimRight(s, "="))
}
