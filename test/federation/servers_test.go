package federation

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	bundlev1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/bundle/v1"
	localauthorityv1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/localauthority/v1"
	trustdomainv1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/trustdomain/v1"
	"github.com/spiffe/spire-api-sdk/proto/spire/api/types"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/spire-injector/spire-injector/test/install"
	"github.com/spire-injector/spire-injector/test/standalone"
)

const (
	ownDomain     = "example.org"
	partnerDomain = "partner.test"
)

// server is a SPIRE server that lives as long as a test.
type server struct {
	*standalone.Server
	socket string
}

// start returns a server that answers; its port is chosen here.
func start(t *testing.T, c standalone.ServerConfig) server {
	t.Helper()
	dir, err := os.MkdirTemp("", "federation-") // t.TempDir of a test with a long name is too long for sockets
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	c.Port, err = shared.ports.Free(t.Context())
	must(t, err)
	s, err := standalone.StartServer(dir, shared.programs.SPIREServer, c)
	must(t, err)
	t.Cleanup(s.Stop)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := s.Wait(ctx); err != nil {
		t.Fatalf("%v\n%s", err, s.Out)
	}
	return server{s, "unix://" + filepath.Join(dir, "api.sock")}
}

// rootLife is how long the authority above the partner's lives.
const rootLife = 365 * 24 * time.Hour

// startPartner returns a server that serves its bundle, and where. It shows its own SVID there. Its bundle does not say
// how often it wants to be fetched, so that SPIRE goes by the life of the root, which is a year; the keys for JWTs are
// others every day.
func startPartner(t *testing.T) (partner server, endpoint string) {
	t.Helper()
	port, err := shared.ports.Free(t.Context())
	must(t, err)
	root, err := install.NewAuthority("upstream-authority", time.Now(), rootLife)
	must(t, err)
	c := standalone.ServerConfig{Domain: partnerDomain, Federation: standalone.Object{"bundle_endpoint": standalone.Object{
		"address": "127.0.0.1", "port": port, "refresh_hint": "0s", "profile": []standalone.Object{{"https_spiffe": standalone.Object{}}},
	}}}
	dir := t.TempDir()
	c.Certificate, c.Key = filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	must(t, os.WriteFile(c.Certificate, root.Certificate, 0o600))
	must(t, os.WriteFile(c.Key, root.Key, 0o600))
	return start(t, c), fmt.Sprintf("https://127.0.0.1:%d", port)
}

// startPublic returns a server that serves its bundle, and where, with a certificate of the public web: of the
// authority in the file roots.
func startPublic(t *testing.T) (partner server, endpoint, roots string) {
	t.Helper()
	const host, life = "localhost", time.Hour
	port, err := shared.ports.Free(t.Context())
	must(t, err)
	public, err := install.NewAuthority("public", time.Now(), life)
	must(t, err)
	certificate, key, err := public.Serving(host, time.Now(), life)
	must(t, err)
	dir := t.TempDir()
	roots = filepath.Join(dir, "roots.crt")
	certificateFile, keyFile := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	for path, content := range map[string][]byte{roots: public.Certificate, certificateFile: certificate, keyFile: key} {
		must(t, os.WriteFile(path, content, 0o600))
	}
	served := standalone.Object{"cert_file_path": certificateFile, "key_file_path": keyFile, "file_sync_interval": "1m"}
	partner = start(t, standalone.ServerConfig{Domain: partnerDomain, Federation: standalone.Object{"bundle_endpoint": standalone.Object{
		"address": "127.0.0.1", "port": port, "profile": []standalone.Object{{"https_web": standalone.Object{"serving_cert_file": served}}},
	}}})
	return partner, fmt.Sprintf("https://%s:%d", host, port), roots
}

// introduce gives the server what it needs to know the partner's by: the roots, and no more of the bundle.
func (s server) introduce(t *testing.T, partner server) {
	t.Helper()
	bundle, err := bundlev1.NewBundleClient(partner.API).GetBundle(t.Context(), &bundlev1.GetBundleRequest{OutputMask: &types.BundleMask{X509Authorities: true}})
	must(t, err)
	response, err := bundlev1.NewBundleClient(s.API).BatchSetFederatedBundle(t.Context(), &bundlev1.BatchSetFederatedBundleRequest{Bundle: []*types.Bundle{bundle}})
	must(t, err)
	wantOK(t, response.Results[0].Status)
}

// rotate has the server take another key to sign JWTs with, and returns its ID.
func (s server) rotate(t *testing.T) string {
	t.Helper()
	authorities := localauthorityv1.NewLocalAuthorityClient(s.API)
	response, err := authorities.PrepareJWTAuthority(t.Context(), &localauthorityv1.PrepareJWTAuthorityRequest{})
	must(t, err)
	id := response.PreparedAuthority.AuthorityId
	_, err = authorities.ActivateJWTAuthority(t.Context(), &localauthorityv1.ActivateJWTAuthorityRequest{AuthorityId: id})
	must(t, err)
	return id
}

// keys are the IDs of the keys that the server has of the partner's JWTs; none while it has no bundle.
func (s server) keys(t *testing.T) []string {
	t.Helper()
	bundle, err := bundlev1.NewBundleClient(s.API).GetFederatedBundle(t.Context(), &bundlev1.GetFederatedBundleRequest{TrustDomain: partnerDomain})
	if status.Code(err) == codes.NotFound {
		return nil
	}
	must(t, err)
	var ids []string
	for _, key := range bundle.JwtAuthorities {
		ids = append(ids, key.KeyId)
	}
	return ids
}

// has says whether the server knows this key of the partner's, or for the empty one any.
func (s server) has(t *testing.T, key string) func() bool {
	return func() bool {
		keys := s.keys(t)
		return key == "" && len(keys) > 0 || slices.Contains(keys, key)
	}
}

func (s server) relationships(t *testing.T) []string {
	t.Helper()
	response, err := trustdomainv1.NewTrustDomainClient(s.API).ListFederationRelationships(t.Context(), &trustdomainv1.ListFederationRelationshipsRequest{})
	must(t, err)
	var all []string
	for _, r := range response.FederationRelationships {
		known := "https_web"
		if r.GetHttpsWeb() == nil {
			known = r.GetHttpsSpiffe().GetEndpointSpiffeId()
		}
		all = append(all, fmt.Sprintf("%s %s %s", r.TrustDomain, r.BundleEndpointUrl, known))
	}
	return all
}

// dissolve removes the relationship with the partner.
func (s server) dissolve(t *testing.T) {
	t.Helper()
	response, err := trustdomainv1.NewTrustDomainClient(s.API).BatchDeleteFederationRelationship(t.Context(),
		&trustdomainv1.BatchDeleteFederationRelationshipRequest{TrustDomains: []string{partnerDomain}})
	must(t, err)
	wantOK(t, response.Results[0].Status)
}

var nextFetch = regexp.MustCompile(`level=debug msg="Scheduling next bundle refresh" at="([^"]+)"`)

// nextFetch is when the server by itself will fetch the partner's bundle again, as it has said first.
func (s server) nextFetch(t *testing.T) time.Time {
	t.Helper()
	match := nextFetch.FindStringSubmatch(s.Out.String())
	if match == nil {
		t.Fatalf("expected the server to say when it fetches the bundle again:\n%s", s.Out)
	}
	at, err := time.Parse(time.RFC3339, match[1])
	must(t, err)
	return at
}

// polls says whether the server still looks at the partner's bundle by itself.
func (s server) polls() bool {
	return !strings.Contains(s.Out.String(), "No longer polling for updates")
}

func wantOK(t *testing.T, result *types.Status) {
	t.Helper()
	if codes.Code(result.Code) != codes.OK { //nolint:gosec // a gRPC code is never negative
		t.Fatal(result.Message)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
