package main

import (
	"errors"
	"io/fs"
	"strings"

	"golang.org/x/sys/unix"

	"thaw/assemble"
	"thaw/closure"
	"thaw/image/disk"
	"thaw/image/ext4"
	"thaw/image/oci/registry"
	"thaw/localstore"
	"thaw/lock"
	"thaw/narinfo"
	"thaw/substituter"
)

// codedError is an error with what to do about it, and its exit code. Without a text
// nothing is printed: somebody else has said it.
type codedError struct {
	text, hint string
	code       int
}

func (e *codedError) Error() string { return e.text }

// explain returns what to print of an error, what the user can do about it, and
// the exit code.
func explain(err error) (text, hint string, code int) {
	text = err.Error()
	var (
		use      *usageError
		coded    *codedError
		unsigned *narinfo.UnsignedError
		name     *closure.NameError
		damaged  *localstore.DamagedError
		space    *ext4.NoSpaceError
		clash    *collisionError
		problems *problemsError
		absent   missingError
		limit    *limitError
		forbid   assemble.ForbiddenError
		stale    *lock.StaleError
		differs  *differentError
		inodes   *ext4.NoInodesError
		pinned   *lock.Error
		sending  *registry.Error
	)
	switch {
	case errors.Is(err, errInterrupted):
		return "interrupted", "", exitInterrupted
	case errors.As(err, &use):
		return use.text, use.hint, exitUsage
	case errors.As(err, &coded):
		return coded.text, coded.hint, coded.code
	case errors.As(err, &stale) && stale.Reason == lockAbsent:
		return "there is no lock " + stale.File, "thaw lock makes it", exitStale
	case errors.As(err, &stale):
		return text, "bring it up to date with thaw lock", exitStale
	case errors.As(err, &pinned):
		return text, lockHint(pinned), exitIntegrity
	case errors.As(err, &unsigned):
		return text, trustHint(unsigned), exitIntegrity
	case errors.As(err, &name):
		return text, "the cache mixes up its objects; use another one", exitIntegrity
	case errors.As(err, &damaged):
		return text, "replace it with --repair", exitIntegrity
	case errors.As(err, &space):
		return text, "give it a larger size, or fit", exitFailed
	case errors.As(err, &differs):
		return text, "this is a mistake in thaw: please report it, with the spec", exitFailed
	case errors.As(err, &inodes):
		return text, "give it more inodes, or leave the key out", exitFailed
	case errors.As(err, &limit):
		return text, "make the image smaller, or max-size larger", exitLimit
	case errors.As(err, &forbid):
		return text, "leave out what needs it, or what forbids it", exitLimit
	case errors.As(err, &absent):
		return text, "run once without --offline", exitNotFound
	case errors.As(err, &sending) && sending.Refused():
		return text, "log in with docker login or podman login: thaw reads their credentials", exitNetwork
	case errors.As(err, &sending):
		return text, "see that the registry is there, and try again", exitNetwork
	case errors.As(err, &problems):
		return text, "", exitIntegrity
	case errors.As(err, &clash):
		return text, clash.hint(), exitFailed
	case errors.Is(err, disk.ErrFull):
		return text, "give it a larger size, or fit", exitFailed
	case errors.Is(err, unix.ENOSPC):
		return text, "free some space, or write elsewhere", exitFailed
	}
	if hint, code, ok := explainNames(err); ok {
		return text, hint, code
	}
	switch substituter.KindOf(err) {
	case substituter.Network:
		if strings.Contains(text, "credentials") {
			return text, "docs/caches.md lists where credentials are looked for: the URL, config.yaml, netrc", exitNetwork
		}
		return text, "try again later, or add another cache with --cache URL", exitNetwork
	case substituter.Integrity:
		return text, "the cache's copy is wrong: tell who runs it, or add another cache with --cache URL", exitIntegrity
	case substituter.NotFound:
		if strings.Contains(text, "--offline") {
			return text, "run once without --offline", exitNotFound
		}
		return text, "check the store path, or add a cache that has it with --cache URL", exitNotFound
	}
	var p *fs.PathError
	if errors.As(err, &p) && strings.HasSuffix(text, p.Error()) {
		text = strings.TrimSuffix(text, p.Error()) + p.Path + ": " + p.Err.Error()
	}
	return text, "", exitFailed
}

func lockHint(e *lock.Error) string {
	var unsigned *narinfo.UnsignedError
	if errors.As(e, &unsigned) && unsigned.Reason != narinfo.BadSignature {
		return trustHint(unsigned)
	}
	return "restore the lock, or make it anew with thaw lock --update"
}

func trustHint(e *narinfo.UnsignedError) string {
	switch e.Reason {
	case narinfo.NoSignature:
		return "if you trust the cache itself: --no-check-sigs=URL, for that cache alone"
	case narinfo.UnknownKeys:
		return "if you trust the signer: --trusted-key NAME:BASE64, as published by who runs the cache"
	default:
		return "compare the value of the trusted key with what the cache publishes; if it is right, do not use this cache"
	}
}
