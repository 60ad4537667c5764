package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"math/big"
	"net"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// fakeAgent is a Workload API that gives out one answer of each kind.
type fakeAgent struct {
	workload.UnimplementedSpiffeWorkloadAPIServer
	svids []*workload.X509SVID
	token func(audience []string) string
	jwks  map[string][]byte
	err   error
}

func (a *fakeAgent) FetchX509SVID(_ *workload.X509SVIDRequest, stream workload.SpiffeWorkloadAPI_FetchX509SVIDServer) error {
	if a.err != nil {
		return a.err
	}
	return stream.Send(&workload.X509SVIDResponse{Svids: a.svids})
}

func (a *fakeAgent) FetchJWTSVID(_ context.Context, request *workload.JWTSVIDRequest) (*workload.JWTSVIDResponse, error) {
	id := a.svids[0].SpiffeId
	return &workload.JWTSVIDResponse{Svids: []*workload.JWTSVID{{SpiffeId: id, Svid: a.token(request.Audience)}}}, nil
}

func (a *fakeAgent) FetchJWTBundles(_ *workload.JWTBundlesRequest, stream workload.SpiffeWorkloadAPI_FetchJWTBundlesServer) error {
	return stream.Send(&workload.JWTBundlesResponse{Bundles: a.jwks})
}

func startAgent(t *testing.T, agent *fakeAgent) (socket string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "agent.sock")
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	workload.RegisterSpiffeWorkloadAPIServer(server, agent)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	return "unix://" + path
}

func newSVID(t *testing.T, id string, notBefore, notAfter time.Time) *workload.X509SVID {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	uri, err := url.Parse(id)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(0xabc), URIs: []*url.URL{uri}, NotBefore: notBefore, NotAfter: notAfter,
		KeyUsage: x509.KeyUsageDigitalSignature,
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	encodedKey, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return &workload.X509SVID{SpiffeId: id, X509Svid: certificate, X509SvidKey: encodedKey, Bundle: certificate, Hint: "internal"}
}

func TestSVID(t *testing.T) {
	t.Parallel()
	from := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	until := from.Add(30 * time.Second)
	socket := startAgent(t, &fakeAgent{svids: []*workload.X509SVID{newSVID(t, "spiffe://example.org/api", from, until)}})

	text := runCommand(t.Context(), "svid", "--socket", socket)
	if want := "spiffe://example.org/api serial abc, from 2030-01-02T03:04:05Z to 2030-01-02T03:04:35Z\n"; text.code != exitOK || text.stdout != want {
		t.Errorf("expected exit code 0 and %q, got %+v", want, text)
	}
	var got []svidDescription
	asJSON := runCommand(t.Context(), "svid", "--socket", socket, "-o", "json")
	if err := json.Unmarshal([]byte(asJSON.stdout), &got); err != nil {
		t.Fatalf("%+v: %v", asJSON, err)
	}
	want := []svidDescription{{ID: "spiffe://example.org/api", Serial: "abc", NotBefore: from, NotAfter: until, Hint: "internal"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("JSON (-want +got):\n%s", diff)
	}
}

// Not parallel: the environment belongs to all.
func TestSVIDOfTheEnvironmentsAgent(t *testing.T) {
	svid := newSVID(t, "spiffe://example.org/api", time.Now(), time.Now())
	t.Setenv("SPIFFE_ENDPOINT_SOCKET", startAgent(t, &fakeAgent{svids: []*workload.X509SVID{svid}}))
	if got := runCommand(t.Context(), "svid"); got.code != exitOK || !strings.HasPrefix(got.stdout, "spiffe://example.org/api serial") {
		t.Errorf("expected the SVID of the agent that the environment names, got %+v", got)
	}
}

func TestSVIDRefused(t *testing.T) {
	t.Parallel()
	refusing := startAgent(t, &fakeAgent{err: status.Error(codes.PermissionDenied, "no identity issued")})
	for _, test := range []struct {
		name, socket string
		code         int
		stderr       string
	}{
		{"no identity", refusing, exitFailed, `gave no SVID: .*PermissionDenied.*no identity issued`},
		{"no agent", "unix://" + filepath.Join(t.TempDir(), "none.sock"), exitFailed, `gave no SVID: .*no such file or directory`},
		{"not a socket address", "/run/spire/agent.sock", exitUsage, `--socket: expected something like unix:///run/spire/sockets/agent.sock`},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got := runCommand(t.Context(), "svid", "--socket", test.socket, "--timeout", "2s")
			if got.code != test.code || got.stdout != "" || !regexp.MustCompile(test.stderr).MatchString(strings.ReplaceAll(got.stderr, "\n", " ")) {
				t.Errorf("expected exit code %d and %s on stderr, got %+v", test.code, test.stderr, got)
			}
		})
	}
}
