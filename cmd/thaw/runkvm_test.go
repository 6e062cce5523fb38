package main

import (
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
	// One that ends could be faster than what stops it.
	if err = tryKVM(0, 50*time.Millisecond); err == nil || !strings.Contains(err.Error(), "too slowly") {
		t.Errorf("a loop without an end: %v", err)
	}
}
