package assemble

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"thaw/internal/faultserver"
	"thaw/internal/testbed"
	"thaw/narinfo"
	"thaw/rootfs"
	"thaw/substituter"
)

// A NAR that is signed, whole and malformed is refused as wrong content, and a
// well-formed odd one is read.
func TestHostileNARs(t *testing.T) {
	dir := filepath.Join(testbed.Root(t), "testdata/vectors/nar")
	table, err := os.ReadFile(filepath.Join(dir, "VERDICTS.tsv"))
	if err != nil {
		t.Fatal(err)
	}
	const signer = faultserver.Signer("evil-1")
	for line := range strings.Lines(string(table)) {
		fields := strings.Split(strings.TrimSpace(line), "\t")
		if len(fields) < 3 || !strings.HasSuffix(fields[0], ".nar") {
			continue
		}
		name, verdict, why := fields[0], fields[1], fields[2]
		t.Run(name, func(t *testing.T) {
			text, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			for _, codec := range []string{"none", "zstd"} {
				files := faultserver.Files{}
				info := files.Add(signer, "evil", codec, text)
				server := faultserver.New(t, files)
				cacheDir := t.TempDir()
				disk := open(t, cacheDir, server.URL, signer.Key())
				got, err := disk.Info(t.Context(), info.StorePath)
				if err != nil {
					t.Fatal(err)
				}
				var read bytes.Buffer
				err = ReadObject(t.Context(), disk, got, func(e rootfs.Entry, data io.Reader) error {
					if data != nil {
						_, err := io.Copy(&read, data)
						return err
					}
					return nil
				})
				switch verdict {
				case "accept":
					if err != nil {
						t.Errorf("%s: %s: %v", codec, why, err)
					}
				case "reject":
					// An object that is signed may nest deeper than others.
					if !strings.HasPrefix(name, "bad-depth") && substituter.KindOf(err) != substituter.Integrity {
						t.Errorf("%s: %s: kind %d: %v", codec, why, substituter.KindOf(err), err)
					}
				}
				if n := server.Sent("nar/*"); n > int64(len(text))+1024 {
					t.Errorf("%s: %d bytes were sent of %d", codec, n, len(text))
				}
			}
		})
	}
}

// open opens a disk cache over one HTTP cache.
func open(t *testing.T, dir, url string, key narinfo.Key) *substituter.Disk {
	t.Helper()
	var s substituter.HTTPSettings
	client, err := s.Client()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdleConnections)
	from, err := substituter.NewHTTP(url, client, s)
	if err != nil {
		t.Fatal(err)
	}
	keys := narinfo.Keys{key}
	list := &substituter.List{Caches: []*substituter.Remote{{From: from, Keys: keys}}}
	disk, err := substituter.OpenDisk(dir, list, keys, 2, nil)
	if err != nil {
		t.Fatal(err)
	}
	return disk
}
