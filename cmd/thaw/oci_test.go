package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"thaw/internal/testbed"
)

const (
	helloPath   = "/nix/store/iv6mnmnw8z16ca4yawz70zfapazdfyvq-hello-static-1.0"
	busyboxPath = "/nix/store/4816nf1754f3jnz5brkh5n9y252l4san-busybox-static-1.35.0"
)

// imageSpec writes a spec of packages of the example's cache with these outputs.
func imageSpec(t *testing.T, p *program, name, arch, text, outputs string, packages ...string) {
	t.Helper()
	spec := fmt.Sprintf(`version: 1
arch: %s
packages: [%s]
rootfs:
  users: [{ name: app, uid: 1000 }]
  files: [{ path: /etc/text, content: %q }]
outputs: { %s }
`, arch, strings.Join(packages, ", "), text, outputs)
	if err := os.WriteFile(filepath.Join(p.dir, name), []byte(spec), 0o644); err != nil {
		t.Fatal(err)
	}
}

// builtImage is what build --json says of a container image.
type builtImage struct {
	Path, Digest string
	Size         int64
	Image        struct {
		Digest string
		Layers []layer
	}
}

func (p *program) images(t *testing.T, args ...string) map[string]builtImage {
	t.Helper()
	var all struct{ Outputs []builtImage }
	if err := json.Unmarshal([]byte(p.run(t, append([]string{"build", "--json"}, args...)...).stdout), &all); err != nil {
		t.Fatal(err)
	}
	found := map[string]builtImage{}
	for _, o := range all.Outputs {
		found[filepath.Base(o.Path)] = o
	}
	return found
}

func exampleProgram(t *testing.T) *program {
	return newProgram(t, "--cache", repository(t, "testdata/example"), "--trusted-key", testbedKey)
}

// An image has the same bytes however many jobs there are, whatever is written
// beside it, whoever builds it; and a size within what was planned.
func TestImageSameBytes(t *testing.T) {
	const outputs = `dir: { type: oci }, one: { type: oci, max-layers: 1, compress: none }, tar: { type: oci, archive: tar, compress: zstd, name: "demo:1" }`
	p := exampleProgram(t)
	imageSpec(t, p, "alone.yaml", "x86_64-linux", "a", outputs, busyboxPath, helloPath)
	imageSpec(t, p, "beside.yaml", "x86_64-linux", "a", outputs+", ext4: { type: ext4 }, sq: { type: squashfs }", busyboxPath, helloPath)
	var want map[string]builtImage
	try := func(args ...string) {
		t.Helper()
		got := p.images(t, append(args, "-o", "out")...)
		if want == nil {
			want = got
		}
		for name, w := range want {
			if got[name].Digest != w.Digest || got[name].Size != w.Size {
				t.Errorf("%v: %s is %v instead of %v", args, name, got[name], w)
			}
		}
		for _, name := range []string{"dir.oci", "one.oci"} {
			if sum := testbed.Run(t, "sha256sum", filepath.Join(p.dir, "out", name, "blobs/sha256", strings.TrimPrefix(got[name].Digest, "sha256:"))); !strings.HasPrefix(string(sum), got[name].Digest[7:]) {
				t.Errorf("%s: its manifest is %s", name, sum)
			}
		}
		if sum := testbed.Run(t, "sha256sum", filepath.Join(p.dir, "out/tar.oci.tar")); !strings.HasPrefix(string(sum), got["tar.oci.tar"].Digest[7:]) {
			t.Errorf("the archive has the digest %s instead of %s", sum, got["tar.oci.tar"].Digest)
		}
		if err := os.RemoveAll(filepath.Join(p.dir, "out")); err != nil {
			t.Fatal(err)
		}
	}
	try("alone.yaml")
	try("alone.yaml", "--jobs", "1")
	try("beside.yaml", "--jobs", "2", "--check")
	try("beside.yaml", "--jobs", "8", "--no-cache")
	if n := len(want["dir.oci"].Image.Layers); n != 3 {
		t.Errorf("there are %d layers", n)
	}
	if n := len(want["one.oci"].Image.Layers); n != 1 {
		t.Errorf("there are %d layers instead of one", n)
	}
	if os.Geteuid() == 0 {
		user := exampleProgram(t)
		for _, name := range []string{"alone.yaml", "beside.yaml"} {
			testbed.Run(t, "cp", filepath.Join(p.dir, name), user.dir)
		}
		user.become(t, 65534)
		p = user
		try("alone.yaml")
	}
	var plan struct {
		Outputs []struct {
			Name                string
			Least, Likely, Most int64
		}
	}
	if err := json.Unmarshal([]byte(p.run(t, "plan", "--json", "beside.yaml").stdout), &plan); err != nil {
		t.Fatal(err)
	}
	files := map[string]string{"dir": "dir.oci", "one": "one.oci", "tar": "tar.oci.tar"}
	for _, o := range plan.Outputs {
		if size := want[files[o.Name]].Size; files[o.Name] != "" && (size < o.Least || size > o.Most || o.Likely < size/2 || o.Likely > 2*size) {
			t.Errorf("%s takes %d bytes, and the plan says %d, %d, %d", o.Name, size, o.Least, o.Likely, o.Most)
		}
	}
}

// skopeo and umoci read images; what umoci unpacks is what an archive of the root
// file system has, and its program runs.
func TestImageRuns(t *testing.T) {
	p := exampleProgram(t)
	imageSpec(t, p, "image.yaml", "x86_64-linux", "the image", `
  dir: &SPEC,
  archive: &SPEC, archive: tar },
  zstd: &SPEC, compress: zstd },
  plain: { type: tar }`, busyboxPath, helloPath)
	file := filepath.Join(p.dir, "image.yaml")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	const of = `{ type: oci, name: "demo:1.0", user: app, workdir: /etc, entrypoint: [/bin/sh, -c], cmd: ['echo "$GREETING from $(cat text)"; hello-static'], env: { PATH: /bin, GREETING: hi }, labels: { l: "1" }, ports: ["80"], volumes: [/data], stop-signal: SIGINT, annotations: { a: b }`
	spec := strings.ReplaceAll(strings.Replace(string(text), "&SPEC,\n", of+" },\n", 1), "&SPEC", of)
	if err := os.WriteFile(file, []byte(spec), 0o644); err != nil {
		t.Fatal(err)
	}
	built := p.images(t, "image.yaml", "-o", "out")
	out := filepath.Join(p.dir, "out")
	for name, from := range map[string]string{
		"dir.oci": "oci:" + out + "/dir.oci:1.0", "archive.oci.tar": "oci-archive:" + out + "/archive.oci.tar:1.0", "zstd.oci": "oci:" + out + "/zstd.oci:1.0",
	} {
		var seen struct {
			Digest, Architecture, Os string
			Labels                   map[string]string
			Layers                   []string
		}
		if err := json.Unmarshal(testbed.Run(t, "skopeo", "inspect", from), &seen); err != nil {
			t.Fatal(err)
		}
		var layers []string
		for _, l := range built[name].Image.Layers {
			layers = append(layers, l.Digest)
		}
		if seen.Digest != built[name].Image.Digest || seen.Architecture != "amd64" || seen.Os != "linux" || seen.Labels["l"] != "1" || !slices.Equal(seen.Layers, layers) {
			t.Errorf("skopeo sees %+v, and build says %+v", seen, built[name])
		}
		var config struct{ Config map[string]any }
		if err := json.Unmarshal(testbed.Run(t, "skopeo", "inspect", "--config", from), &config); err != nil {
			t.Fatal(err)
		}
		const want = `map[Cmd:[echo "$GREETING from $(cat text)"; hello-static] Entrypoint:[/bin/sh -c] Env:[GREETING=hi PATH=/bin] ExposedPorts:map[80/tcp:map[]] Labels:map[l:1] StopSignal:SIGINT User:app Volumes:map[/data:map[]] WorkingDir:/etc]`
		if got := fmt.Sprint(config.Config); got != want {
			t.Errorf("the configuration is\n%s\nwant\n%s", got, want)
		}
		testbed.Run(t, "skopeo", "--insecure-policy", "copy", "--quiet", from, "dir:"+filepath.Join(p.dir, "copy-"+name))
	}
	loaded := testbed.Run(t, "skopeo", "inspect", "--format", "{{.Labels}}", "docker-archive:"+out+"/archive.oci.tar:docker.io/library/demo:1.0")
	if string(loaded) != "map[l:1]\n" {
		t.Errorf("as a docker archive it has the labels %s", loaded)
	}

	bundle := filepath.Join(p.dir, "bundle")
	args := []string{"unpack", "--image", filepath.Join(out, "dir.oci") + ":1.0", bundle}
	if os.Geteuid() != 0 {
		args = append([]string{"unpack", "--rootless"}, args[1:]...)
	}
	testbed.Run(t, "umoci", args...)
	root := filepath.Join(bundle, "rootfs")
	if os.Geteuid() == 0 {
		testbed.Run(t, "tar", "--compare", "-f", filepath.Join(out, "plain.tar"), "-C", root)
	}
	run := []string{"unshare", "-Ur", "chroot"}
	if err := exec.Command(testbed.Tool(t, "unshare"), "-Ur", "true").Run(); err != nil {
		if os.Geteuid() != 0 {
			t.Skip("SKIPPED: this system gives us no user namespaces")
		}
		run = run[2:] // root does without
	}
	var config struct {
		Process struct {
			Args, Env []string
			Cwd       string
			User      struct{ UID, GID int }
		}
	}
	text, err = os.ReadFile(filepath.Join(bundle, "config.json"))
	if err == nil {
		err = json.Unmarshal(text, &config)
	}
	if err != nil {
		t.Fatal(err)
	}
	if u := config.Process.User; os.Geteuid() == 0 && (u.UID != 1000 || u.GID != 1000) {
		t.Errorf("umoci runs it as %+v", u)
	}
	run = append(append(run, root, "/bin/sh", "-c", `cd "$0" && exec "$@"`, config.Process.Cwd), config.Process.Args...)
	cmd := exec.Command(run[0], run[1:]...)
	cmd.Env = append(config.Process.Env, "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
	got, err := cmd.CombinedOutput()
	if want := "hi from the image\nhello from the store\n" + helloPath + "\n"; err != nil || string(got) != want {
		t.Errorf("it says %q, %v, instead of %q", got, err, want)
	}
}

// The recipes of docs/oci.md work as they are written.
func TestImageRecipes(t *testing.T) {
	testbed.Tool(t, "skopeo")
	host := testbed.Registry(t)
	text, err := os.ReadFile(repository(t, "docs/oci.md"))
	if err != nil {
		t.Fatal(err)
	}
	p := newProgram(t)
	if err := os.CopyFS(filepath.Join(p.dir, "testdata/example"), os.DirFS(repository(t, "testdata/example"))); err != nil {
		t.Fatal(err)
	}
	thaw := "#!/bin/sh\n" + asThaw + "=/dev/null exec " + p.exe + " \"$@\"\n"
	if err := os.WriteFile(filepath.Join(p.dir, "thaw"), []byte(thaw), 0o755); err != nil {
		t.Fatal(err)
	}
	ran := 0
	for _, block := range strings.Split(string(text), "\n```")[1:] {
		kind, block, _ := strings.Cut(block, "\n")
		switch kind {
		case "yaml":
			name, _, _ := strings.Cut(strings.TrimPrefix(block, "# "), "\n")
			if err := os.WriteFile(filepath.Join(p.dir, name), []byte(block), 0o644); err != nil {
				t.Fatal(err)
			}
		case "sh":
			ran++
			cmd := p.command(t.Context())
			cmd.Path, cmd.Args = "/bin/sh", []string{"sh", "-euc", strings.ReplaceAll(block, "localhost:5000", host)}
			cmd.Env = append(cmd.Env, "PATH="+p.dir+":"+os.Getenv("PATH"))
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%s\n%v\n%s", block, err, out)
			}
		}
	}
	if ran != 3 {
		t.Errorf("%d recipes ran", ran)
	}
}

// An image that comes out otherwise is told of by what is first other in it.
func TestImageDifference(t *testing.T) {
	image := func(layers ...layer) *container { return &container{"sha256:m", layers} }
	for _, c := range []struct {
		a, b *container
		want string
	}{
		{image(layer{"x", 1}), image(), "1 layers and 0"},
		{image(layer{"x", 1}, layer{"y", 2}), image(layer{"x", 1}, layer{"z", 2}), "layer 2 of 2 is y and z"},
		{image(layer{"x", 1}), image(layer{"x", 1}), "the configuration or the manifest"},
	} {
		if got := c.a.difference(c.b); got != c.want {
			t.Errorf("%q instead of %q", got, c.want)
		}
	}
}

// What a registry has is not sent again: an image built anew sends the layers of
// what has changed. Images for several platforms become one.
func TestImagePush(t *testing.T) {
	host := testbed.Registry(t)
	p := exampleProgram(t)
	push := func(args ...string) (digest string, blobs int, sent int64) {
		t.Helper()
		var r struct {
			Digest string
			Blobs  int
			Sent   int64
		}
		if err := json.Unmarshal([]byte(p.run(t, append([]string{"push", "--json"}, args...)...).stdout), &r); err != nil {
			t.Fatal(err)
		}
		return r.Digest, r.Blobs, r.Sent
	}
	first := builtImage{}
	for _, c := range []struct {
		text     string
		packages []string
		blobs    int // the configuration, and layers
	}{
		{"one", []string{busyboxPath}, 3},
		{"one", []string{busyboxPath}, 0},
		{"two", []string{busyboxPath}, 2},            // the last layer
		{"two", []string{busyboxPath, helloPath}, 3}, // the links, too
		{"two", []string{helloPath}, 2},              // a layer less: what has changed are links
	} {
		imageSpec(t, p, "image.yaml", "x86_64-linux", c.text, "image: { type: oci }", c.packages...)
		out := fmt.Sprintf("%s-%d.oci", c.text, c.blobs)
		if err := os.RemoveAll(filepath.Join(p.dir, out)); err != nil {
			t.Fatal(err)
		}
		built := p.images(t, "image.yaml", "-o", out)[out]
		if first.Size == 0 {
			first = built
		}
		digest, blobs, sent := push(out, host+"/demo:1")
		if digest != built.Digest || blobs != c.blobs {
			t.Errorf("%s, %v: %d blobs are sent instead of %d, as %s, which is %s", c.text, c.packages, blobs, c.blobs, digest, built.Digest)
		}
		if built.Digest != first.Digest && sent > first.Size/10 {
			t.Errorf("%s, %v: %d bytes of %d are sent", c.text, c.packages, sent, built.Size)
		}
	}
	for _, arch := range []string{"x86_64", "aarch64"} {
		imageSpec(t, p, arch+".yaml", arch+"-linux", arch, "image: { type: oci }", helloPath)
		p.run(t, "build", arch+".yaml", "-o", arch+".oci")
	}
	digest, _, _ := push("x86_64.oci", "aarch64.oci", host+"/both:1")
	if other, blobs, _ := push("aarch64.oci", "x86_64.oci", host+"/both:2"); other != digest || blobs != 0 {
		t.Errorf("in another order they are %s instead of %s, and %d blobs are sent", other, digest, blobs)
	}
	for arch, name := range map[string]string{"amd64": "x86_64", "arm64": "aarch64"} {
		out := testbed.Run(t, "skopeo", "inspect", "--tls-verify=false", "--override-arch", arch, "--format", "{{.Architecture}} {{.Layers}}", "docker://"+host+"/both:1")
		alone := testbed.Run(t, "skopeo", "inspect", "--override-arch", arch, "--format", "{{.Architecture}} {{.Layers}}", "oci:"+filepath.Join(p.dir, name+".oci"))
		if string(out) != string(alone) || !strings.HasPrefix(string(out), arch) {
			t.Errorf("%s: the registry has %s, and was sent %s", arch, out, alone)
		}
	}
}
