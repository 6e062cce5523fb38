package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Requests of KVM (linux/kvm.h), those with structs for x86-64.
const (
	kvmCreateVM   = 0xae01
	kvmRunSize    = 0xae04
	kvmCreateVCPU = 0xae41
	kvmSetMemory  = 0x4020ae46
	kvmSetTSS     = 0xae47
	kvmRun        = 0xae80
	kvmSetRegs    = 0x4090ae82
	kvmGetSregs   = 0x8138ae83
	kvmSetSregs   = 0x4138ae84
	kvmExitHalt   = 5
)

// kvmLoops is how often the processor that tries KVM counts down: some ten milliseconds
// of a real one, more than ten seconds of one whose instructions KVM emulates.
const kvmLoops = 1 << 24

// kvmPatience is how long it may take, on a busy computer as well.
const kvmPatience = time.Second

// tryKVM says why a machine does not run by KVM; nil if it does. That /dev/kvm can be
// opened and makes machines is not enough: within some virtual machines it emulates what
// a kernel does, instruction by instruction, so that none ever starts. So a processor in
// the mode of a kernel counts down from loops, in the time that it may take.
func tryKVM(loops uint32, patience time.Duration) error {
	dev, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer dev.Close()
	vm, err := kvm(dev.Fd(), kvmCreateVM, 0)
	if err != nil {
		return fmt.Errorf("/dev/kvm makes no machine: %w", err)
	}
	defer unix.Close(int(vm))
	if runtime.GOARCH != "amd64" {
		return nil // that one emulates is only known of x86
	}
	exit, err := countDown(dev.Fd(), vm, loops, patience)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return errors.New("/dev/kvm is there, but emulates the processor, too slowly for a kernel")
	case err != nil:
		return fmt.Errorf("/dev/kvm runs no processor: %w", err)
	case exit != kvmExitHalt:
		return fmt.Errorf("/dev/kvm runs no processor: it ended with reason %d", exit)
	}
	return nil
}

// kvm makes a request whose argument is a number.
func kvm(fd uintptr, request, arg uintptr) (uintptr, error) {
	r, _, errno := unix.Syscall(unix.SYS_IOCTL, fd, request, arg)
	if errno != 0 {
		return 0, errno
	}
	return r, nil
}

// kvmWith makes a request whose argument is a struct.
func kvmWith(fd uintptr, request uintptr, b []byte) error {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, fd, request, uintptr(unsafe.Pointer(unsafe.SliceData(b))))
	if errno != 0 {
		return errno
	}
	return nil
}

// countDown has a processor of a machine run a loop in 64-bit mode and halt; no loops are
// one without an end. It returns the reason of its exit, or [os.ErrDeadlineExceeded].
func countDown(dev, vm uintptr, loops uint32, patience time.Duration) (exit uint32, err error) {
	const mapped = unix.PROT_READ | unix.PROT_WRITE
	memory, err := unix.Mmap(-1, 0, 0x4000, mapped, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return 0, err
	}
	defer unix.Munmap(memory)
	le := binary.LittleEndian
	code := le.AppendUint32([]byte{0xb9}, loops)      // mov ecx, loops
	code = append(code, 0xff, 0xc9, 0x75, 0xfc, 0xf4) // dec ecx; jnz -4; hlt
	if loops == 0 {
		code = []byte{0xeb, 0xfe} // jmp -2
	}
	copy(memory, code)
	le.PutUint64(memory[0x1000:], 0x2003)                   // tables of pages:
	le.PutUint64(memory[0x2000:], 0x3003)                   // present, writable
	le.PutUint64(memory[0x3000:], 0x83)                     // and of 2 MiB
	region := le.AppendUint64(make([]byte, 16, 32), 0x4000) // slot, flags and address are 0
	region = le.AppendUint64(region, uint64(addressOf(memory)))
	if err := kvmWith(vm, kvmSetMemory, region); err != nil {
		return 0, err
	}
	kvm(vm, kvmSetTSS, 0xfffbd000) // old processors of Intel want it
	cpu, err := kvm(vm, kvmCreateVCPU, 0)
	if err != nil {
		return 0, err
	}
	defer unix.Close(int(cpu))
	size, err := kvm(dev, kvmRunSize, 0)
	if err != nil {
		return 0, err
	}
	state, err := unix.Mmap(int(cpu), 0, int(size), mapped, unix.MAP_SHARED)
	if err != nil {
		return 0, err
	}
	defer unix.Munmap(state)

	sregs := make([]byte, 312)
	if err := kvmWith(cpu, kvmGetSregs, sregs); err != nil {
		return 0, err
	}
	// Segments are base, limit, selector, type, present, dpl, db, s, l, g.
	for i, segment := range []struct {
		selector           uint16
		kind, is32, isLong byte
	}{{8, 11, 0, 1}, {16, 3, 1, 0}, {16, 3, 1, 0}, {16, 3, 1, 0}, {16, 3, 1, 0}, {16, 3, 1, 0}} {
		b := sregs[i*24:][:24]
		clear(b)
		le.PutUint32(b[8:], 0xffffffff)
		le.PutUint16(b[12:], segment.selector)
		copy(b[14:], []byte{segment.kind, 1, 0, segment.is32, 1, segment.isLong, 1})
	}
	le.PutUint64(sregs[224:], 0x80050033) // CR0: PE, MP, ET, NE, WP, AM, PG
	le.PutUint64(sregs[240:], 0x1000)     // CR3
	le.PutUint64(sregs[248:], 0x20)       // CR4: PAE
	le.PutUint64(sregs[264:], 0x500)      // EFER: LME, LMA
	if err := kvmWith(cpu, kvmSetSregs, sregs); err != nil {
		return 0, err
	}
	regs := make([]byte, 144)
	le.PutUint64(regs[136:], 2) // flags, of which one is always set; rip is 0
	if err := kvmWith(cpu, kvmSetRegs, regs); err != nil {
		return 0, err
	}

	// A signal makes the processor stop. It is sent until that is seen; Go takes no
	// notice of this one.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	thread := unix.Gettid()
	stopped, ended := make(chan struct{}), make(chan struct{})
	start := time.Now()
	go func() {
		defer close(ended)
		wait := time.NewTimer(patience)
		defer wait.Stop()
		for {
			select {
			case <-stopped:
				return
			case <-wait.C:
				unix.Tgkill(unix.Getpid(), thread, unix.SIGURG)
				wait.Reset(patience / 10)
			}
		}
	}()
	for {
		_, err = kvm(cpu, kvmRun, 0)
		if err != unix.EINTR {
			break
		}
		if time.Since(start) >= patience {
			err = os.ErrDeadlineExceeded
			break
		}
	}
	close(stopped)
	<-ended
	return le.Uint32(state[8:]), err
}

func addressOf(b []byte) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(b))) }
