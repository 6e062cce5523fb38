package main

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
)

// The files that --profile writes, for go tool pprof.
const (
	cpuProfile  = "cpu.pprof"  // where processor time went, from the start to the end
	heapProfile = "heap.pprof" // what was allocated since the start, and what is still in use
)

// startProfile begins to profile the run into dir, which is made if it is not
// there. Whoever calls it calls stop at the end.
func startProfile(dir string) (stop func() error, err error) {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, err
	}
	cpu, err := os.Create(filepath.Join(dir, cpuProfile))
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(cpu); err != nil {
		return nil, errors.Join(err, cpu.Close())
	}
	return func() error {
		pprof.StopCPUProfile()
		if err := cpu.Close(); err != nil {
			return err
		}
		heap, err := os.Create(filepath.Join(dir, heapProfile))
		if err != nil {
			return err
		}
		runtime.GC() // for what is in use now
		return errors.Join(pprof.Lookup("heap").WriteTo(heap, 0), heap.Close())
	}, nil
}
