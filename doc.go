// Package thaw is the root of the module. The program is thaw/cmd/thaw; which
// package may import which is a test here.
package thaw
