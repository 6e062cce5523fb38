package substituter

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	fault "thaw/internal/faultserver"
)

// A NAR that was verified is not hashed again when it is read, but what is done to its
// file meanwhile is noticed.
func TestUnchanged(t *testing.T) {
	for name, tt := range map[string]struct {
		meddle func(nar string) error
		kind   Kind
	}{
		"nothing":  {func(string) error { return nil }, 0},
		"its time": {func(nar string) error { return os.Chtimes(nar, time.Unix(9, 0), time.Unix(9, 0)) }, 0},
		"a byte": {func(nar string) error {
			f, err := os.OpenFile(nar, os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			_, err = f.WriteAt([]byte{1}, int64(len(subjectNAR)-100))
			return errors.Join(err, f.Close())
		}, Integrity},
		"its end": {func(nar string) error { return os.Truncate(nar, 50) }, Integrity},
		"another in place": {func(nar string) error {
			return errors.Join(os.WriteFile(nar+"-", []byte("x"), 0o644), os.Rename(nar+"-", nar))
		}, 0}, // the old one is open
		"more at the end of": {func(nar string) error { return os.Truncate(nar, int64(len(subjectNAR))+8) }, Integrity},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, t.TempDir(), fault.New(t, subjectCache("zstd")).URL)
			info, err := r.Info(t.Context(), fault.Path(subject))
			if err != nil {
				t.Fatal(err)
			}
			rc, err := r.Open(t.Context(), info)
			if err != nil {
				t.Fatal(err)
			}
			defer rc.Close()
			if u, ok := rc.(*unchanged); !ok || u.v.sum != nil {
				t.Errorf("it is hashed again: %T", rc)
			}
			head := make([]byte, 40)
			if _, err := io.ReadFull(rc, head); err != nil {
				t.Fatal(err)
			}
			tick(t, r.nar(info))
			if err := tt.meddle(r.nar(info)); err != nil {
				t.Fatal(err)
			}
			rest, err := io.ReadAll(rc)
			if KindOf(err) != tt.kind || err == nil && !bytes.Equal(append(head, rest...), subjectNAR) {
				t.Errorf("%d bytes, %v", len(rest), err)
			}
		})
	}
}

// tick waits until the clock of the file system has gone on since file was changed.
func tick(t *testing.T, file string) {
	t.Helper()
	of := func(name string) identity {
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		id, err := identify(f)
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	was, probe := of(file).changed, filepath.Join(t.TempDir(), "probe")
	for {
		if err := os.WriteFile(probe, []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
		if of(probe).changed != was {
			return
		}
	}
}
