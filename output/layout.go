package output

import (
	"thaw/image/disk"
	"thaw/spec"
)

// Layout says what is where on a disk, of which content with a place of its own has
// the sizes raw, and partitions that are as large as their content have the sizes
// partitions, in bytes and by their index. Of Params it uses ID and Spec.
func Layout(o *spec.Output, p *Params, raw, partitions []int64) (disk.Map, error) {
	d, err := openDisk(nowhere{}, o, p)
	if err != nil {
		return disk.Map{}, err
	}
	for i, size := range raw {
		if _, err := d.addRaw(i, size); err != nil {
			return disk.Map{}, err
		}
	}
	for i, size := range partitions {
		section, _, err := d.add(i)
		if err == nil && o.Disk.Partitions[i].Size.Kind == spec.Fit {
			err = at(d.params.place(d.out, "partitions", o.Disk.Partitions[i].Origin), section.End(size))
		}
		if err != nil {
			return disk.Map{}, err
		}
	}
	if err := d.disk.Close(); err != nil {
		return disk.Map{}, at(p.whole(o), err)
	}
	return d.disk.Map(), nil
}

// nowhere keeps nothing.
type nowhere struct{}

func (nowhere) WriteAt(p []byte, _ int64) (int, error) { return len(p), nil }
