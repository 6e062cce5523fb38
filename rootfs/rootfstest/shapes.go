package rootfstest

import (
	"fmt"
	"io/fs"
	"strings"

	"thaw/rootfs"
)

// large has a directory of very many entries, of all kinds.
func (g *generator) large(size extent) {
	g.entry(rootfs.Entry{Path: "large", Mode: fs.ModeDir})
	g.left = 4 << 20
	for i := range size.files {
		path := fmt.Sprintf("large/%d", i)
		switch {
		case i%3 == 0:
			path += strings.Repeat("x", i%100) // FAT has room for these
		case i%3 == 1 && len(g.files) > 0:
			g.again(path, g.files[g.rnd.IntN(len(g.files))])
			continue
		}
		e := rootfs.Entry{Path: path}
		switch i % 10 {
		case 0:
			e.Mode = fs.ModeDir
		case 5:
			e.Mode, e.Target = fs.ModeSymlink, g.target()
		default:
			e.Size = min(g.size(), 500)
		}
		g.entry(e)
	}
}

// deep has 100 directories, each in the one before, with entries in all of them.
func (g *generator) deep(extent) {
	path := "."
	for i := range 100 {
		path = join(path, fmt.Sprintf("d%d", i))
		g.entry(rootfs.Entry{Path: path, Mode: fs.ModeDir})
	}
	g.nearest, g.name = 200, g.word
	for range 300 {
		g.any()
	}
}

// huge has a file of more than 4 GiB, if the format can, nearly all of it zeros.
func (g *generator) huge(size extent) {
	bytes := int64(4<<30 + 100_001)
	if !size.huge || g.can.MaxFile > 0 && g.can.MaxFile < bytes {
		bytes = 64<<20 + 1
	}
	s := g.file("huge", bytes)
	s.texture = sparse
	g.file("after", 10)
}

// borders has files of one to three times each size of a block, a byte more and
// a byte less.
func (g *generator) borders(extent) {
	for block := int64(512); block <= 1<<20; block *= 2 {
		for _, n := range []int64{1, 2, 3} {
			for _, size := range []int64{n*block - 1, n * block, n*block + 1} {
				if block <= 128<<10 || n == 1 {
					g.entry(rootfs.Entry{Path: fmt.Sprint(size), Size: size})
				}
			}
		}
	}
}

// everyByte has names that have each byte alone, first, in the middle and last.
func (g *generator) everyByte(extent) {
	for b := range 256 {
		for i, name := range []string{"%s", "%sx", "x%sy", "xx%s"} {
			name = fmt.Sprintf(name, string([]byte{byte(b)}))
			e := rootfs.Entry{Path: name, Size: int64(i)}
			if b%2 == 1 && i > 0 {
				e.Size, e.Mode, e.Target = 0, fs.ModeSymlink, name
			}
			if rootfs.ValidName(name) {
				g.entry(e)
			}
		}
	}
}

// fullBlocks has directories whose entries just fill a block, or need another
// one: an entry takes as many bytes as its name and 8 (to a multiple of 4 or
// not), 12, or in FAT, 32 for each 13 characters and 32 more.
func (g *generator) fullBlocks(extent) {
	for _, length := range []int{2, 5, 100, rootfs.MaxName} {
		for _, bytes := range []int{length + 8, (length + 11) &^ 3, length + 12, 32 + (length+12)/13*32} {
			for _, more := range []int{-1, 0, 1} {
				dir := fmt.Sprintf("%d-%d%+d", length, bytes, more)
				g.entry(rootfs.Entry{Path: dir, Mode: fs.ModeDir})
				for i := range 4096/bytes + more {
					name := fmt.Sprintf("%0*x", length, i)
					g.entry(rootfs.Entry{Path: join(dir, name[len(name)-length:])})
				}
			}
		}
	}
}

// hardLinks has files of many names, in many directories.
func (g *generator) hardLinks(extent) {
	for i := range 40 {
		g.entry(rootfs.Entry{Path: fmt.Sprintf("dir%d", i), Mode: fs.ModeDir})
		g.entry(rootfs.Entry{Path: fmt.Sprintf("dir%d/file", i), Size: g.size() % 10_000})
	}
	for i := range 1000 {
		g.again(join(g.dirs[g.rnd.IntN(len(g.dirs))], fmt.Sprintf("link%d", i)), g.files[g.rnd.IntN(len(g.files))/(1+i%2)])
	}
}

// attributes has extended attributes of all sizes, alone, shared and in part.
func (g *generator) attributes(extent) {
	for i := range 300 {
		g.attrs = 1 << g.rnd.IntN(18)
		e := rootfs.Entry{Path: fmt.Sprint(i), Mode: []fs.FileMode{0, fs.ModeDir, fs.ModeNamedPipe}[i%3]}
		if i%5 == 0 {
			e.Mode, e.Target = fs.ModeSymlink, "target"
		}
		g.entry(e)
	}
}
