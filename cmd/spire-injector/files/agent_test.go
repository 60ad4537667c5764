package files

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"log/slog"
	"math/big"
	"net"
	"net/url"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/spiffe/go-spiffe/v2/bundle/jwtbundle"
	"github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

var (
	domain = spiffeid.RequireTrustDomainFromString("example.org")
	db     = spiffeid.RequireFromPath(domain, "/db")
	silent = slog.New(slog.DiscardHandler)
)

// agent is a Workload API which refuses until the registration entry has arrived. It has one key for all.
type agent struct {
	workload.UnimplementedSpiffeWorkloadAPIServer
	key  *ecdsa.PrivateKey
	root *x509.Certificate

	mu         sync.Mutex
	registered bool
	keyID      string
	federated  map[string][]byte
	serial     int64
	changed    chan struct{}
}

func newAgent(t *testing.T) *agent {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a := &agent{key: key, keyID: "first", changed: make(chan struct{})}
	a.root = a.sign(t, &x509.Certificate{IsCA: true, BasicConstraintsValid: true, URIs: []*url.URL{domain.ID().URL()}}, time.Hour)
	return a
}

func (a *agent) sign(t *testing.T, c *x509.Certificate, life time.Duration) *x509.Certificate {
	t.Helper()
	parent := a.root
	if c.IsCA {
		parent = c
	}
	a.serial++
	c.SerialNumber, c.Subject = big.NewInt(a.serial), pkix.Name{CommonName: "test"}
	c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(life)
	if c.KeyUsage = x509.KeyUsageDigitalSignature; c.IsCA {
		c.KeyUsage = x509.KeyUsageCertSign
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &a.key.PublicKey, a.key)
	if err != nil {
		t.Error(err)
		return c
	}
	signed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Error(err)
	}
	return signed
}

// change has all who watch look again, at a new SVID too.
func (a *agent) change(what func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	what()
	close(a.changed)
	a.changed = make(chan struct{})
}

func (a *agent) response(t *testing.T) *workload.X509SVIDResponse {
	t.Helper()
	key, err := x509.MarshalPKCS8PrivateKey(a.key)
	if err != nil {
		t.Error(err)
	}
	return &workload.X509SVIDResponse{
		Svids: []*workload.X509SVID{{
			SpiffeId:    db.String(),
			X509Svid:    a.sign(t, &x509.Certificate{URIs: []*url.URL{db.URL()}}, time.Hour).Raw,
			X509SvidKey: key,
			Bundle:      a.root.Raw,
		}},
		FederatedBundles: a.federated,
	}
}

// watched is the server of an agent. T is of the test.
type watched struct {
	*agent
	t *testing.T
}

var refused = status.Error(codes.PermissionDenied, "no identity issued")

func (w watched) FetchX509SVID(_ *workload.X509SVIDRequest, s workload.SpiffeWorkloadAPI_FetchX509SVIDServer) error {
	return w.watch(s.Context(), func() error { return s.Send(w.response(w.t)) })
}

func (w watched) FetchJWTBundles(_ *workload.JWTBundlesRequest, s workload.SpiffeWorkloadAPI_FetchJWTBundlesServer) error {
	return w.watch(s.Context(), func() error {
		bundle := jwtbundle.New(domain)
		if err := bundle.AddJWTAuthority(w.keyID, &w.key.PublicKey); err != nil {
			return err
		}
		text, err := bundle.Marshal()
		if err != nil {
			return err
		}
		return s.Send(&workload.JWTBundlesResponse{Bundles: map[string][]byte{domain.IDString(): text}})
	})
}

func (w watched) watch(ctx context.Context, send func() error) error {
	for {
		w.mu.Lock()
		changed, err := w.changed, refused
		if w.registered {
			err = send()
		}
		w.mu.Unlock()
		if err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}

func (w watched) FetchJWTSVID(_ context.Context, r *workload.JWTSVIDRequest) (*workload.JWTSVIDResponse, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.registered {
		return nil, refused
	}
	text, err := w.token(r.SpiffeId, r.Audience, time.Now())
	if err != nil {
		return nil, err
	}
	return &workload.JWTSVIDResponse{Svids: []*workload.JWTSVID{{SpiffeId: r.SpiffeId, Svid: text}}}, nil
}

func (a *agent) token(subject string, audience []string, issued time.Time) (string, error) {
	signer, err := jose.NewSigner(
		jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: a.key, KeyID: a.keyID}},
		(&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		return "", err
	}
	return jwt.Signed(signer).Claims(jwt.Claims{
		Subject:  subject,
		Audience: audience,
		IssuedAt: jwt.NewNumericDate(issued),
		Expiry:   jwt.NewNumericDate(issued.Add(time.Hour)),
	}).Serialize()
}

// serve returns the agent's address.
func (a *agent) serve(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("unix", filepath.Join(t.TempDir(), "agent.sock"))
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	workload.RegisterSpiffeWorkloadAPIServer(server, watched{a, t})
	go server.Serve(listener)
	t.Cleanup(server.Stop)
	return "unix://" + listener.Addr().String()
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("expected within 20 s: %s", what)
		}
	}
}
