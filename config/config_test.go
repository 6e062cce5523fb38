package config

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
)

func env(vars map[string]string) func(string) string {
	return func(name string) string { return vars[name] }
}

func TestEnvironment(t *testing.T) {
	l, err := Environment(env(map[string]string{
		"THAW_CACHES": "https://a https://b?priority=3", "THAW_TRUSTED_KEYS": "k:x  l:y", "NETRC": "/n",
		"SSL_CERT_FILE": "/other", "NIX_SSL_CERT_FILE": "/ca", "THAW_JOBS": "3",
	}))
	want := Layer{Source: "environment", Caches: []Cache{{URL: "https://a"}, {URL: "https://b?priority=3"}}, Keys: []string{"k:x", "l:y"}, Netrc: "/n", CAFile: "/ca", Jobs: 3}
	if err != nil || !reflect.DeepEqual(l, want) {
		t.Errorf("%+v, %v", l, err)
	}
	for _, bad := range []string{"0", "-1", "many"} {
		if _, err := Environment(env(map[string]string{"THAW_CONNECTIONS": bad})); err == nil || !strings.Contains(err.Error(), "THAW_CONNECTIONS="+bad) {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

func TestNixConf(t *testing.T) {
	files := map[string]string{
		"/etc/nix/nix.conf": `# a comment
substituters = https://a https://b # another
trusted-public-keys =   k:x
max-jobs = auto
include more.conf
!include /none
`,
		"/etc/nix/more.conf": "extra-substituters = https://c\nextra-trusted-public-keys = l:y\nnetrc-file = /etc/nix/netrc\nconnect-timeout = 5\nstalled-download-timeout = 60\n",
		"/old":               "binary-caches = https://old\nbinary-cache-public-keys = o:z\n",
		"/loop":              "include /loop\n",
		"/bad":               "substituters https://a\n",
		"/time":              "connect-timeout = soon\n",
		"/gone":              "include /none\n",
	}
	read := func(name string) (string, error) {
		text, ok := files[name]
		if !ok {
			return "", errors.New(name + " is not there")
		}
		return text, nil
	}
	l, err := NixConf("/etc/nix/nix.conf", NixDefaults{}, read)
	want := Layer{Source: "/etc/nix/nix.conf", Caches: []Cache{{URL: "https://a"}, {URL: "https://b"}, {URL: "https://c"}}, Keys: []string{"k:x", "l:y"},
		Netrc: "/etc/nix/netrc", Connect: 5 * time.Second, Stall: time.Minute}
	if err != nil || !reflect.DeepEqual(l, want) {
		t.Errorf("%+v, %v", l, err)
	}
	if l, err := NixConf("/old", NixDefaults{}, read); err != nil || len(l.Caches) != 1 || l.Keys[0] != "o:z" {
		t.Errorf("%+v, %v", l, err)
	}
	l, err = NixConf("/etc/nix/more.conf", NixDefaults{[]string{"https://d"}, []string{"d:d"}}, read)
	if err != nil || len(l.Caches) != 2 || l.Caches[0].URL != "https://d" || !reflect.DeepEqual(l.Keys, []string{"d:d", "l:y"}) {
		t.Errorf("what is added alone: %+v, %v", l, err)
	}
	for name, words := range map[string]string{"/loop": "/loop includes itself", "/bad": "/bad:1: this is not NAME = VALUE", "/time": "connect-timeout = soon", "/gone": "/none is not there"} {
		if _, err := NixConf(name, NixDefaults{}, read); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSubstituters(t *testing.T) {
	for in, want := range map[string]string{
		"https://a?trusted=1&priority=3": "https://a?priority=3", "daemon": "", "ssh://h": "", "file:///x?compression=zstd": "file:///x",
		"s3://b?region=r&compression=xz": "s3://b?region=r", "https://a": "https://a",
	} {
		if got, ok := substituter(in); got != want || ok != (want != "") {
			t.Errorf("%s: %q, %v", in, got, ok)
		}
	}
	read := func(string) (string, error) {
		return "extra-substituters = https://a\nextra-substituters = https://b\n", nil
	}
	if l, err := NixConf("f", NixDefaults{}, read); err != nil || len(l.Caches) != 2 {
		t.Errorf("%+v, %v", l, err)
	}
}

func TestRedacted(t *testing.T) {
	for in, want := range map[string]string{
		"https://h/p": "https://h/p", "https://u:p@h/p": "https://…@h/p", "https://u:se/cret@h/": "https://…@h/", "https://h/p?priority=3": "https://h/p?priority=3",
		"/dir@x": "/dir@x", "https://u:p@h": "https://…@h",
	} {
		if got := Redacted(in); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}

func TestYAML(t *testing.T) {
	l, err := YAML("/home/me/thaw/config.yaml", []byte(`
caches:
  - url: https://a
    authorization: { file: token }
  - url: https://b
    authorization: { env: TOKEN }
    client-certificate: { cert: /c.pem, key: k.pem }
trusted-keys: [ "k:x" ]
netrc: netrc
connect-timeout: 5s
stall-timeout: 2m
jobs: 4
`))
	want := Layer{Source: "/home/me/thaw/config.yaml", Caches: []Cache{{URL: "https://a", AuthFile: "/home/me/thaw/token"}, {URL: "https://b", AuthEnv: "TOKEN", Cert: "/c.pem", CertKey: "/home/me/thaw/k.pem"}},
		Keys: []string{"k:x"}, Netrc: "/home/me/thaw/netrc", Connect: 5 * time.Second, Stall: 2 * time.Minute, Jobs: 4}
	if err != nil || !reflect.DeepEqual(l, want) {
		t.Errorf("%+v, %v", l, err)
	}
	for text, words := range map[string]string{
		"cashes: []":                  "unknown field",
		"caches: [ { priority: 3 } ]": "unknown field",
		"caches: [ {} ]":              "caches[0] has no url",
		"connect-timeout: soon":       `"soon" is not a time`,
		"jobs: -1":                    "from 1 on",
		"caches: [ { url: 'https://u:p@h', authorization: { file: a, env: b } } ]": "the authorization of https://…@h has both",
		"jobs: [": "config.yaml",
	} {
		if _, err := YAML("config.yaml", []byte(text)); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%s: %v", text, err)
		}
	}
	if l, err := YAML("c", []byte(" \n")); err != nil || !reflect.DeepEqual(l, Layer{Source: "c"}) {
		t.Errorf("an empty file: %+v, %v", l, err)
	}
}

func TestMerge(t *testing.T) {
	e := Merge(
		Layer{Source: "flags", Keys: []string{"f:1"}},
		Layer{Source: "file", Caches: []Cache{{URL: "https://u:p@a/x"}}, Keys: []string{"g:2"}, Jobs: 2},
		Layer{Source: "built-in", Caches: []Cache{{URL: "https://b"}}, Stall: 30 * time.Second},
	)
	if len(e.Caches) != 1 || e.Caches[0].URL != "https://u:p@a/x" || e.Keys[0] != "f:1" || len(e.Keys) != 1 || e.Jobs != 2 || e.Stall != 30*time.Second {
		t.Errorf("%+v", e.Layer)
	}
	want := []Setting{
		{"caches", "https://…@a/x", "file"}, {"trusted-keys", "f:1", "flags"}, {"netrc", "", "unset"}, {"ca-file", "", "unset"}, {"connect-timeout", "", "unset"},
		{"stall-timeout", "30s", "built-in"}, {"cache-dir", "", "unset"}, {"jobs", "2", "file"}, {"connections", "", "unset"},
	}
	if !reflect.DeepEqual(e.Settings, want) {
		t.Errorf("%+v", e.Settings)
	}
}
