package substituter

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
)

// The largest that waits is next, and one that gives up is passed over.
func TestSlots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSlots(2)
		releases := []func(){}
		for range 2 {
			release, err := s.take(t.Context(), 1)
			if err != nil {
				t.Fatal(err)
			}
			releases = append(releases, release)
		}
		given := errors.New("given up")
		ctx, cancel := context.WithCancelCause(t.Context())
		var got []int64
		for _, size := range []int64{3, 9, 1, 7, 5} {
			go func() {
				wait := t.Context()
				if size == 9 {
					wait = ctx
				}
				release, err := s.take(wait, size)
				if size == 9 {
					if err != given {
						t.Errorf("%v", err)
					}
					return
				}
				if err != nil {
					t.Error(err)
					return
				}
				got = append(got, size)
				release()
			}()
			synctest.Wait()
		}
		cancel(given)
		synctest.Wait()
		releases[0]()
		synctest.Wait()
		if want := []int64{7, 5, 3, 1}; !slices.Equal(got, want) {
			t.Errorf("%v, want %v", got, want)
		}
		releases[1]()
		if s.free != 2 || len(s.waiting) != 0 {
			t.Errorf("%d are free, %d wait", s.free, len(s.waiting))
		}
		if _, err := s.take(ctx, 1); err != given {
			t.Errorf("after the end: %v", err)
		}
	})
}
