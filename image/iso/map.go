package iso

import (
	"cmp"
	"slices"

	"thaw/image/disk"
)

// What a map says of what boots from a CD.
const (
	bootedByBIOS = "boots from a CD, under a BIOS"
	bootedByUEFI = "boots from a CD, under UEFI"
)

// mapRegion maps what follows what is mapped, up to the end of what is written.
func (w *Writer) mapRegion(name, note string) {
	if end := w.out.Pos(); end > w.mapped {
		w.layout.Regions = append(w.layout.Regions, disk.Region{Kind: disk.KindVolume, Name: name, Note: note, Start: w.mapped, End: end})
		w.mapped = end
	}
}

// mapFiles maps the files that are written.
func (w *Writer) mapFiles() { w.mapRegion("files", "") }

// finishMap adds what is known at the end: table is the map of the partition table,
// whose regions go by their places.
func (w *Writer) finishMap(table disk.Map) {
	const descriptors = primarySector * sectorSize
	name := "volume descriptors"
	if w.bios != nil || w.uefi != nil {
		name += " and boot catalog"
	}
	w.layout.Table, w.layout.SectorSize, w.layout.Size = table.Table, table.SectorSize, w.size
	regions := append(w.layout.Regions, disk.Region{Kind: disk.KindVolume, Name: name, Start: descriptors, End: firstSector * sectorSize})
	for _, r := range table.Regions {
		if w.uefi != nil && r.Kind == disk.KindPartition && r.Start == int64(w.uefi.sector)*sectorSize {
			r.Note = bootedByUEFI
		}
		regions = append(regions, r)
	}
	slices.SortFunc(regions, func(a, b disk.Region) int { return cmp.Compare(a.Start, b.Start) })
	w.layout.Regions = regions
}
