#!/usr/bin/env bash
# Builds hello.yaml and other images from the example cache in this repository, looks at them with whatever tools are
# there, and runs a program. Needs Go; writes to a temporary directory only.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH=$PATH:/usr/sbin:/sbin
work=$(mktemp -d)
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT

hello=/nix/store/iv6mnmnw8z16ca4yawz70zfapazdfyvq-hello-static-1.0
busybox=/nix/store/4816nf1754f3jnz5brkh5n9y252l4san-busybox-static-1.35.0

CGO_ENABLED=0 go build -o "$work/thaw" ./cmd/thaw
export XDG_CACHE_HOME=$work/cache
thaw() { "$work/thaw" "$@"; }
has() { command -v "$1" >/dev/null || { echo "($1 is not installed)"; false; }; }

echo '# The disk of a spec, and the same again of its JSON: the result lines are equal.'
thaw build examples/hello.yaml -o "$work/hello.img" | tee "$work/first"
thaw check --json examples/hello.yaml > "$work/hello.json"
(cd examples && thaw build - -o "$work/hello.img" < "$work/hello.json") | cmp - "$work/first"
if has sgdisk; then sgdisk --verify "$work/hello.img" | grep 'No problems found'; fi
if has qemu-img; then qemu-img info "$work/hello.img" | grep 'virtual size'; fi

# Without a spec, the options say it.
thaw() { "$work/thaw" "$@" --cache testdata/example --trusted-key testdata/example/key.pub; }

echo '# The file system alone, with 16 MiB to write to.'
thaw build $hello $busybox -o "$work/hello.ext4" --size fit+16M
if has e2fsck; then e2fsck -fn "$work/hello.ext4"; fi
if has debugfs; then debugfs -R 'ls -p /' "$work/hello.ext4" 2>/dev/null; fi

echo '# A tar archive through a pipe.'
thaw build $hello -o - --format tar | tar -t | sed -n 1,6p

echo '# A store in a directory, without Nix.'
thaw unpack $hello --root "$work/root"
if [ "$(uname -s)-$(uname -m)" = Linux-x86_64 ]; then
  "$work/root$hello/bin/hello-static"
fi
