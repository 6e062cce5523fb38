//go:build race

package main

// Under the race detector memory says nothing about the program.
func init() { raceDetector = true }
