package resolve

import (
	"context"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"thaw/storepath"
	"thaw/substituter"
)

// maxBuild is how long the description of a build may be, in bytes.
const maxBuild = 4 << 20

// build is what a Hydra says of one.
type build struct {
	ID       int64   `json:"id"`
	Job      *string `json:"job"`
	Finished any     `json:"finished"` // 0, 1 or a boolean
	Status   *int    `json:"buildstatus"`
	System   string  `json:"system"`
	Outputs  map[string]struct {
		Path *string `json:"path"`
	} `json:"buildoutputs"`
}

// statuses says why a build gave nothing.
var statuses = map[int]string{1: "failed", 2: "a dependency failed", 3: "aborted", 4: "cancelled", 6: "failed with output", 7: "timed out", 9: "aborted", 10: "too much log", 11: "too much output"}

// hydra answers a query of a Hydra: with the latest good build of a job in an
// evaluation of which nothing is left to build, or in any.
func (r *run) hydra(ctx context.Context, q Query) (Answer, error) {
	jobset, job, err := splitHydra(q.From.Place, q.Name)
	if err != nil {
		return Answer{}, err
	}
	jobs := []string{job}
	if q.Arch != "" && !strings.HasSuffix(job, "."+q.Arch) {
		jobs = append(jobs, job+"."+q.Arch)
	}
	for _, job = range jobs {
		for _, which := range []string{"latest-finished", "latest"} {
			from := jobset + "/" + url.PathEscape(job)
			text, _, err := r.read(ctx, from+"/"+which, "application/json", maxBuild)
			if substituter.KindOf(err) == substituter.NotFound {
				continue
			}
			if err != nil {
				return Answer{}, err
			}
			return q.built(text, from, job, which)
		}
	}
	return Answer{}, &NotFoundError{Name: orList(jobs), Where: "hydra " + jobset, Reason: "there is no such job, or no build of it that went well"}
}

// splitHydra takes the URL of a jobset, or of a job if that has no other name,
// apart. The URLs of Hydra's own pages are fine, HYDRA/jobset/PROJECT/JOBSET and
// HYDRA/job/PROJECT/JOBSET/JOB, and so are those without the first word.
func splitHydra(place, name string) (jobset, job string, err error) {
	u, err := url.Parse(place)
	if err != nil {
		return "", "", queryErrorf("%q is not a URL", clip(place))
	}
	segments := strings.Split(strings.Trim(u.EscapedPath(), "/"), "/")
	n := 2 // of the last segments
	if at := len(segments) - 4; at >= 0 && segments[at] == "job" || name == "" {
		n = 3
	}
	if len(segments) < n || slices.Contains(segments, "") {
		what := "PROJECT/JOBSET, and the job as a name"
		if n == 3 {
			what = "PROJECT/JOBSET/JOB, or with a name PROJECT/JOBSET"
		}
		return "", "", queryErrorf("hydra:%s does not end in %s", clip(place), what)
	}
	own := segments[len(segments)-n:]
	base := segments[:len(segments)-n]
	if k := len(base) - 1; k >= 0 && (base[k] == "job" && n == 3 || base[k] == "jobset" && n == 2) {
		base = base[:k]
	}
	job = name
	if n == 3 {
		if job, err = url.PathUnescape(own[2]); err != nil {
			return "", "", queryErrorf("%q is not a URL", clip(place))
		}
		if name != "" && name != job {
			return "", "", queryErrorf("hydra:%s is the job %s, not %s", clip(place), clip(job), clip(name))
		}
	}
	u.Path, u.RawPath = "", ""
	return u.String() + "/" + strings.Join(append(slices.Clone(base), "job", own[0], own[1]), "/"), job, nil
}

// built makes an answer of what a Hydra says of a build.
func (q Query) built(text []byte, from, job, which string) (Answer, error) {
	wrong := func(err error) (Answer, error) {
		return Answer{}, &substituter.Error{URL: from + "/" + which, Kind: substituter.Integrity, Err: err}
	}
	var b build
	if err := parseJSON(text, &b); err != nil {
		return wrong(err)
	}
	where := fmt.Sprintf("hydra job %s, build %d", from, b.ID)
	switch {
	case b.Job != nil && *b.Job != job:
		return wrong(fmt.Errorf("the server answers with a build of the job %s", clip(*b.Job)))
	case b.Finished != true && b.Finished != float64(1) || b.Status == nil:
		return wrong(fmt.Errorf("the build %d is not finished", b.ID))
	case *b.Status != 0:
		why := statuses[*b.Status]
		if why == "" {
			why = "failed"
		}
		return wrong(fmt.Errorf("the build %d did not go well: %s", b.ID, why))
	case q.Arch != "" && b.System != q.Arch:
		return Answer{}, &NotFoundError{Name: q.asked(), Where: where, Reason: fmt.Sprintf("it is for %s, not for %s", clip(b.System), q.Arch)}
	}
	others := slices.Sorted(maps.Keys(b.Outputs))
	out, ok := b.Outputs[q.Output]
	if !ok {
		return Answer{}, &NotFoundError{Name: q.asked(), Where: where, Reason: "it has the outputs " + clip(strings.Join(others, ", "))}
	}
	if out.Path == nil {
		return wrong(fmt.Errorf("the output %s of the build %d has no path", clip(q.Output), b.ID))
	}
	p, err := storepath.Parse(*out.Path)
	if err != nil {
		return wrong(err)
	}
	for i, name := range others {
		others[i] = clip(name)
	}
	others = slices.DeleteFunc(others, func(name string) bool { return name == q.Output })
	return Answer{Path: p, How: where + ", " + clip(b.System) + ", " + which, Others: others}, nil
}
