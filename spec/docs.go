package spec

// doc describes a key.
type doc struct {
	id      string // STRUCT.KEY
	text    string // the first sentence is also what Explain says
	example string // a value in YAML
}

// docs is the table of them: one for each key, in the order of the structs.
var docs = []doc{
	{"Spec.version", "The version of this format.", `1`},
	{"Spec.name", "What the image is called.", `vm`},
	{"Spec.arch", "What the image runs on, in Nix's words. Packages that are named rather than given as store paths need it.", `x86_64-linux`},
	{"Spec.epoch", "The modification time of all that is no store object, in seconds since 1970. Store objects always have 1.", `1735689600`},
	{"Spec.seed", "All UUIDs and GUIDs are derived from this text. Without it they are derived from the closure and the spec, so equal images have equal ones.", `staging`},
	{"Spec.caches", "The binary caches to fetch from. They replace those of the environment and the configuration; those of the command line replace them.", `[https://cache.example.org]`},
	{"Spec.keys", "The public keys that are trusted. They replace those of the environment and the configuration; those of the command line replace them.", `["cache.nixos.org-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY="]`},
	{"Spec.packages", "What goes into the image, with all that it refers to. A bare text is a path. A store path that is listed twice counts once.", `[/nix/store/00000000000000000000000000000000-hello-2.12.1]`},
	{"Spec.forbid", "Store paths that may not be in the image: the build fails, and says what they are needed for.", `["perl-*", "*-doc"]`},
	{"Spec.rootfs", "What the root file system has besides the packages.", `{hostname: vm}`},
	{"Spec.boot", "How the image starts.", `{kernel: auto, cmdline: "console=ttyS0"}`},
	{"Spec.outputs", "The forms in which the image is written, by names of your choice. With several, each becomes a file (or directory) called by its name.", `{disk: {type: disk}}`},

	{"Cache.url", "Where the cache is.", `https://cache.example.org`},
	{"Cache.priority", "Caches with a lower number are asked first, and equal ones in the order of the list.", `30`},
	{"Cache.auth", "Where the credentials for this cache are. A spec holds no secrets itself.", `{authorization-env: CACHE_TOKEN}`},
	{"Cache.trust", "The names of the keys that count for what comes from this cache. It narrows the trusted keys, and never adds to them.", `[cache.example.org-1]`},

	{"Auth.netrc", "A netrc file with the login and password for the host.", `/etc/nix/netrc`},
	{"Auth.authorization-file", "A file that holds the value of the header Authorization.", `token.txt`},
	{"Auth.authorization-env", "An environment variable that holds the value of the header Authorization.", `CACHE_TOKEN`},

	{"Package.path", "A store path.", `/nix/store/00000000000000000000000000000000-hello-2.12.1`},
	{"Package.name", "The name of a package, which is looked up where `from` says.", `git`},
	{"Package.closure-of", "A file that lists store paths, such as store-paths of nixpkgs' closureInfo. They are in the image but not in its merged view.", `closure/store-paths`},
	{"Package.output", "Which output of the named package.", `bin`},
	{"Package.from", "Where the name is looked up.", `channel:https://channels.nixos.org/nixos-25.05`},
	{"Package.priority", "Which package wins where two have different files at one place of the merged view: the one with the lower number.", `4`},

	{"Rootfs.layout", "How packages lie in the image. `store`: at their store paths, with links to them from the merged view.", `store`},
	{"Rootfs.merge", "The merged view: links to the files of the packages, as in nixpkgs' buildEnv.", `{link: [/bin]}`},
	{"Rootfs.nix", "What a Nix inside the image finds.", `{db: true}`},
	{"Rootfs.users", "The accounts of the image. Users, groups or both make thaw write /etc/passwd, /etc/group and /etc/shadow. There is always root, with number 0: list it to give it a password or another shell.", `[{name: alice, uid: 1000}]`},
	{"Rootfs.groups", "The groups of the image. Groups that users have of their own need not be listed.", `[{name: wheel, gid: 10}]`},
	{"Rootfs.hostname", "What /etc/hostname says.", `vm`},
	{"Rootfs.hosts", "Lines of /etc/hosts: names by address, after those of localhost and of the hostname. Without this key, a hostname alone gives the image an /etc/hosts, unless a package or a file has one.", `{10.0.0.5: [db.example.org, db]}`},
	{"Rootfs.os-release", "What /etc/os-release says.", `{ID: demo, NAME: Demo, VERSION_ID: "1.2"}`},
	{"Rootfs.machine-id", "What /etc/machine-id is. `empty`: each machine makes one of its own as it boots; `uninitialized`: likewise, and systemd takes it for the first boot; `none`: the file is not there. An image never has a machine ID of its own: its copies would share it.", `uninitialized`},
	{"Rootfs.mounts", "The lines of /etc/fstab, in order. The directories that are mounted over are made.", `[{source: LABEL=data, path: /data, type: ext4, options: [noatime, nofail]}]`},
	{"Rootfs.devices", "Devices and named pipes. Most systems need none: the kernel fills /dev.", `[{path: /dev/console, type: char, major: 5, minor: 1}]`},
	{"Rootfs.services", "What runs in the image, and what starts it: see Services above.", `{supervisor: busybox, getty: [ttyS0], run: [{name: web, command: /bin/httpd -f -h /srv/www}]}`},
	{"Rootfs.files", "Files, directories and links that are put into the image. They replace what trees and the merged view have at their paths. Directories above them are made.", `[{path: /etc/motd, content: "hello\n"}]`},
	{"Rootfs.trees", "Directories of this machine that are copied into the image, in order: later ones replace files of earlier ones.", `[{source: overlay}]`},

	{"Merge.into", "The directory in which the merged view is.", `/usr`},
	{"Merge.link", "The places of the merged view. `[/]` means everything, `[]` that there is no view.", `[/bin, /etc, /share/man]`},
	{"Merge.exclude", "What is left out of the merged view.", `[/share/doc, "/bin/*-config"]`},
	{"Merge.collisions", "What happens where two packages have different files at one place. `priority`: the lower priority wins, and at equal priorities it is an error; `first`: at equal priorities the first in the list wins; `error`: it is an error whatever the priorities are.", `first`},
	{"Merge.report", "Whether a build lists the collisions and who won them.", `true`},

	{"Nix.db", "Whether the image has Nix's database, so that Nix in the image knows the store objects as valid.", `true`},
	{"Nix.profiles", "Profiles, in /nix/var/nix/profiles: the store path of their first generation, by name.", `{system: /nix/store/00000000000000000000000000000000-nixos-system}`},
	{"Nix.gcroots", "Roots of the garbage collector, in /nix/var/nix/gcroots: store paths by name. Without a root or profile, the first garbage collection deletes a package.", `{tools: /nix/store/00000000000000000000000000000000-tools}`},

	{"Nix.closure-info", "A directory for the files registration, store-paths and total-nar-size, as nixpkgs' closureInfo writes them. `nix-store --load-db` reads the first.", `/nix-path-registration`},

	{"User.name", "The user's name.", `alice`},
	{"User.uid", "The user's number.", `1000`},
	{"User.group", "The user's main group.", `users`},
	{"User.groups", "Other groups that the user is in.", `[wheel, video]`},
	{"User.description", "The user's full name or purpose.", `Alice`},
	{"User.home", "The user's home directory. It is made with the mode 0700 and belongs to the user; /var/empty, and one that several users share, belong to root. Not made, and left as they are, are /, /nonexistent, /tmp, /var and its directories lib, cache, log, spool and tmp, and all in /bin, /boot, /dev, /etc, /lib, /nix, /proc, /run, /sbin, /sys and /usr.", `/var/lib/alice`},
	{"User.shell", "The program that a login starts.", `/bin/bash`},
	{"User.password", "The hash of the user's password.", `"$6$saltsalt$qFmFH.bQmmtXzyBY0s9v7Oicd2z4XSIecDzlB5KiA2/jctKu9YterLp8wwnSq.qc.eoxqOmSuNp2xS0ktL3nh/"`},

	{"Group.name", "The group's name.", `wheel`},
	{"Group.gid", "The group's number.", `10`},

	{"Mount.source", "What is mounted.", `LABEL=data`},
	{"Mount.path", "Where it is mounted.", `/data`},
	{"Mount.type", "The type of the file system.", `ext4`},
	{"Mount.options", "The options of the mount.", `[noatime, nofail]`},
	{"Mount.pass", "When fsck checks it: 1 for the root, 2 for others, 0 for never.", `2`},

	{"Device.path", "Where the device is in the image.", `/dev/console`},
	{"Device.type", "What it is: a device of characters or blocks, or a named pipe.", `char`},
	{"Device.major", "The major number of the device.", `5`},
	{"Device.minor", "The minor number of the device.", `1`},
	{"Device.mode", "The permission bits.", `"0620"`},
	{"Device.owner", "Who it belongs to.", `"0:5"`},

	{"Services.supervisor", "What starts the services. It is one of the packages.", `runit`},
	{"Services.getty", "The terminals on which one can log in.", `[ttyS0, tty1]`},
	{"Services.run", "The services.", `[{name: web, command: /bin/httpd -f}]`},

	{"Service.name", "The name of the service.", `web`},
	{"Service.command", "What runs, in the foreground: it is started again whenever it ends.", `/bin/httpd -f -h /srv/www`},
	{"Service.user", "The user as whom it runs, with all groups of that user.", `alice`},
	{"Service.directory", "The directory in which it runs.", `/srv/www`},
	{"Service.environment", "Variables of its environment, as they are.", `{LANG: C.UTF-8}`},
	{"Service.console", "The terminal that it has as input and output.", `ttyS0`},
	{"Service.once", "Whether it runs once, at boot, to its end. Such services run one after the other in the order of the list, and before all others.", `true`},

	{"File.path", "Where the file is in the image.", `/etc/motd`},
	{"File.content", "Makes a file with this text.", `"hello\n"`},
	{"File.source", "Makes a file with the content of this one.", `motd.txt`},
	{"File.dir", "`true` makes a directory.", `true`},
	{"File.symlink", "Makes a symbolic link to this path, which is taken as it is.", `../proc/mounts`},
	{"File.mode", "The permission bits.", `"0600"`},
	{"File.owner", "Who it belongs to.", `alice:users`},

	{"Tree.source", "The directory. Of its files, the content and whether they are executable count: modes become 0644 or 0755.", `overlay`},
	{"Tree.path", "Where its content goes.", `/etc`},
	{"Tree.owner", "Who all of it belongs to.", `alice`},

	{"Boot.kernel", "The kernel. `auto` finds it in the packages.", `/nix/store/00000000000000000000000000000000-linux-6.12/bzImage`},
	{"Boot.initrd", "The initrd. `auto` finds it in the packages, `generate` makes one.", `none`},
	{"Boot.cmdline", "The kernel's arguments. They follow those of a file kernel-params, if one of the packages has it, and init= of that package.", `console=ttyS0 root=/dev/vda1`},
	{"Boot.loader", "The boot loader. Its files are in the partitions with `content: boot`. On a CD they are what UEFI boots from, by uki, systemd-boot or efi. uki: one EFI program with kernel, initrd and arguments; systemd-boot: a menu, under EFI; efi: the kernel alone, which a UEFI Shell starts; extlinux: for U-Boot; raspberry-pi: for its firmware; syslinux: for BIOSes.", `systemd-boot`},
	{"Boot.title", "What the menu of the loader calls the image.", `Demo 1.2`},
	{"Boot.timeout", "For how many seconds the menu of the loader waits; 0 shows none.", `3`},
	{"Boot.generate", "What the generated initrd is made of.", `{busybox: /nix/store/00000000000000000000000000000000-busybox-1.37.0/bin/busybox}`},
	{"Boot.stub", "The EFI stub that a unified kernel image begins with, such as linuxx64.efi.stub of systemd.", `/nix/store/00000000000000000000000000000000-systemd/lib/systemd/boot/efi/linuxx64.efi.stub`},
	{"Boot.program", "The program of the loader: systemd-bootx64.efi of systemd, or syslinux's installer, which is not run: bin/extlinux.", `{source: systemd-bootx64.efi}`},
	{"Boot.ldlinux", "ldlinux.c32 of the same version of Syslinux.", `{source: ldlinux.c32}`},
	{"Boot.mbr", "What a BIOS runs first from a disk: gptmbr.bin or mbr.bin of Syslinux.", `{source: gptmbr.bin}`},
	{"Boot.dtb", "The device tree of the machine.", `{source: board.dtb}`},
	{"Boot.dtbs", "A directory of device trees, of which the loader chooses one.", `/nix/store/00000000000000000000000000000000-linux-6.12/dtbs`},
	{"Boot.firmware", "A directory with the files of the Raspberry Pi's firmware.", `/nix/store/00000000000000000000000000000000-raspberrypi-firmware/share/raspberrypi/boot`},
	{"Boot.config", "Lines of config.txt.", `[arm_64bit=1]`},
	{"Boot.isolinux", "What BIOSes boot from outputs of the type iso, beside a loader for UEFI or alone.", `{program: {source: isolinux.bin}, ldlinux: {source: ldlinux.c32}, mbr: {source: isohdpfx.bin}}`},

	{"Isolinux.program", "isolinux.bin, of version 6.", `{source: isolinux.bin}`},
	{"Isolinux.ldlinux", "ldlinux.c32 for BIOSes, of the same version.", `{source: ldlinux.c32}`},
	{"Isolinux.mbr", "isohdpfx.bin, which a BIOS runs where the CD is a disk or USB stick.", `{source: isohdpfx.bin}`},

	{"Blob.source", "A file or directory of this machine.", `gptmbr.bin`},
	{"Blob.store", "A file or directory of a store path, which need not be in the image. A bare text is that.", `/nix/store/00000000000000000000000000000000-a/b`},

	{"Initrd.busybox", "The program BusyBox. It comes with all that it refers to.", `/nix/store/00000000000000000000000000000000-busybox-1.37.0/bin/busybox`},
	{"Initrd.modules", "What holds lib/modules/VERSION: modules of the kernel are taken from there.", `/nix/store/00000000000000000000000000000000-linux-6.12-modules`},
	{"Initrd.load", "Modules to load, with all that they need, before others.", `[dm-verity]`},
	{"Initrd.buses", "Load the drivers of disks behind these.", `[virtio]`},
	{"Initrd.filesystems", "Load these file systems, and that of `overlay`.", `[squashfs, ext4]`},
	{"Initrd.firmware", "What holds lib/firmware.", `[/nix/store/00000000000000000000000000000000-linux-firmware]`},
	{"Initrd.firmware-files", "The firmware that is taken: patterns of paths below lib/firmware.", `["rtl_nic/*"]`},
	{"Initrd.root", "Where the root file system is, unless the arguments say `root=`.", `LABEL=nixos`},
	{"Initrd.overlay", "What takes changes of a root that cannot be written to: `tmpfs`, or a device.", `tmpfs`},
	{"Initrd.read-only", "Whether the root is mounted for reading only.", `true`},
	{"Initrd.rescue", "Whether a shell opens where the root is missing.", `true`},
	{"Initrd.timeout", "For how many seconds the root is waited for.", `10`},
	{"Initrd.microcode", "An uncompressed cpio archive that comes first: what processors take before all else.", `{source: amd-ucode.img}`},
	{"Initrd.compress", "How the initrd is compressed. Linux takes zstd from 5.9 on.", `gzip`},

	{"Output.type", "What is written. The other keys depend on it.", `disk`},
	{"Output.max-size", "The most that the file may have: a larger one is an error, and not written. Of a directory, the bytes of all files count.", `300M`},

	{"Disk.format", "The format of the file. `raw` is what a disk itself has, `vhd-fixed` the same with a footer.", `qcow2`},
	{"Disk.compress", "How the file is compressed: with `raw` all of it by gzip, xz or zstd; with `qcow2` each cluster by zlib or zstd.", `zstd`},
	{"Disk.table", "The partition table: a GPT; an MBR, with up to four partitions; or a GPT some of whose partitions stand in an MBR, too.", `mbr`},
	{"Disk.size", "The size of the disk: `fit` for what the partitions need, or a fixed size.", `4G`},
	{"Disk.sector-size", "The bytes in a sector of the disk: 512 or, where the format is raw or qcow2, 4096.", `4096`},
	{"Disk.align", "What places of partitions are multiples of.", `4M`},
	{"Disk.guid", "The GUID of the disk, in a GPT.", `0f0bd2f2-8a4e-4c8f-a6a5-3d6a6e1b2c3d`},
	{"Disk.signature", "The number of the disk in an MBR. Linux makes PARTUUIDs of it.", `1234abcd`},
	{"Disk.raw", "Files with a place of their own on the disk, such as a boot loader that a board looks for.", `[{offset: 8K, source: u-boot.bin}]`},
	{"Disk.partitions", "The partitions, as they lie on the disk.", `[{fs: ext4, label: root}]`},

	{"ISO.label", "The name of the CD, by which the generated initrd finds it.", `DEMO_1_2`},
	{"ISO.table", "The partition table, for machines that see a disk: a GPT, an MBR, a GPT with what UEFI boots from in its MBR, too (`hybrid`), or none.", `mbr`},
	{"ISO.efi", "The size of the file system that UEFI boots from: `fit` leaves nothing free, `fit+16M` that much, `fit+10%` a tenth of what is used.", `64M`},
	{"ISO.root", "The root file system: the file /root.squashfs or /root.erofs of the CD, and a partition. The generated initrd mounts the file, unless `root` of boot.generate says where the root is.", `{fs: erofs}`},

	{"ISORoot.fs", "The file system. Other keys depend on it.", `squashfs`},

	{"Raw.offset", "Where it lies, from the start of the disk. The first 440 bytes may hold the code that a BIOS runs.", `8K`},
	{"Raw.source", "A file of this machine.", `u-boot.bin`},
	{"Raw.store", "A file in a store path, which need not be in the image.", `/nix/store/00000000000000000000000000000000-u-boot/u-boot.bin`},

	{"Partition.fs", "The file system. Other keys depend on it.", `squashfs`},
	{"Partition.content", "What is in it: the root file system, what the boot loader reads (and files of its own), files of its own, or nothing.", `empty`},
	{"Partition.size", "The size of the partition: `fit` leaves nothing free, `fit+256M` that much, `fit+10%` a tenth of what is used; `fill`, for the last one, takes the rest of the disk.", `fit+256M`},
	{"Partition.name", "The name of the partition, its PARTLABEL in Linux.", `root-a`},
	{"Partition.type", "The type of the partition.", `root-x86-64`},
	{"Partition.guid", "The GUID of the partition, its PARTUUID in Linux.", `6f2c2ac4-3b1e-4d0c-9a53-0b9c7c1f6f10`},
	{"Partition.number", "The number of the partition. It need not follow its place.", `2`},
	{"Partition.attributes", "Attributes of the partition.", `[legacy-boot]`},
	{"Partition.in-mbr", "Whether the partition of a hybrid disk stands in the MBR, too.", `true`},
	{"Partition.files", "Files of its own. They replace what trees have at their paths.", `[{path: /config.txt, content: "arm_64bit=1\n"}]`},
	{"Partition.trees", "Directories of this machine that are copied into it, in order: later ones replace files of earlier ones.", `[{source: boot}]`},

	{"PartitionFile.path", "Where the file is in the partition. A directory is copied with all that it has.", `/u-boot.bin`},
	{"PartitionFile.content", "Makes a file with this text.", `"hello\n"`},
	{"PartitionFile.source", "Makes a file with the content of this one.", `u-boot.bin`},
	{"PartitionFile.store", "Copies a file or directory of a store path, which need not be in the image.", `/nix/store/00000000000000000000000000000000-u-boot/u-boot.bin`},

	{"Ext4Image.size", "The size of the file system: `fit` leaves nothing free, `fit+256M` that much, `fit+10%` a tenth of what is used.", `fit+256M`},

	{"Ext4.label", "The label of the file system.", `root`},
	{"Ext4.uuid", "The UUID of the file system.", `44444444-4444-4444-8888-888888888888`},
	{"Ext4.block-size", "The bytes in a block: 1K, 2K or 4K.", `1K`},
	{"Ext4.journal", "Whether it has a journal.", `true`},
	{"Ext4.reserved", "How many percent of the blocks are root's alone.", `5`},
	{"Ext4.inodes", "How many files it can have.", `100000`},
	{"Ext4.dedupe", "Whether equal files are stored once, as hard links.", `true`},

	{"Squashfs.compress", "How it is compressed. Linux reads zstd from 4.14 on.", `xz`},
	{"Squashfs.fast", "Whether to compress fast rather than well.", `true`},
	{"Squashfs.block-size", "The bytes of a file that are compressed together: 4K to 1M. More makes it smaller and reading in small pieces slower.", `1M`},

	{"Erofs.label", "The label of the file system: up to 15 bytes.", `root`},
	{"Erofs.uuid", "The UUID of the file system.", `44444444-4444-4444-8888-888888888888`},
	{"Erofs.compress", "How it is compressed: lz4 is fast, lz4hc takes longer to make and no longer to read. Linux reads both from 5.17 on.", `none`},
	{"Erofs.cluster-size", "The most compressed bytes that are read together: a multiple of 4K up to 1M.", `4K`},
	{"Erofs.dedupe", "Whether equal files share what is compressed. Linux reads that from 6.1 on.", `true`},

	{"Vfat.label", "The label of the file system: up to 11 characters.", `BOOT`},
	{"Vfat.serial", "The number of the file system, its UUID in Linux.", `1234-abcd`},
	{"Vfat.bits", "The type of FAT: 12, 16 or 32.", `32`},

	{"BootFiles.root", "The root file system that lies beside kernel, initrd, cmdline, device trees and boot.ipxe, a script for iPXE.", `none`},

	{"Tar.compress", "How the archive is compressed.", `zstd`},
	{"Cpio.compress", "How the archive is compressed.", `gzip`},

	{"OCI.archive", "`dir`: a directory, an OCI image layout, which thaw push, skopeo and umoci read. `tar`: one file, which is an OCI archive and what docker load and podman load read.", `tar`},
	{"OCI.name", "What the image is called where it is loaded. thaw push names it itself.", `demo:1.0`},
	{"OCI.compress", "How layers are compressed. All that runs containers reads gzip; zstd is smaller and faster, and Docker before 23 and umoci do not read it.", `zstd`},
	{"OCI.max-layers", "How many layers there are at most. Store paths that change together share one; the last has all else.", `20`},
	{"OCI.entrypoint", "The program that a container runs, and its first arguments.", `[/bin/hello]`},
	{"OCI.cmd", "Further arguments, or without an entrypoint the program: what who runs the container may replace.", `["--help"]`},
	{"OCI.env", "Variables of the environment.", `{PATH: /bin}`},
	{"OCI.user", "Who the program runs as. A name is looked up in the image's /etc/passwd.", `app`},
	{"OCI.workdir", "The directory in which the program starts.", `/srv`},
	{"OCI.labels", "Labels of the image, which are in its configuration.", `{org.opencontainers.image.licenses: MIT}`},
	{"OCI.ports", "The ports at which the program listens.", `[8080/tcp]`},
	{"OCI.volumes", "Directories whose content outlives a container.", `[/var/lib/demo]`},
	{"OCI.stop-signal", "The signal that asks the program to end.", `SIGINT`},
	{"OCI.annotations", "Annotations of the image, which are in its manifest.", `{org.opencontainers.image.source: "https://example.org/demo"}`},
}

// docOf returns the description of a key.
func docOf(id string) doc {
	for _, d := range docs {
		if d.id == id {
			return d
		}
	}
	return doc{id: id}
}
