package vfat_test

import (
	"bytes"
	"compress/gzip"
	"encoding/gob"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"thaw/image/vfat"
	"thaw/internal/testbed"
	"thaw/internal/testkernel"
	"thaw/rootfs/rootfstest"
)

// TestMain is the init of the machine that TestKernel starts: it tells on the
// console what the kernel has found in the images.
func TestMain(m *testing.M) {
	modules := []string{"fs/nls/nls_cp437", "fs/nls/nls_utf8", "fs/nls/nls_ascii", "fs/fat/fat", "fs/fat/vfat"}
	testkernel.Main(m, modules, func() error {
		mounts, err := mountAll()
		if err != nil {
			return err
		}
		var b bytes.Buffer
		z := gzip.NewWriter(&b) // the console is slow
		err = errors.Join(gob.NewEncoder(z).Encode(mounts), z.Close())
		fmt.Printf("MOUNTS %x END\n", b.Bytes())
		return err
	})
}

// mount is a file system as the kernel has it.
type mount struct {
	Nodes                 []rootfstest.Node
	Cluster, Blocks, Free int64
}

// mountAll mounts each disk.
func mountAll() (all []mount, err error) {
	for disk := 'a'; ; disk++ {
		device := fmt.Sprintf("/dev/vd%c", disk)
		if _, err := os.Stat(device); err != nil {
			return all, nil
		}
		m, err := mountOne(device)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", device, err)
		}
		all = append(all, m)
	}
}

// mountOne reads what is on a disk, and then takes away a file and adds one.
func mountOne(device string) (m mount, err error) {
	if err := unix.Mount(device, "/newroot", "vfat", 0, "utf8,tz=UTC"); err != nil {
		return m, err
	}
	var st unix.Statfs_t
	if err := unix.Statfs("/newroot", &st); err != nil {
		return m, err
	}
	m.Cluster, m.Blocks, m.Free = st.Bsize, int64(st.Blocks), int64(st.Bfree)
	if m.Nodes, err = rootfstest.Walk("/newroot"); err != nil {
		return m, err
	}
	if err := os.Remove("/newroot/readme"); err != nil { // in another case
		return m, err
	}
	if err := os.WriteFile("/newroot/d/another", []byte(strings.Repeat("new", 30_000)), 0o666); err != nil {
		return m, err
	}
	return m, unix.Unmount("/newroot", 0)
}

// TestKernel has Linux mount file systems of each type, in a machine of its own.
func TestKernel(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("SKIPPED: a boot takes some seconds")
	}
	options := []vfat.Options{
		{Label: "TWELVE", Free: mib}, {Size: 4148 * 512, ClusterSize: 512}, {Size: 4157 * 512, ClusterSize: 512}, // about the least FAT16
		{Size: 66076 * 512, ClusterSize: 512}, {Size: 66581 * 512, ClusterSize: 512}, // about the least FAT32
		{Size: 20 * mib, SectorSize: 4096},
	}
	images, volumes := make([]string, len(options)), make([]*volume, len(options))
	for i, o := range options {
		var err error
		if images[i], err = build(t, o, kernelTree()); err != nil {
			t.Fatal(err)
		}
		volumes[i] = verify(t, images[i], kernelTree())
	}
	mounts := boot(t, images, options)
	if len(mounts) != len(images) {
		t.Fatalf("%d file systems are mounted", len(mounts))
	}
	for i, m := range mounts {
		t.Run(fmt.Sprintf("%+v", options[i]), func(t *testing.T) {
			for k := range m.Nodes {
				if m.Nodes[k].Path == "." {
					m.Nodes[k] = root
				}
			}
			if err := rootfstest.Diff(abilities(), nodes(kernelTree()), m.Nodes); err != nil {
				t.Error(err)
			}
			v := volumes[i]
			if m.Cluster != int64(v.cluster) || m.Blocks != int64(v.clusters) || m.Free != int64(v.free) {
				t.Errorf("%d of %d clusters of %d are free, not %d of %d of %d", m.Free, m.Blocks, m.Cluster, v.free, v.clusters, v.cluster)
			}
			// What the kernel has written is as sound as before.
			if err := check(testbed.Tool(t, "fsck.vfat"), images[i]); err != nil {
				t.Error(err)
			}
			out := testbed.Run(t, "mtype", "-i", images[i], "::/d/another")
			if string(out) != strings.Repeat("new", 30_000) {
				t.Errorf("the new file has %d bytes", len(out))
			}
		})
	}
}

// kernelTree has what kernels might read otherwise than this package's tests.
func kernelTree() []entry {
	all := append(sample(), dir("d"))
	for i := range 30 {
		all = append(all, text(fmt.Sprintf("d/long name %d", i), strings.Repeat("x", i*100)))
	}
	for _, name := range []string{
		strings.Repeat("x", 255), strings.Repeat("\u00e9", 127), "\U0001f9ca", strings.Repeat("\U0001f9ca", 63), " lead", "..data", "thirteen char",
		"a+b=c.d e", "SHORT.TXT", "lower.txt", "Mixed.Txt", "~1", "LONGNA~1", "\u212b",
	} {
		all = append(all, text("d/"+name, name))
	}
	for i, at := range []int64{vfat.MinTime, vfat.MaxTime, 4107542400, 1<<31 - 1, 951868800} {
		e := file(fmt.Sprintf("d/%d", i), 1)
		e.ModTime = time.Unix(at, 0)
		all = append(all, e)
	}
	return all
}

// boot runs a machine with these disks and returns what its init says.
func boot(t *testing.T, images []string, options []vfat.Options) []mount {
	ctx, cancel := testkernel.Until(t)
	defer cancel()
	args := []string{"-serial", "stdio"}
	for i, image := range images {
		args = append(args, "-drive", fmt.Sprintf("file=%s,format=raw,if=none,id=d%d", image, i),
			"-device", fmt.Sprintf("virtio-blk-pci,drive=d%d,logical_block_size=%d,physical_block_size=4096", i, max(512, options[i].SectorSize)))
	}
	serial, err := testkernel.Command(ctx, t, args...).Output()
	said := regexp.MustCompile(`MOUNTS ([0-9a-f]*) END`).FindSubmatch(serial)
	if err != nil || said == nil {
		t.Fatalf("%v\n%s", err, serial)
	}
	b, err := hex.DecodeString(string(said[1]))
	if err != nil {
		t.Fatal(err)
	}
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	var mounts []mount
	if err := gob.NewDecoder(z).Decode(&mounts); err != nil {
		t.Fatal(err)
	}
	return mounts
}
