#!/bin/sh
# The first program that the kernel starts: it loads modules, mounts the root
# file system and hands over to the init in it. The first case below has all the
# words of the kernel's command line that it heeds, besides MODULE.PARAMETER=;
# /etc/initrd.conf has what holds where they say nothing.

[ -e /proc/uptime ] || mount -t proc -o nosuid,nodev,noexec proc /proc
[ -e /sys/class ] || mount -t sysfs -o nosuid,nodev,noexec sysfs /sys
[ -e /dev/null ] || mount -t devtmpfs -o nosuid,mode=0755 devtmpfs /dev

say() { echo "initrd: $*"; }

. /etc/initrd.conf
read -r cmdline </proc/cmdline
set -f
for word in $cmdline; do
	case $word in
	root=*) root=${word#*=} image= ;; # an image is in another place
	rootimage=*) image=${word#*=} ;;
	rootfstype=*) type=${word#*=} ;;
	rootflags=*) flags=${word#*=} ;;
	ro | rw) mode=$word ;;
	rootwait) timeout= ;;
	rootwait=*) timeout=${word#*=} ;;
	rootdelay=*) delay=${word#*=} ;;
	init=*) init=${word#*=} ;;
	overlay=*) overlay=${word#*=} ;;
	rescue) rescue=yes ;;
	thaw.shell) shell=yes ;;
	--) break ;;
	esac
done

# A line has the name of a module, its file, and the names of those it needs.
missing=' '
while read -r name file needs; do
	options=
	for word in $cmdline; do
		case $word in "$name".*) options="$options ${word#*.}" ;; esac
	done
	for need in $needs; do
		case $missing in *" $need "*) missing="$missing$name " && continue 2 ;; esac
	done
	error=$(insmod "$file" $options 2>&1) && continue
	case $error in
	*'File exists'*) ;; # as this script runs again
	*'No such device'*) missing="$missing$name " ;; # that it drives
	*) missing="$missing$name " && say "$error" ;;
	esac
done </etc/initrd.modules
set +f

# ask opens a shell; $1 says what its end leads to.
ask() {
	busybox --install -s /bin 2>/dev/null
	say "a shell; exit to $1"
	if setsid cttyhack true 2>/dev/null; then setsid cttyhack sh; else sh; fi
}

# field prints the value of the key $1 in what the kernel says about the device
# whose directory is $2.
field() {
	while read -r line; do
		case $line in "$1="*) echo "${line#*=}" && return ;; esac
	done <"$2/uevent"
	return 1
}

# device prints the path of the block device that $1 names, if it is there.
device() {
	case $1 in
	/dev/disk/by-label/*) device "LABEL=${1##*/}" ;;
	/dev/disk/by-uuid/*) device "UUID=${1##*/}" ;;
	/dev/disk/by-partlabel/*) device "PARTLABEL=${1##*/}" ;;
	/dev/disk/by-partuuid/*) device "PARTUUID=${1##*/}" ;;
	/dev/*) [ -b "$1" ] && echo "$1" ;;
	LABEL=* | UUID=*) findfs "$1" 2>/dev/null ;;
	PARTLABEL=*) partition label "${1#*=}" ;;
	PARTUUID=*) partition uuid "$(echo "${1#*=}" | tr A-F a-f)" ;;
	*:*) [ -e "/sys/dev/block/$1" ] && echo "/dev/$(field DEVNAME "/sys/dev/block/$1")" ;;
	*) return 1 ;;
	esac
}

# partition prints the path of the partition whose label or uuid is $2.
partition() {
	for dir in /sys/class/block/*; do
		[ -e "$dir/partition" ] || continue
		case $1 in
		label) is=$(field PARTNAME "$dir") ;;
		uuid) is=$(field PARTUUID "$dir" || partuuid "$dir" 2>/dev/null) ;;
		esac
		[ "$is" = "$2" ] && echo "/dev/$(field DEVNAME "$dir")" && return
	done
	return 1
}

# partuuid reads the PARTUUID of the partition whose directory is $1 from its
# disk, where the kernel does not tell it: from a GPT, or else an MBR.
partuuid() {
	read -r number <"$1/partition"
	read -r sector <"$1/../queue/logical_block_size"
	disk=/dev/$(field DEVNAME "$1/..") || return
	if [ "$(bytes "$sector" 8 '8/1 "%c"')" = 'EFI PART' ]; then
		set -- $(bytes $((sector + 72)) 16 '4/4 "%u "')
		bytes $(($1 * sector + (number - 1) * $4 + 16)) 16 '1/4 "%08x-" 2/2 "%04x-" 2/1 "%02x" "-" 6/1 "%02x"'
	else
		printf '%s-%02x' "$(bytes 440 4 '1/4 "%08x"')" "$number"
	fi
}

# bytes prints what is at offset $1 of the disk, $2 bytes, in hexdump's format $3.
bytes() {
	dd if="$disk" bs=1 skip="$1" count="$2" 2>/dev/null | hexdump -v -e "$3"
}

# await sets found to the device that $1 names, once it is there.
await() {
	while found=$(device "$1"); [ -z "$found" ]; do
		read -r now rest </proc/uptime
		if [ "$timeout" ] && [ "${now%.*}" -ge "$end" ]; then
			say "$1 is not there after $timeout seconds; there are:"
			cat /proc/partitions
			return 1
		fi
		sleep 0.1
	done
}

# mount_root mounts the root file system at /root.
mount_root() {
	read -r now rest </proc/uptime
	end=$((${now%.*} + ${timeout:-0}))
	if [ -z "$root" ]; then
		say 'the kernel has been told no root='
		return 1
	fi
	await "$root" || return
	if [ "$image$overlay" ]; then
		mkdir -p /run
		mount -t tmpfs -o nosuid,nodev,mode=0755 tmpfs /run || return
	fi
	if [ "$image" ]; then
		mkdir -p /run/medium
		mount -o ro "$found" /run/medium || return
		found=/run/medium/${image#/} mode=ro
	fi
	if [ -z "$overlay" ]; then
		mount ${type:+-t "$type"} -o "$mode${image:+,loop}${flags:+,$flags}" "$found" /root
		return
	fi
	mkdir -p /run/overlay/root /run/overlay/data
	mount ${type:+-t "$type"} -o "ro${image:+,loop}${flags:+,$flags}" "$found" /run/overlay/root || return
	if [ "$overlay" = tmpfs ]; then
		mount -t tmpfs -o mode=0755 tmpfs /run/overlay/data || return
	else
		await "$overlay" && mount -o rw "$found" /run/overlay/data || return
	fi
	mkdir -p /run/overlay/data/upper /run/overlay/data/work
	mount -t overlay -o lowerdir=/run/overlay/root,upperdir=/run/overlay/data/upper,workdir=/run/overlay/data/work overlay /root
}

# runs reports whether there is a program at $1 in the new root, where links
# mean other files than they do here.
runs() {
	path= rest=$1 links=0
	while [ "$rest" ]; do
		part=${rest%%/*}
		case $rest in */*) rest=${rest#*/} ;; *) rest= ;; esac
		case $part in
		'' | .) continue ;;
		..) path=${path%/*} && continue ;;
		esac
		if [ -L "/root$path/$part" ]; then
			[ $((links += 1)) -le 40 ] || return
			part=$(readlink "/root$path/$part")
			case $part in /*) path= ;; esac
			rest=$part/$rest
		else
			path=$path/$part
		fi
	done
	[ -f "/root$path" ] && [ -x "/root$path" ]
}

# find_init sets init to what comes next.
find_init() {
	for file in ${init:-/init /sbin/init}; do
		runs "$file" && init=$file && return
	done
	say "the root file system, $root, has no program ${init:-/init or /sbin/init}"
	return 1
}

[ -z "$shell" ] || ask 'go on'
[ -z "$delay" ] || sleep "$delay"
until mount_root && find_init; do
	if [ -z "$rescue" ]; then
		say "no root, no init (with the word rescue on the kernel's command line there is a shell here)"
		exit 1 # the kernel panics, and reboots if it is told so
	fi
	ask 'try again'
	umount /root /run/overlay/data /run/overlay/root /run/medium /run 2>/dev/null
done

# The mounts go along, so that the next init finds them in their places.
[ -z "$image$overlay" ] || moved=run
for dir in dev proc sys $moved; do
	[ -d "/root/$dir" ] || mkdir "/root/$dir" 2>/dev/null
	[ ! -L "/root/$dir" ] && mount -o move "/$dir" "/root/$dir" || say "/$dir is not to be had in the root file system"
done
exec switch_root /root "$init" "$@"
