package main

import (
	"path/filepath"
	"runtime"
	"time"

	"thaw/benchmarks/internal/measure"
)

// A row is thaw beside others that do the same, or less.
type row struct {
	Name    string        `json:"name"`
	Cache   string        `json:"cache"` // that URL leads to
	Latency time.Duration `json:"latencyNs"`
	paths   []string
	warm    string // what is run once before, and kept in WARM
	// What comes of it, which has the same digest in all rows of a result and content.
	result  result
	content string
	jobs    int // decoders of thaw

	Ours  program `json:"ours"`
	Peers []peer  `json:"peers"`
}

// A result is what a program leaves.
type result int

const (
	tree  result = iota // DIR/root/nix/store
	list                // DIR/list, lines in any order
	image               // what thaw prints of it; it is not looked at what others make
)

// A program is one side of a row, run once for each measurement.
type program struct {
	// Script is for sh. It has THAW, URL, P (store paths), KEYS and KEYFILE (of the
	// public keys), CACHES (the directory of all), WARM, and DIR, which is fresh for
	// each run.
	Script string `json:"script"`
	measure.Usage
	Asked    asked  `json:"asked"`              // of the last run
	Syscalls int64  `json:"syscalls,omitempty"` // of one run
	Digest   string `json:"digest,omitempty"`
}

// A peer is what thaw is put beside.
type peer struct {
	Label string `json:"label"`
	program
	// What the ratios are meant to be at most; zero is anything.
	wall, cpu float64
	Goals     []measure.Goal `json:"goals,omitempty"`
}

// alone is a peer that does nothing but wait, that long.
func alone(d time.Duration) peer {
	return peer{Label: "what latency alone takes", program: program{Usage: measure.Usage{Wall: []float64{d.Seconds()}}}}
}

// Scripts.
const (
	nixCommand = `nix --extra-experimental-features nix-command `
	nixKeys    = ` --option trusted-public-keys "$KEYS" `
	nixCopy    = nixCommand + `copy --from "$URL" --to "$DIR/root"` + nixKeys + `$P`
	// One substitution for each connection: it counts as a job.
	nixBuild = nixCommand + `build --store "$DIR/root" --no-link --max-jobs 25` + nixKeys +
		`--option substitute true --option substituters "$URL" --option http-connections 25 $P`
	nixWalk = nixCommand + `path-info --recursive --store "$URL" $P >"$DIR/list"`

	common  = ` --quiet --cache "$URL" --trusted-key "$KEYFILE"`
	cold    = common + ` --cache-dir "$DIR/cache"`
	thawRun = `exec "$THAW" `
	unpack  = thawRun + `unpack` + cold + ` --root "$DIR/root" $P`
	walk    = thawRun + `closure` + cold + ` $P >"$DIR/list"`
	disk    = thawRun + `build --format disk -o "$DIR/image"` + cold + ` $P`
	squash  = thawRun + `build --format squashfs -o "$DIR/image"` + cold + ` $P`
	oneCore = `exec env GOMAXPROCS=1 "$THAW" unpack --jobs 1` + cold + ` --root "$DIR/root" $P`

	mkfs       = ` && mkfs.ext4 -q -F -O ^has_journal -b 4096 -m 0 -d "$DIR/root" "$DIR/image" 320M`
	mksquashfs = ` && mksquashfs "$DIR/root" "$DIR/image" -noappend -no-progress -quiet -all-root -all-time 1 -comp zstd -Xcompression-level `
	xzAlone    = `xargs -d '\n' -P "$(nproc)" -n 1 xz -T1 -dc <"$CACHES/` + narsFile + `" >/dev/null`
	warm       = thawRun + `build --format disk -o "$WARM/image"` + common + ` --cache-dir "$WARM/cache" $P`
	rebuild    = thawRun + `build --format disk -o "$DIR/image" --offline` + common + ` --cache-dir "$WARM/cache" $P`
	copyImage  = `cp --sparse=never "$WARM/image" "$DIR/image"`
)

// manyName is the store object of 20,000 small files.
const manyName = "many-20k"

// rows are all there are.
func rows(lists string) ([]row, error) {
	var err error
	roots := func(name string) []string {
		list, e := words(filepath.Join(lists, name+".roots"))
		if e != nil {
			err = e
		}
		return list
	}
	system, dag, wide := roots("system"), roots("dag"), roots("wide")
	many, e := named(filepath.Join(lists, "large.roots"), manyName)
	if e != nil {
		err = e
	}
	if err != nil {
		return nil, err
	}

	copied := func(wall, cpu float64) peer {
		return peer{Label: "nix copy", program: program{Script: nixCopy}, wall: wall, cpu: cpu}
	}
	ext4 := func(wall, cpu float64) peer {
		return peer{Label: "nix copy + mkfs.ext4 -d", program: program{Script: nixCopy + mkfs}, wall: wall, cpu: cpu}
	}
	built := func(wall float64) peer {
		return peer{Label: "nix build --store, 25 connections", program: program{Script: nixBuild}, wall: wall}
	}
	single := peer{Label: "thaw on one core", program: program{Script: oneCore}, wall: 0.6}
	ours := func(script string) program { return program{Script: script} }
	const ms = time.Millisecond
	// A wide closure has three levels of narinfos, of which the last takes 300
	// requests, and as many NARs, over 64 connections; a deep one has 160 levels.
	wideAlone := func(latency time.Duration) peer { return alone(3*latency + 2*latency*((301+63)/64)) }
	const levels = 160

	rows := []row{
		{Name: "unpack, xz", Cache: "xz", paths: system, content: "system", Ours: ours(unpack), Peers: []peer{copied(0.40, 0.75)}},
		{Name: "unpack, zstd", Cache: "zstd", paths: system, content: "system", Ours: ours(unpack), Peers: []peer{copied(0.50, 0.60)}},
		{Name: "unpack, none", Cache: "none", paths: system, content: "system", Ours: ours(unpack), Peers: []peer{copied(0, 0)}},
		{Name: "ext4 disk, xz", Cache: "xz", paths: system, result: image, content: "disk", Ours: ours(disk), Peers: []peer{
			ext4(0.30, 0.55),
			{Label: "xz -dc of all NARs, one process a core", program: program{Script: xzAlone}, wall: 1.15, cpu: 1.25},
		}},
		{Name: "ext4 disk, zstd", Cache: "zstd", paths: system, result: image, content: "disk", Ours: ours(disk), Peers: []peer{ext4(0.20, 0.30)}},
		{Name: "ext4 disk, none", Cache: "none", paths: system, result: image, content: "disk", Ours: ours(disk), Peers: []peer{ext4(0, 0)}},
		{Name: "squashfs zstd, xz", Cache: "xz", paths: system, result: image, content: "squashfs", Ours: ours(squash), Peers: []peer{
			// The fastest level whose file is not more than 4 % larger than ours: that of 14 is 1 % smaller.
			{Label: "nix copy + mksquashfs, level 13", program: program{Script: nixCopy + mksquashfs + "13"}, wall: 0.60, cpu: 0.90},
			{Label: "nix copy + mksquashfs, level 15, its default", program: program{Script: nixCopy + mksquashfs + "15"}},
		}},
		{Name: "deep graph, 321 paths", Cache: "xz", paths: dag, content: "dag", Ours: ours(unpack), Peers: []peer{copied(0.30, 0.40)}},
		{Name: "wide graph, 302 paths", Cache: "xz", paths: wide, content: "wide", Ours: ours(unpack), Peers: []peer{copied(0.30, 0.40)}},
		{Name: "ext4 disk, warm", Cache: "xz", paths: system, result: image, content: "disk", warm: warm, Ours: ours(rebuild), Peers: []peer{
			{Label: "cp --sparse=never of the image", program: program{Script: copyImage}, wall: 2.5},
		}},
		{Name: "wide graph, 25 ms a request", Cache: "xz", Latency: 25 * ms, paths: wide, content: "wide", Ours: ours(unpack), Peers: []peer{
			built(0.25), wideAlone(25 * ms)}},
		{Name: "wide graph, 100 ms a request", Cache: "xz", Latency: 100 * ms, paths: wide, content: "wide", Ours: ours(unpack), Peers: []peer{
			wideAlone(100 * ms)}},
		{Name: "deep graph, 25 ms a request", Cache: "xz", Latency: 25 * ms, paths: dag, content: "dag", Ours: ours(unpack), Peers: []peer{
			built(0.6), alone(levels * 25 * ms)}},
		{Name: "closure of the deep graph, 25 ms a request", Cache: "xz", Latency: 25 * ms, paths: dag, result: list, content: "dag", Ours: ours(walk), Peers: []peer{
			{Label: "nix path-info -r", program: program{Script: nixWalk}}, alone(levels * 25 * ms)}},
		{Name: "one file of 200 MiB, xz of many blocks", Cache: "huge-xz", content: "huge", Ours: ours(unpack), Peers: []peer{copied(0, 0), single}},
		{Name: "one file of 200 MiB, zstd of many frames", Cache: "huge-frames", content: "huge", Ours: ours(unpack), Peers: []peer{copied(0, 0), single}},
		{Name: "one file of 200 MiB, zstd of one frame", Cache: "huge-zstd", content: "huge", Ours: ours(unpack), Peers: []peer{copied(0, 0)}},
		{Name: "one file of 200 MiB, none", Cache: "huge-none", content: "huge", Ours: ours(unpack), Peers: []peer{copied(0, 0)}},
		{Name: "20,000 small files, xz", Cache: "xz", paths: []string{many}, content: "many", Ours: ours(unpack), Peers: []peer{copied(0, 0)}},
		{Name: "20,000 small files, zstd", Cache: "zstd", paths: []string{many}, content: "many", Ours: ours(unpack), Peers: []peer{copied(0, 0)}},
		{Name: "20,000 small files, none", Cache: "none", paths: []string{many}, content: "many", Ours: ours(unpack), Peers: []peer{copied(0, 0)}},
		manyRow("closure of 10,000 paths, flat, 30 ms a request", "flat", flatRoot.String(), 5), // layers of ten times as many
		manyRow("closure of 10,000 paths, deep, 30 ms a request", "deep", deepRoot.String(), deepChain),
	}
	for i := range rows {
		r := &rows[i]
		if r.paths == nil {
			r.paths = []string{hugePath.String()}
		}
		r.jobs = runtime.GOMAXPROCS(0)
	}
	return rows, nil
}

// manyRow is of a closure of 10,000 paths, in that many levels.
func manyRow(name, cache, root string, levels int) row {
	const latency = 30 * time.Millisecond
	return row{
		Name: name, Cache: cache, Latency: latency, paths: []string{root}, result: list, content: cache,
		Ours: program{Script: walk}, Peers: []peer{alone(time.Duration(levels)*latency + flatPaths*latency/64)},
	}
}
