package spec

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestTables holds the tables against each other: each key has a description with
// an example that is right, and no description or syntax is left over.
func TestTables(t *testing.T) {
	used := map[string]bool{}
	var ids []string
	add := func(f *field) {
		if slices.Contains(ids, f.id) {
			return
		}
		ids = append(ids, f.id)
		if f.is != nil {
			used[f.is.name] = true
		}
		doc := docOf(f.id)
		if !strings.HasSuffix(doc.text, ".") || doc.example == "" {
			t.Errorf("%s has no sentence or no example", f.id)
			return
		}
		d := &decoder{&problems{text: "a: " + doc.example}, objects{}, map[string]*node{}}
		v := reflect.New(f.form()).Elem()
		d.value(v, f, readText(d.problems, false).items[0], f.key)
		if err := d.err(); err != nil {
			t.Errorf("the example of %s: %v", f.id, err)
		}
		if kinds := btoi(f.def != nil) + btoi(f.unset != "") + btoi(f.need) + btoi(f.one || f.isObject()); kinds != 1 && !(f.one && f.need) {
			t.Errorf("%s must have one of default, unset and need", f.id)
		}
		if def := f.defaultNode(); def != nil {
			d.value(v, f, def, f.key)
			if err := d.err(); err != nil {
				t.Errorf("the default of %s: %v", f.id, err)
			}
		}
	}
	os := objects{}
	for _, p := range os.places() {
		for i := range p.fields {
			f := &p.fields[i]
			add(f)
			if o := os.named(f.form()); o != nil {
				used[o.name.is.name] = true
				if o.value != nil {
					used[o.value.is.name] = true
				}
			}
		}
	}
	for _, d := range docs {
		if !slices.Contains(ids, d.id) {
			t.Errorf("%s is described and no key", d.id)
		}
	}
	for i, s := range syntaxes {
		if !used[s.name] {
			t.Errorf("the syntax %s is not used", s.name)
		}
		if i > 0 && s.name <= syntaxes[i-1].name {
			t.Errorf("the syntax %s is out of order", s.name)
		}
	}
	// A tag with a name that is not in the table of syntaxes would be silently none.
	for typ := range os {
		for i := range typ.NumField() {
			if is := typ.Field(i).Tag.Get("is"); is != "" && syntaxOf(is) == nil {
				t.Errorf("%s.%s: there is no syntax %s", typ.Name(), typ.Field(i).Name, is)
			}
		}
	}
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// TestSyntaxes has texts that are right, as they are then written, and wrong
// ones. What the pattern of the schema refuses must be wrong.
func TestSyntaxes(t *testing.T) {
	hash := "/nix/store/2q5bfwhm7zq2nlqcnd1iv8x83a8jjsgg-a"
	tested := map[string]bool{}
	for name, c := range map[string]struct {
		right map[string]string // "" for the text itself
		wrong []string
	}{
		"DNS name":   {map[string]string{"a": "", "A-1.b_c": ""}, []string{"", ".a", "a.", "a..b", "a b", "ä", strings.Repeat("a", 64), strings.Repeat("a.", 126) + "aa"}},
		"IP address": {map[string]string{"127.0.0.1": "", "2001:DB8::0:1": "2001:db8::1"}, []string{"", "127.1", "1.2.3.256", "01.2.3.4", "fe80::1%eth0", "a", "::g"}},
		"command": {map[string]string{"/a": "", "  /bin/a\t-b \n": "/bin/a -b", `/a 'b c'\''d' "" e\ f "g\"\h\$" i=j'k'`: `/a 'b c'\''d' '' 'e f' 'g"\h$' i=jk`, "/a 'b\n' c#d": "/a 'b\n' 'c#d'", `/a "b\c" ä`: `/a 'b\c' 'ä'`},
			[]string{"", " ", "a", "''", "/a 'b", `/a "b`, `/a \`, "/a $B", "/a `b`", `/a "$b"`, "/a | b", "/a && b", "/a; b", "/a >b", "/a *", "/a b?", "/a [b]", "/a (b)", "/a #b", "/a ~b", "/a\x00", "/a '\x1b'", "/a\n/b"}},
		"UUID": {map[string]string{"6F2C2AC4-3b1e-4d0c-9a53-0b9c7c1f6f10": "6f2c2ac4-3b1e-4d0c-9a53-0b9c7c1f6f10"},
			[]string{"", "6f2c2ac43b1e4d0c9a530b9c7c1f6f10", "{6f2c2ac4-3b1e-4d0c-9a53-0b9c7c1f6f10}", "00000000-0000-0000-0000-000000000000", "6f2c2ac-43b1e-4d0c-9a53-0b9c7c1f6f10"}},
		"account":        {map[string]string{"a": "", "_apt": "", "systemd-network": ""}, []string{"", "A", "1a", "a b", "a:b", "-a", "ä", strings.Repeat("a", 33)}},
		"account path":   {map[string]string{"/home/a/": "/home/a", "/": ""}, []string{"", "home", "/a:b", "/a\nb", "/a/../b"}},
		"account text":   {map[string]string{"Ä, b": ""}, []string{"a:b", "a\nb"}},
		"argument":       {map[string]string{"": "", "a\nb 'ä'": ""}, []string{"a\x00"}},
		"container user": {map[string]string{"app": "", "1000": "", "app:www-data": "", "0:0": ""}, []string{"", ":", "app:", ":app", "A", "a b", "a:b:c", "4294967295", "-1"}},
		"image name": {map[string]string{"demo": "", "tools/demo:1.0": "", "example.org:5000/a/b_c:X": "", "localhost/a--b": ""},
			[]string{"", ":1", "Demo", "demo:", "demo:.a", "a b", "/demo", "demo/", "a//b", "demo@sha256:00", "https://a/b", strings.Repeat("a", 256), "demo:" + strings.Repeat("a", 129)}},
		"label name": {map[string]string{"org.example.a": "", "A": ""}, []string{"", "a b", "ä", strings.Repeat("a", 256)}},
		"port":       {map[string]string{"80": "80/tcp", "80/tcp": "", "53/udp": "", "9/sctp": ""}, []string{"", "0", "080", "65536", "99999/udp", "80/icmp", "80/", "80-90", "-1", "a"}},
		"signal":     {map[string]string{"SIGTERM": "", "SIGRTMIN+3": "", "9": ""}, []string{"", "TERM", "sigterm", "0", "100", "SIG"}},
		"boot file":  {map[string]string{"auto": "", "none": "", hash + "/b/c": ""}, []string{"", "Auto", hash, hash + "/", "/nix/store/x/b", "b", hash + "/../b"}},
		"cache": {map[string]string{"https://a": "", "http://a:8080/b": "", "s3://b?region=c": "", "file:///a": "", "../a/": "../a", "a": ""},
			[]string{"", "ftp://a", "https://", "https://a#b", "https://a?b=c", "https://u@a", "https://u:p@a", "file://a/b", "https://a b", "https://[::1", "s3://"}},
		"file":             {map[string]string{"a": "", "./a/../b": "b", "/a": "", "a b": ""}, []string{"", "a\x00", "a\nb"}},
		"file system type": {map[string]string{"ext4": "", "fuse.sshfs": "", "9p": ""}, []string{"", "a b", ".a", "a,b"}},
		"host name":        {map[string]string{"a": "", "A-1.b": ""}, []string{"", "-a", "a-", "a..b", "a.", "a_b", "ä", strings.Repeat("a", 65)}},
		"kernel arguments": {map[string]string{"": "", "a=b c": ""}, []string{"a\nb", "ä", "\t", strings.Repeat("a", 2048)}},
		"key name":         {map[string]string{"a.b-1": ""}, []string{"", "a:b", "a b"}},
		"label":            {map[string]string{"": "", "äöüäöüäö": ""}, []string{strings.Repeat("a", 17), "äöüäöüäöü", "a\n"}},
		"link target":      {map[string]string{"../a": "", " ": ""}, []string{"", "\x00", strings.Repeat("a", 4096)}},
		"line":             {map[string]string{"": "", "a 'b' \"": ""}, []string{"a\nb", "a\x00", "\t"}},
		"mode":             {map[string]string{"644": "0644", "0000": "", "7777": ""}, []string{"", "44", "00644", "0o644", "088", "+644", "0_44"}},
		"name":             {map[string]string{"a": "", "9.a_b-c": ""}, []string{"", ".a", "-a", "a/b", "a b", strings.Repeat("a", 65)}},
		"mount option":     {map[string]string{"ro": "", "lowerdir=/a:/b": ""}, []string{"", "a,b", "a b", "a\tb", "\x7f"}},
		"mount source":     {map[string]string{"/dev/vda1": "", "LABEL=a b": "", "host:/a": ""}, []string{"", "a\nb", strings.Repeat("a", 4096)}},
		"name pattern":     {map[string]string{"a*": "", "[a-b]?": ""}, []string{"", "[", "a/b", "a\\"}},
		"number of bytes":  {map[string]string{"1B": "", "1024K": "1M", "300M": ""}, []string{"", "0B", "1", "M", "fit", "fill", "fit+1M", "1.5G", "-1M", "1048577T"}},
		"output name":      {map[string]string{"out": ""}, []string{"", "a b", "^"}},
		"owner": {map[string]string{"0:0": "", "10:20": "", "a": "", "a:b": "", "a:20": "", "10:b": ""},
			[]string{"", "10", ":", "a:", ":b", "A", "a:b:c", "1 :2", "4294967295:0", "-1:0", "+1:0", "00:1"}},
		"package name":  {map[string]string{"python3.11-a+b": "", "git@latest": ""}, []string{"", "a/b", "a b"}},
		"password hash": {map[string]string{"$2b$05$" + strings.Repeat("a", 53): "", "$y$j9T$abc$" + strings.Repeat("a", 43): "", "$6$rounds=5000$abc$" + strings.Repeat("a", 86): ""}, []string{"", "a", "!", "*", "$1$abc$abc", "$6$abc$" + strings.Repeat("a", 85), "$6$$" + strings.Repeat("a", 86), "$6$abc$" + strings.Repeat("a", 85) + ":"}},
		"path":          {map[string]string{"/": "", "//a//b/": "/a/b", "/a b": ""}, []string{"", "a", "/a/.", "/..", "/a\n", "/" + strings.Repeat("a", 256), strings.Repeat("/a", 2048)}},
		"path pattern":  {map[string]string{"/a/*.[ch]/": "/a/*.[ch]"}, []string{"", "a", "/[", "/a/**/b", "/.."}},
		"public key":    {map[string]string{"a:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=": ""}, []string{"", "a", "a:", ":AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "a:AAAA"}},
		"relative path": {map[string]string{"a": "", "a/b": ""}, []string{"", "/a", "a/", "a//b", "../a", "."}},
		"seed":          {map[string]string{"a\nb": ""}, []string{"", strings.Repeat("a", 1025)}},
		"size": {map[string]string{"fit": "", "fill": "", "fit+256M": "", "fit+1024M": "fit+1G", "fit+10%": "", "512B": "", "1000K": "", "1048576K": "1G", "1048576T": ""},
			[]string{"", "fit+", "fit10%", "fit+%", "fit+0%", "fit+1001%", "fit+-1%", "fit++1%", "-1G", "+1G", "1", "0G", "G", "1g", "1GB", "1.5G", "1048577T", "99999999999999999999G", "fit+1", "fill+1G", "fit +1G", "1 G"}},
		"source of names": {map[string]string{"channel:https://a/b/": "channel:https://a/b", "channel:./a": "", "channel:./a/../b.xz": "channel:./b.xz", "channel:/a/b": "", "hydra:http://a": "", "a/devbox.lock": ""}, []string{"", "channel:", "channel:a", "hydra:ftp://a", "https://a", "channel:https://u:p@a", "channel:https://a?b"}},
		"FAT label":       {map[string]string{"BOOT": "", "a b": ""}, []string{"", " a", "a ", "a/b", "123456789012", "ä", "a.b"}},
		"offset":          {map[string]string{"0B": "", "8K": "", "1024B": "1K"}, []string{"", "0", "8", "8k", "-1K", "fit"}},
		"partition name":  {map[string]string{"root-a": "", "EFI System": ""}, []string{"", strings.Repeat("a", 37), "a\n"}},
		"partition type":  {map[string]string{"esp": "", "root-x86-64": "", "0FC63DAF-8483-4772-8E79-3D69D8477DE4": "0fc63daf-8483-4772-8e79-3d69d8477de4"}, []string{"", "ESP", "root-x86_64", "83"}},
		"bus":             {map[string]string{"virtio": ""}, []string{"", "pci", "VIRTIO"}},
		"file pattern":    {map[string]string{"a/*.bin": "", "a": ""}, []string{"", "/a", "../a", "a/[", "a//b"}},
		"initrd":          {map[string]string{"auto": "", "none": "", "generate": "", hash + "/b": ""}, []string{"", hash, "b"}},
		"kernel module":   {map[string]string{"dm-verity": "", "pci:v00001AF4d*": ""}, []string{"", "a b", "a/b"}},
		"overlay device":  {map[string]string{"tmpfs": "", "LABEL=data": ""}, []string{"", "yes", "LABEL="}},
		"root device":     {map[string]string{"LABEL=nixos": "", "PARTUUID=1234abcd-01": "", "/dev/vda1": ""}, []string{"", "vda1", "LABEL=", "LABEL=a b", "TYPE=ext4"}},
		"serial number":   {map[string]string{"1234-ABCD": "1234-abcd", "0000000f": "0000-000f"}, []string{"", "1234", "0000-0000", "12-345678", "1234-abcg", "+1234567"}},
		"store file":      {map[string]string{hash: "", hash + "/": hash, hash + "/a/b": "", hash + "//a": hash + "/a"}, []string{"", "auto", "none", "/boot/a", hash + "/../b", "/nix/store/a/b"}},
		"store path":      {map[string]string{hash: "", hash + "/": hash}, []string{"", "a", hash + "/b", "/nix/store", "/gnu/store/2q5bfwhm7zq2nlqcnd1iv8x83a8jjsgg-a"}},
		"terminal":        {map[string]string{"ttyS0": "", "console": ""}, []string{"", "/dev/tty1", "pts/0", "tty 1", "1", strings.Repeat("t", 33)}},
		"volume label":    {map[string]string{"A": "", "Demo 1.2": "", strings.Repeat("a", 32): ""}, []string{"", " a", "a ", "ä", "a\n", strings.Repeat("a", 33)}},
		"variable":        {map[string]string{"A_1": ""}, []string{"", "1A", "A-B", "A=B"}},
	} {
		s := syntaxOf(name)
		pattern := regexp.MustCompile(s.pattern)
		for text, want := range c.right {
			if want == "" {
				want = text
			}
			got, err := s.parse(text)
			if err != nil || fmt.Sprint(got) != want {
				t.Errorf("%s: %q is %v, %v, instead of %q", name, text, got, err, want)
			}
			if !pattern.MatchString(text) {
				t.Errorf("%s: the schema refuses %q", name, text)
			}
			if again, err := s.parse(want); err != nil || !reflect.DeepEqual(again, got) {
				t.Errorf("%s: %q is another value than %q", name, want, text)
			}
		}
		for _, text := range c.wrong {
			if got, err := s.parse(text); err == nil {
				t.Errorf("%s: %q is taken for %v", name, text, got)
			} else if strings.Contains(err.Error(), "\n") {
				t.Errorf("%s: the error about %q has two lines: %v", name, text, err)
			}
		}
		tested[name] = true
	}
	for _, s := range syntaxes {
		if !tested[s.name] {
			t.Errorf("the syntax %s has no test", s.name)
		}
	}
}

// TestSchema holds good and bad specs against the schema.
func TestSchema(t *testing.T) {
	var root map[string]any
	if err := json.Unmarshal(Schema(), &root); err != nil {
		t.Fatal(err)
	}
	v := validator{t, root["$defs"].(map[string]any)}
	spec := func(text string) any {
		var value any
		if err := json.Unmarshal([]byte(toJSON(t, text)), &value); err != nil {
			t.Fatal(err)
		}
		return value
	}
	for name, text := range good(t) {
		if !v.valid(root, spec(text)) {
			t.Errorf("the schema refuses %s", name)
		}
		if explained := mustParse(t, name, text).Explain(); !v.valid(root, spec(string(explained))) {
			t.Errorf("the schema refuses what Explain says of %s", name)
		}
	}
	for _, name := range []string{"unknown-key", "unknown-nested", "no-version", "version-2", "scalar-for-list", "number-for-text", "yes",
		"file-two-contents", "file-no-content", "file-mode", "mode-unquoted", "output-type", "output-key-of-type", "output-name", "size-unit",
		"arch", "epoch", "user-uid-missing", "store-path", "disk-fs", "boot-loader", "group-members", "list-for-mapping",
		"host-address", "host-name", "host-names-text", "os-release", "machine-id", "mount-device", "mount-option", "mount-pass", "mount-type",
		"device-type", "device-minor", "services-supervisor", "services-list", "service-name", "service-command-list", "service-environment",
		"service-console-path", "max-size", "compress", "oci", "oci-texts"} {
		text, err := os.ReadFile(filepath.Join("testdata/bad", name+".yaml.txt"))
		if err != nil {
			t.Fatal(err)
		}
		body, _, _ := strings.Cut(string(text), "-- error --\n")
		if v.valid(root, spec(body)) {
			t.Errorf("the schema accepts the bad spec %s", name)
		}
	}
}

// validator knows as much of JSON Schema as Schema uses.
type validator struct {
	t    *testing.T
	defs map[string]any
}

func (v validator) valid(schema map[string]any, value any) bool {
	count := func(list any) (n int) {
		for _, s := range list.([]any) {
			if v.valid(s.(map[string]any), value) {
				n++
			}
		}
		return n
	}
	object, isObject := value.(map[string]any)
	ok := true
	for word, rule := range schema {
		switch word {
		case "$schema", "$defs", "title", "description", "default":
		case "$ref":
			def, found := v.defs[strings.TrimPrefix(rule.(string), "#/$defs/")].(map[string]any)
			if !found {
				v.t.Fatalf("the schema refers to %v", rule)
			}
			ok = ok && v.valid(def, value)
		case "oneOf":
			ok = ok && count(rule) == 1
		case "anyOf":
			ok = ok && count(rule) > 0
		case "const":
			ok = ok && value == rule
		case "enum":
			ok = ok && slices.Contains(rule.([]any), value)
		case "pattern":
			s, isText := value.(string)
			ok = ok && isText && regexp.MustCompile(rule.(string)).MatchString(s)
		case "minimum":
			n, isNumber := value.(float64)
			ok = ok && isNumber && n >= rule.(float64)
		case "maximum":
			n, isNumber := value.(float64)
			ok = ok && isNumber && n <= rule.(float64)
		case "items":
			list, _ := value.([]any)
			for _, item := range list {
				ok = ok && v.valid(rule.(map[string]any), item)
			}
		case "required":
			for _, key := range rule.([]any) {
				_, there := object[key.(string)]
				ok = ok && there
			}
		case "properties":
			for key, s := range rule.(map[string]any) {
				if item, there := object[key]; there {
					ok = ok && v.valid(s.(map[string]any), item)
				}
			}
		case "propertyNames":
			for key := range object {
				ok = ok && v.valid(rule.(map[string]any), key)
			}
		case "additionalProperties":
			known, _ := schema["properties"].(map[string]any)
			for key, item := range object {
				if s, isSchema := rule.(map[string]any); isSchema {
					ok = ok && v.valid(s, item)
				} else if known[key] == nil {
					ok = false
				}
			}
		case "type":
			switch rule {
			case "object":
				ok = ok && isObject
			case "array":
				_, is := value.([]any)
				ok = ok && is
			case "string":
				_, is := value.(string)
				ok = ok && is
			case "boolean":
				_, is := value.(bool)
				ok = ok && is
			case "integer":
				n, is := value.(float64)
				ok = ok && is && n == float64(int64(n))
			}
		default:
			v.t.Fatalf("the schema has the word %s, which this test does not know", word)
		}
	}
	return ok
}
