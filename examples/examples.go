// Package examples has the specs of this directory that are good to begin with:
// presets. Each is a whole spec, valid as it is, and its own documentation; the
// comment at its top has the commands that build and start it.
package examples

import "embed"

//go:embed container.yaml initramfs.yaml sbc.yaml vm.yaml
var presets embed.FS

// Presets returns the names of the presets, sorted.
func Presets() []string { return []string{"container", "initramfs", "sbc", "vm"} }

// Preset returns the text of a preset, and whether there is one of that name.
func Preset(name string) ([]byte, bool) {
	text, err := presets.ReadFile(name + ".yaml")
	return text, err == nil
}
