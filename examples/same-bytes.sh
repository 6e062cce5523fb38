#!/usr/bin/env bash
# Builds one image from caches in nine compressions, with one decoder and with several, and compares the digests: they
# must all be equal. Needs Go; writes to a temporary directory only.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

system=/nix/store/qfhwr7cblmbjq9kbrhna3hsdz3jppn6j-system-toplevel
caches=testdata/caches/tiny

CGO_ENABLED=0 go build -o "$work/thaw" ./cmd/thaw
for codec in xz zstd bzip2 gzip br lz4 lzip lzma compress; do
  for jobs in 1 4; do
    digest=$("$work/thaw" build $system -o "$work/system.img" --cache $caches/cache-$codec \
      --trusted-key $caches/test-cache-1.pub --jobs $jobs --no-cache --quiet | cut -f 3)
    printf '%-8s --jobs %d  %s\n' $codec $jobs "$digest"
    echo "$digest" >> "$work/digests"
  done
done
[ "$(sort -u "$work/digests" | wc -l)" = 1 ] || { echo 'they differ' >&2; exit 1; }
