package main

import (
	"math"
	"os"
	"strings"
	"testing"
	"time"
)

// A processor counts down and halts, and one that takes too long is stopped: that /dev/kvm
// makes machines said nothing of one that emulates each instruction, and kernels never
// started.
func TestTryKVM(t *testing.T) {
	f, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	if err != nil {
		if err := tryKVM(1, time.Minute); err == nil || !strings.Contains(err.Error(), "/dev/kvm") {
			t.Errorf("without it: %v", err)
		}
		t.Skipf("SKIPPED: this system has no KVM: %v", err)
	}
	f.Close()
	if err := tryKVM(1000, time.Minute); err != nil && strings.Contains(err.Error(), "makes no machine") {
		t.Skipf("SKIPPED: this system makes no machines: %v", err)
	} else if err != nil {
		t.Errorf("a short loop: %v", err)
	}
	start := time.Now()
	err = tryKVM(math.MaxUint32, 50*time.Millisecond) // seconds of the fastest processor
	if err == nil || !strings.Contains(err.Error(), "too slowly") || time.Since(start) > 30*time.Second {
		t.Errorf("a long loop: %v, after %v", err, time.Since(start))
	}
}
