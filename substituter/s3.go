package substituter

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/minio/minio-go/v7/pkg/credentials"
	sigv4 "github.com/minio/minio-go/v7/pkg/signer"
)

// An S3 bucket is a cache over HTTP whose requests are signed. Its URL is that
// of Nix:
//
//	s3://BUCKET[/PREFIX]?region=…&endpoint=…&profile=…&scheme=…
//
// region defaults to AWS_REGION, AWS_DEFAULT_REGION or us-east-1; endpoint is a
// host or an http(s) URL, for servers other than Amazon's; profile is a section
// of the AWS configuration; scheme is https unless it is http. Buckets of an
// endpoint are paths, those of Amazon are hosts.

// metadataTimeout is how long the credentials of a machine in Amazon's cloud may
// take to come.
const metadataTimeout = 2 * time.Second

// NewS3 returns the cache in an S3 bucket. Credentials come from the environment,
// from the AWS configuration files, from a container's or a machine's role; where
// there are none, requests are not signed, as public buckets allow.
func NewS3(rawURL string, client *http.Client, s HTTPSettings) (*HTTP, error) {
	u, err := url.Parse(rawURL)
	if err != nil || u.Scheme != "s3" || u.Host == "" || u.User != nil {
		return nil, errors.New("not of the form s3://BUCKET?region=…")
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return nil, errors.New("its query is not valid")
	}
	for key, values := range query {
		if !slices.Contains([]string{"region", "endpoint", "profile", "scheme"}, key) || len(values) > 1 {
			return nil, fmt.Errorf("the setting %q is not known, or comes twice; s3:// has region, endpoint, profile and scheme", clip(key))
		}
	}
	region := cmp.Or(query.Get("region"), os.Getenv("AWS_REGION"), os.Getenv("AWS_DEFAULT_REGION"), "us-east-1")
	base, err := bucketURL(u, region, query.Get("endpoint"), query.Get("scheme"))
	if err != nil {
		return nil, err
	}
	s.Authorization, s.Netrc = "", nil
	h, err := NewHTTP(base, client, s)
	if err != nil {
		return nil, err
	}
	h.name = "s3://" + u.Host + strings.TrimSuffix(u.Path, "/")
	creds := awsCredentials(query.Get("profile"))
	h.sign = func(req *http.Request) *http.Request {
		v, err := creds.GetWithContext(nil)
		if err != nil || v.AccessKeyID == "" {
			return req // nobody here has credentials
		}
		req.Header.Set("X-Amz-Content-Sha256", emptySHA256)
		return sigv4.SignV4(*req, v.AccessKeyID, v.SecretAccessKey, v.SessionToken, region)
	}
	return h, nil
}

// emptySHA256 is the hash of the body that a GET does not have.
const emptySHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

// bucketURL returns where a bucket's objects are.
func bucketURL(u *url.URL, region, endpoint, scheme string) (string, error) {
	if scheme == "" {
		scheme = "https"
	}
	if scheme != "https" && scheme != "http" {
		return "", fmt.Errorf("the scheme %q is neither https nor http", clip(scheme))
	}
	if endpoint == "" {
		if strings.Contains(u.Host, ".") { // the certificate is for one more name only
			return scheme + "://s3." + region + ".amazonaws.com/" + u.Host + u.Path, nil
		}
		return scheme + "://" + u.Host + ".s3." + region + ".amazonaws.com" + u.Path, nil
	}
	if !strings.Contains(endpoint, "://") {
		endpoint = scheme + "://" + endpoint
	}
	e, err := url.Parse(endpoint)
	if err != nil || e.Host == "" || e.User != nil || e.Scheme != "http" && e.Scheme != "https" {
		return "", fmt.Errorf("the endpoint %q is neither a host nor an http(s) URL", clip(endpoint))
	}
	return e.Scheme + "://" + e.Host + strings.TrimSuffix(e.Path, "/") + "/" + u.Host + u.Path, nil
}

// awsCredentials looks for credentials where AWS's own tools do.
func awsCredentials(profile string) *credentials.Credentials {
	chain := []credentials.Provider{&credentials.FileAWSCredentials{Profile: profile}}
	if profile == "" {
		chain = append([]credentials.Provider{&credentials.EnvAWS{}}, chain...)
		if os.Getenv("AWS_EC2_METADATA_DISABLED") != "true" {
			chain = append(chain, &credentials.IAM{Client: &http.Client{Timeout: metadataTimeout}})
		}
	}
	return credentials.New(&credentials.Chain{Providers: chain})
}
