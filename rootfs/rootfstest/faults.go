package rootfstest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"sync/atomic"
	"time"
)

// faultsTree is a sample of several megabytes, which no writer holds back.
func faultsTree() *tree {
	t := sampleTree()
	for i := range 6 {
		t.file(fmt.Sprintf("large%d", i), int64(700_000+i))
		t.file(fmt.Sprintf("bin/words%d", i), int64(200_000+i)).texture = words
	}
	return t
}

// testFaults has each write to the destination fail in turn, and no other.
func testFaults(f Format, dir string, steps []step) error {
	good := filepath.Join(dir, "good")
	if err := os.Mkdir(good, 0o777); err != nil {
		return err
	}
	want, err := testBytes(f, good, steps, wholeReader)
	if err != nil {
		return err
	}
	for n := int64(1); ; n++ {
		dir := filepath.Join(dir, fmt.Sprint(n))
		if err := os.Mkdir(dir, 0o777); err != nil {
			return err
		}
		err := writeFaulty(f, dir, steps, -n)
		switch {
		case errors.Is(err, errors.ErrUnsupported) && n == 1:
			return nil // a directory
		case errors.Is(err, errFault):
			if err := notEntryError(err); err != nil {
				return fmt.Errorf("write %d: %w", n, err)
			}
			continue
		case err != nil:
			return fmt.Errorf("the fault of write %d came out as: %w", n, err)
		}
		// Either there are fewer writes, or nobody has noticed.
		got, err := fingerprint(dir)
		switch {
		case err != nil:
			return err
		case !maps.Equal(got, want):
			return fmt.Errorf("write %d failed without an error", n)
		case n == 1:
			return errors.New("no write is counted")
		}
		return nil
	}
}

// writeFaulty adds steps to an image on a destination of this limit.
func writeFaulty(f Format, dir string, steps []step, limit int64) error {
	w, err := f.Create(dir, limit)
	if err != nil {
		return err // a writer may begin with a write
	}
	for _, s := range steps {
		if err = s.add(w, f.Can, wholeReader); err != nil {
			break
		}
	}
	return broken(w, err)
}

// patience is for goroutines that have said that they are done, and have not
// ended yet. Only a fault takes so long.
const patience = time.Minute

// tests numbers the tests of this process, so that each knows its goroutines.
var tests atomic.Uint64

// owned runs test and demands that the goroutines that were started in it end,
// however it ends.
func owned(patience time.Duration, test func() error) error {
	name := fmt.Sprintf("number %d", tests.Add(1))
	var err error
	pprof.Do(context.Background(), pprof.Labels("test", name), func(context.Context) { err = test() })
	for end := time.Now().Add(patience); ; runtime.Gosched() {
		late := time.Now().After(end) // before it looks, which may take longer than the patience
		var b bytes.Buffer
		if perr := pprof.Lookup("goroutine").WriteTo(&b, 1); perr != nil {
			return errors.Join(err, perr)
		}
		i := bytes.Index(b.Bytes(), []byte(`"`+name+`"`))
		if i < 0 {
			return err
		}
		if late {
			return errors.Join(err, fmt.Errorf("a goroutine is left: %.1000s", b.Bytes()[i:]))
		}
	}
}

// noLimit is that of a destination that does not fail.
const noLimit = math.MaxInt64
