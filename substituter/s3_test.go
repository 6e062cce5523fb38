package substituter

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"thaw/internal/testbed"
	"thaw/narinfo"
	"thaw/storepath"
)

// noAmazon keeps tests away from the credentials of who runs them.
func noAmazon(t *testing.T) {
	t.Helper()
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION"} {
		t.Setenv(name, "")
	}
	none := filepath.Join(t.TempDir(), "none")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", none)
	t.Setenv("AWS_CONFIG_FILE", none)
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
}

func TestBucketURL(t *testing.T) {
	noAmazon(t)
	for in, want := range map[string]string{
		"s3://b":                            "https://b.s3.us-east-1.amazonaws.com/",
		"s3://b/sub/dir/?region=eu-west-1":  "https://b.s3.eu-west-1.amazonaws.com/sub/dir/",
		"s3://b.with.dots?region=eu-west-1": "https://s3.eu-west-1.amazonaws.com/b.with.dots/",
		"s3://b?endpoint=minio:9000":        "https://minio:9000/b/",
		"s3://b?endpoint=minio&scheme=http": "http://minio/b/",
		"s3://b/x?endpoint=http://h/base/":  "http://h/base/b/x/",
	} {
		h, err := NewS3(in, http.DefaultClient, HTTPSettings{})
		if err != nil || h.url.String() != want {
			t.Errorf("%s: %v, %v", in, h, err)
		} else if name, _, _ := strings.Cut(in, "?"); h.String() != strings.TrimSuffix(name, "/") {
			t.Errorf("%s calls itself %s", in, h)
		}
	}
	for _, in := range []string{"s3://", "s3://u:p@b", "s3://b?scheme=ftp", "s3://b?endpoint=ftp://x", "s3://b?endpoint=http://u:p@x", "s3://b?profil=x", "s3://b?region=a&region=b"} {
		if h, err := NewS3(in, http.DefaultClient, HTTPSettings{}); err == nil {
			t.Errorf("%s is taken for %s", in, h.url)
		}
	}
}

// Requests are signed where there are credentials, and only to the cache's own
// server.
func TestS3Signs(t *testing.T) {
	noAmazon(t)
	var got http.Header
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { got = r.Header.Clone() }))
	defer server.Close()
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { got = r.Header.Clone() }))
	defer other.Close()
	get := func(query, ref string) http.Header {
		t.Helper()
		client, err := HTTPSettings{}.Client()
		if err != nil {
			t.Fatal(err)
		}
		h, err := NewS3("s3://bucket?region=r&endpoint="+server.URL+query, client, HTTPSettings{})
		if err != nil {
			t.Fatal(err)
		}
		body, err := h.Get(t.Context(), ref, Part{})
		if err != nil {
			t.Fatal(err)
		}
		body.Close()
		return got
	}
	if a := get("", "x").Get("Authorization"); a != "" {
		t.Errorf("without credentials: %q", a)
	}
	t.Setenv("AWS_ACCESS_KEY_ID", "id")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	if a := get("", "x").Get("Authorization"); !strings.HasPrefix(a, "AWS4-HMAC-SHA256 Credential=id/") || !strings.Contains(a, "/r/s3/") {
		t.Errorf("from the environment: %q", a)
	}
	if a := get("", other.URL+"/x").Get("Authorization"); a != "" {
		t.Errorf("to another server: %q", a)
	}
	file := filepath.Join(t.TempDir(), "credentials")
	if err := os.WriteFile(file, []byte("[work]\naws_access_key_id = workid\naws_secret_access_key = s\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", file)
	if a := get("&profile=work", "x").Get("Authorization"); !strings.Contains(a, "Credential=workid/") {
		t.Errorf("from a profile: %q", a)
	}
}

// The small cache comes whole out of a real S3 server, for who has the keys.
func TestS3Server(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: an S3 server takes a minute to build")
	}
	noAmazon(t)
	bin := t.TempDir()
	install := exec.Command("go", "install", "github.com/versity/versitygw/cmd/versitygw@v1.8.0")
	install.Env = append(os.Environ(), "GOBIN="+bin, "CGO_ENABLED=0", "GOFLAGS=")
	if out, err := install.CombinedOutput(); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("the S3 server does not build: %v\n%s", err, out)
		}
		t.Skipf("SKIPPED: the S3 server does not build here: %v", err)
	}
	root := t.TempDir()
	cache := filepath.Join(testbed.Root(t), "testdata/caches/tiny/cache-zstd")
	if err := os.CopyFS(filepath.Join(root, "bucket", "pre"), os.DirFS(cache)); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(t.TempDir(), "s") // no port that another program may take first
	server := exec.CommandContext(t.Context(), filepath.Join(bin, "versitygw"), "--port", socket, "--access", "testid", "--secret", "testsecret", "--region", "eu-test-1", "posix", "--nometa", root)
	server.Dir = bin
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		server.Wait()
		close(ended)
	}()
	defer func() {
		server.Process.Kill()
		<-ended
	}()
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}
	for {
		conn, err := dial(t.Context(), "", "")
		if err == nil {
			conn.Close()
			break
		}
		select {
		case <-ended:
			t.Fatalf("the S3 server has ended: %v", err)
		case <-time.After(20 * time.Millisecond):
		}
	}
	const place = "s3://bucket/pre?region=eu-test-1&endpoint=http%3A%2F%2Fs3.example"
	fetch := func() error {
		client, err := HTTPSettings{}.Client()
		if err != nil {
			return err
		}
		plain := client.Transport.(*agent).plain.(*http.Transport)
		plain.DialContext, plain.Proxy = dial, nil
		h, err := NewS3(place, client, HTTPSettings{})
		if err != nil {
			return err
		}
		key, err := narinfo.ParseKey(strings.TrimSpace(readFile(t, filepath.Join(testbed.Root(t), "testdata/caches/tiny/test-cache-1.pub"))))
		if err != nil {
			return err
		}
		keys := narinfo.Keys{key}
		d, err := OpenDisk(t.TempDir(), &List{Caches: []*Remote{{From: h, Keys: keys}}}, keys, 2, nil)
		if err != nil {
			return err
		}
		files, err := filepath.Glob(cache + "/*.narinfo")
		if err != nil || len(files) != 11 {
			return fmt.Errorf("%d narinfos, %v", len(files), err)
		}
		for _, file := range files {
			p, err := storepath.New(strings.TrimSuffix(filepath.Base(file), ".narinfo"), "x")
			if err != nil {
				return err
			}
			info, err := d.Info(t.Context(), p)
			if err == nil {
				err = d.Ensure(t.Context(), info)
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
	if err := fetch(); err == nil {
		t.Error("a private bucket is read without credentials")
	}
	t.Setenv("AWS_ACCESS_KEY_ID", "testid")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "wrong")
	if err := fetch(); err == nil {
		t.Error("a private bucket is read with a wrong secret")
	}
	t.Setenv("AWS_SECRET_ACCESS_KEY", "testsecret")
	if err := fetch(); err != nil {
		t.Error(err)
	}
}

func readFile(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
