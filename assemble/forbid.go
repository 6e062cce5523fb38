package assemble

import (
	"fmt"
	"path"
	"strings"

	"thaw/closure"
	"thaw/storepath"
)

// Forbidden is a path that may not be in the image.
type Forbidden struct {
	Pattern string           // what its name matches
	Why     []storepath.Path // from a package to it, each referring to the next
}

// ForbiddenError lists all paths that may not be in the image, sorted.
type ForbiddenError []Forbidden

func (e ForbiddenError) Error() string {
	lines := make([]string, 0, len(e))
	for i, f := range e {
		if i == 20 {
			lines = append(lines, fmt.Sprintf("and %d more forbidden paths", len(e)-i))
			break
		}
		names := make([]string, len(f.Why))
		for k, p := range f.Why {
			names[k] = p.Name()
		}
		why := "it is one of the packages"
		if len(names) > 1 {
			why = strings.Join(names, " → ")
		}
		lines = append(lines, fmt.Sprintf("%s is forbidden by %q: %s", f.Why[len(f.Why)-1], f.Pattern, why))
	}
	return strings.Join(lines, "\n")
}

// Allowed holds that no path of the closure has a name that one of the patterns
// matches; otherwise it is a [ForbiddenError].
func (p *Plan) Allowed(patterns []string) error {
	if len(patterns) == 0 {
		return nil
	}
	var found ForbiddenError
	var why func(storepath.Path) []storepath.Path
	for _, info := range p.Infos {
		for _, pattern := range patterns {
			ok, err := path.Match(pattern, info.StorePath.Name())
			if err != nil {
				return fmt.Errorf("the pattern %q: %w", pattern, err)
			}
			if !ok {
				continue
			}
			if why == nil {
				graph, err := closure.NewGraph(p.Infos)
				if err != nil {
					return err
				}
				why = graph.Ways(p.Roots())
			}
			found = append(found, Forbidden{pattern, why(info.StorePath)})
			break
		}
	}
	if found == nil {
		return nil
	}
	return found
}
