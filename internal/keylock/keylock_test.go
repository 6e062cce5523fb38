package keylock

import (
	"context"
	"errors"
	"sync"
	"testing"
)

func TestExcludesByKey(t *testing.T) {
	var s Set
	var wg sync.WaitGroup
	counts := map[string]*int{"a": new(int), "b": new(int)}
	for i := range 200 {
		wg.Go(func() {
			key := string("ab"[i%2])
			unlock, err := s.Lock(t.Context(), key)
			if err != nil {
				t.Error(err)
				return
			}
			*counts[key]++ // the race detector watches
			unlock()
		})
	}
	wg.Wait()
	if *counts["a"] != 100 || *counts["b"] != 100 || len(s.locks) != 0 {
		t.Errorf("counts %d, %d; %d locks left", *counts["a"], *counts["b"], len(s.locks))
	}
}

func TestGivesUpWithTheContext(t *testing.T) {
	var s Set
	unlock, _ := s.Lock(t.Context(), "k")
	why := errors.New("why")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	if _, err := s.Lock(ctx, "k"); err != why {
		t.Errorf("%v instead of the cause", err)
	}
	unlock()
	unlock, err := s.Lock(t.Context(), "k")
	if err != nil {
		t.Fatal(err)
	}
	unlock()
	if len(s.locks) != 0 {
		t.Errorf("%d locks left", len(s.locks))
	}
}
