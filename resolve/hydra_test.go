package resolve

import (
	"net/http/httptest"
	"strings"
	"testing"

	"thaw/spec"
	"thaw/substituter"
)

// build123 has the keys of a Hydra's answer, as hydra-api.yaml documents them.
const build123 = `{
  "id": 123, "finished": 1, "timestamp": 1748000000, "starttime": 1748000001, "stoptime": 1748000002,
  "project": "nixos", "jobset": "release", "job": "nixpkgs.curl.x86_64-linux", "nixname": "curl-8.14.1",
  "system": "x86_64-linux", "priority": 100, "buildstatus": 0, "releasename": null,
  "drvpath": "/nix/store/00000000000000000000000000000000-curl-8.14.1.drv", "jobsetevals": [1, 2],
  "buildoutputs": {
    "bin": {"path": "/nix/store/00000000000000000000000000000003-curl-8.14.1-bin"},
    "debug": {"path": null},
    "man": {"path": "/nix/store/00000000000000000000000000000004-curl-8.14.1-man"},
    "out": {"path": "/nix/store/00000000000000000000000000000005-curl-8.14.1"}
  },
  "buildproducts": {"1": {"type": "file", "name": "x", "path": "/nix/store/x", "filesize": 1}},
  "buildmetrics": {}
}`

func TestHydra(t *testing.T) {
	t.Parallel()
	with := func(old, new string) string { return strings.Replace(build123, old, new, 1) }
	job := "nixpkgs.curl.x86_64-linux"
	const answer = "/nix/store/00000000000000000000000000000005-curl-8.14.1 | hydra job URL/job/nixos/release/nixpkgs.curl.x86_64-linux, build 123, x86_64-linux, latest-finished | bin debug man"
	const bin = "/nix/store/00000000000000000000000000000003-curl-8.14.1-bin | hydra job URL/job/nixos/release/nixpkgs.curl.x86_64-linux, build 123, x86_64-linux, latest-finished | debug man out"
	const latest = "URL/job/nixos/release/nixpkgs.curl.x86_64-linux/latest"
	for name, tt := range map[string]struct {
		pages              map[string]string // below /job/nixos/release/
		place              string
		name, output, arch string
		want               string
		kind               substituter.Kind
	}{
		"a job":               {map[string]string{job + "/latest-finished": "→/build/123", "/build/123": build123}, "URL/jobset/nixos/release", job, "", "x86_64-linux", answer, 0},
		"short":               {map[string]string{job + "/latest-finished": build123}, "URL/nixos/release", job, "", "", answer, 0},
		"an output":           {map[string]string{job + "/latest-finished": build123}, "URL/nixos/release", job, "bin", "", bin, 0},
		"the job's URL":       {map[string]string{job + "/latest-finished": build123}, "URL/job/nixos/release/" + job, "", "", "", answer, 0},
		"and its name":        {map[string]string{job + "/latest-finished": build123}, "URL/job/nixos/release/" + job, job, "", "", answer, 0},
		"short job's URL":     {map[string]string{job + "/latest-finished": build123}, "URL/nixos/release/" + job, "", "", "", answer, 0},
		"the system is added": {map[string]string{job + "/latest-finished": build123}, "URL/nixos/release", "nixpkgs.curl", "", "x86_64-linux", answer, 0},
		"nothing finished":    {map[string]string{job + "/latest": build123}, "URL/nixos/release", job, "", "x86_64-linux", strings.Replace(answer, "latest-finished", "latest", 1), 0},
		"a boolean":           {map[string]string{job + "/latest-finished": with(`"finished": 1`, `"finished": true`)}, "URL/nixos/release", job, "", "", answer, 0},
		"no such job": {nil, "URL/nixos/release", "curl", "", "x86_64-linux",
			"curl or curl.x86_64-linux is not in hydra URL/job/nixos/release: there is no such job, or no build of it that went well", 0},
		"no such output": {map[string]string{job + "/latest-finished": build123}, "URL/nixos/release", job, "dev", "",
			job + ", output dev is not in hydra job URL/job/nixos/release/" + job + ", build 123: it has the outputs bin, debug, man, out", 0},
		"another system": {map[string]string{job + "/latest-finished": with(`"x86_64-linux", "priority"`, `"aarch64-linux", "priority"`)}, "URL/nixos/release", job, "", "x86_64-linux",
			job + " is not in hydra job URL/job/nixos/release/" + job + ", build 123: it is for aarch64-linux, not for x86_64-linux", 0},
		"another job": {map[string]string{job + "/latest-finished": with(`"job": "nixpkgs`, `"job": "other`)}, "URL/nixos/release", job, "", "",
			latest + "-finished: the server answers with a build of the job other.curl.x86_64-linux", substituter.Integrity},
		"no path": {map[string]string{job + "/latest-finished": build123}, "URL/nixos/release", job, "debug", "",
			latest + "-finished: the output debug of the build 123 has no path", substituter.Integrity},
		"another store": {map[string]string{job + "/latest-finished": strings.ReplaceAll(build123, "/nix/store/", "/gnu/store/")}, "URL/nixos/release", job, "", "",
			latest + `-finished: "/gnu/store/00000000000000000000000000000005-curl-8.14.1" is not a store path: is in the store /gnu/store; only /nix/store is supported`, substituter.Integrity},
		"unfinished": {map[string]string{job + "/latest-finished": with(`"finished": 1`, `"finished": 0`)}, "URL/nixos/release", job, "", "",
			latest + "-finished: the build 123 is not finished", substituter.Integrity},
		"no status": {map[string]string{job + "/latest-finished": with(`"buildstatus": 0`, `"buildstatus": null`)}, "URL/nixos/release", job, "", "",
			latest + "-finished: the build 123 is not finished", substituter.Integrity},
		"failed": {map[string]string{job + "/latest-finished": with(`"buildstatus": 0`, `"buildstatus": 2`)}, "URL/nixos/release", job, "", "",
			latest + "-finished: the build 123 did not go well: a dependency failed", substituter.Integrity},
		"failed otherwise": {map[string]string{job + "/latest-finished": with(`"buildstatus": 0`, `"buildstatus": 99`)}, "URL/nixos/release", job, "", "",
			latest + "-finished: the build 123 did not go well: failed", substituter.Integrity},
		"a web page": {map[string]string{job + "/latest-finished": "<!doctype html>"}, "URL/nixos/release", job, "", "",
			latest + "-finished: is not JSON: invalid character '<' looking for beginning of value", substituter.Integrity},
		"a list": {map[string]string{job + "/latest-finished": "[]"}, "URL/nixos/release", job, "", "",
			latest + "-finished: a JSON array stands where something else must be", substituter.Integrity},
		"no jobset":        {nil, "URL/release", job, "", "", "hydra:URL/release does not end in PROJECT/JOBSET, and the job as a name", 0},
		"no job":           {nil, "URL/nixos/release", "", "", "", "hydra:URL/nixos/release does not end in PROJECT/JOBSET/JOB, or with a name PROJECT/JOBSET", 0},
		"two jobs":         {nil, "URL/job/nixos/release/a", "b", "", "", "hydra:URL/job/nixos/release/a is the job a, not b", 0},
		"below a prefix":   {map[string]string{"/ci/job/nixos/release/" + job + "/latest-finished": build123}, "URL/ci/jobset/nixos/release", job, "", "", strings.Replace(answer, "URL", "URL/ci", 1), 0},
		"a query in a job": {nil, "URL/nixos/release", "a?b/c", "", "", "a?b/c is not in hydra URL/job/nixos/release: there is no such job, or no build of it that went well", 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pages := map[string]string{}
			for path, text := range tt.pages {
				if path[0] != '/' {
					path = "/job/nixos/release/" + path
				}
				pages[path] = text
			}
			server := httptest.NewServer(handler{t, pages})
			defer server.Close()
			place := strings.Replace(tt.place, "URL", server.URL, 1)
			a, err := one(t, source(t, "", nil), Query{Name: tt.name, Output: tt.output, Arch: tt.arch, From: spec.From{Kind: spec.FromHydra, Place: place}})
			checkText(t, a, err, strings.ReplaceAll(tt.want, "URL", server.URL))
			if got := substituter.KindOf(err); got != tt.kind {
				t.Errorf("an error of kind %d, want %d", got, tt.kind)
			}
		})
	}
}

// What the server is asked, and in what order.
func TestHydraRequests(t *testing.T) {
	t.Parallel()
	server := serve(t, nil)
	_, err := one(t, source(t, "", nil), Query{Name: "a b", Arch: "x86_64-linux", From: from(t, "hydra:"+server.URL+"/jobset/p/j")})
	if err == nil {
		t.Fatal("an answer")
	}
	var paths []string
	for _, r := range server.Log() {
		paths = append(paths, r.Path)
		if got := r.Header.Get("Accept"); got != "application/json" {
			t.Errorf("Accept: %s", got)
		}
	}
	if got, want := strings.Join(paths, " | "), "job/p/j/a b/latest-finished | job/p/j/a b/latest | job/p/j/a b.x86_64-linux/latest-finished | job/p/j/a b.x86_64-linux/latest"; got != want {
		t.Errorf("asked %s, want %s", got, want)
	}
}
