package envoy

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	secretv3 "github.com/envoyproxy/go-control-plane/envoy/service/secret/v3"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/anypb"
)

var (
	trustDomain = spiffeid.RequireTrustDomainFromString("example.org")
	auxiliary   = spiffeid.RequireTrustDomainFromString("auxiliary.org")
)

// agent is a real SDS server on a Unix socket that answers as a SPIRE agent does: an SVID by its SPIFFE ID, the bundles
// under "ALL" for Envoy's SPIFFE validator, one of them under its domain, and a refusal for everything it does not
// hold.
type agent struct {
	secretv3.UnimplementedSecretDiscoveryServiceServer
	domain    spiffeid.TrustDomain
	federated []*agent // whose bundles it serves too
	socket    string
	ca        *x509.Certificate
	caKey     *ecdsa.PrivateKey

	mu    sync.Mutex
	holds map[string]bool
}

func startAgent(t *testing.T, ids ...string) *agent {
	t.Helper()
	return startAgentOf(t, trustDomain, nil, ids...)
}

func startAgentOf(t *testing.T, domain spiffeid.TrustDomain, federated []*agent, ids ...string) *agent {
	t.Helper()
	key := newKey(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), IsCA: true, BasicConstraintsValid: true,
		KeyUsage:  x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
		URIs: []*url.URL{domain.ID().URL()}, Subject: pkix.Name{CommonName: "test"},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	ca, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	a := &agent{domain: domain, federated: federated, socket: filepath.Join(t.TempDir(), "agent.sock"), ca: ca, caKey: key,
		holds: map[string]bool{}}
	for _, id := range ids {
		a.register(id)
	}
	listener, err := net.Listen("unix", a.socket)
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	secretv3.RegisterSecretDiscoveryServiceServer(server, a)
	go server.Serve(listener)
	t.Cleanup(server.Stop)
	return a
}

// register makes the agent hold an SVID with this path.
func (a *agent) register(path string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.holds[spiffeid.RequireFromPath(a.domain, path).String()] = true
}

func (a *agent) StreamSecrets(stream secretv3.SecretDiscoveryService_StreamSecretsServer) error {
	answered := map[string]bool{}
	for {
		request, err := stream.Recv()
		if err != nil {
			return err
		}
		if request.ErrorDetail != nil {
			return status.Errorf(codes.Internal, "Envoy refused a secret: %s", request.ErrorDetail.Message)
		}
		response := &discoveryv3.DiscoveryResponse{TypeUrl: request.TypeUrl, VersionInfo: "1", Nonce: "1"}
		fresh := false
		for _, name := range request.ResourceNames {
			secret, err := a.secret(name)
			if err == nil && request.Node.GetMetadata().GetFields()["disable_spiffe_cert_validation"].GetBoolValue() {
				err = a.withoutValidator(secret)
			}
			if err != nil {
				return err
			}
			packed, err := anypb.New(secret)
			if err != nil {
				return err
			}
			response.Resources = append(response.Resources, packed)
			fresh = fresh || !answered[name]
			answered[name] = true
		}
		if fresh {
			if err := stream.Send(response); err != nil {
				return err
			}
		}
	}
}

func (a *agent) secret(name string) (*tlsv3.Secret, error) {
	known := slices.DeleteFunc(append([]*agent{a}, a.federated...), func(each *agent) bool { return name != "ALL" && name != each.domain.IDString() })
	if len(known) > 0 {
		bundles := &tlsv3.SPIFFECertValidatorConfig{}
		for _, each := range known {
			bundles.TrustDomains = append(bundles.TrustDomains, &tlsv3.SPIFFECertValidatorConfig_TrustDomain{
				Name: each.domain.Name(), TrustBundle: inline(pemBlock("CERTIFICATE", each.ca.Raw)),
			})
		}
		validator, err := anypb.New(bundles)
		if err != nil {
			return nil, err
		}
		return &tlsv3.Secret{Name: name, Type: &tlsv3.Secret_ValidationContext{
			ValidationContext: &tlsv3.CertificateValidationContext{CustomValidatorConfig: &corev3.TypedExtensionConfig{
				Name: "envoy.tls.cert_validator.spiffe", TypedConfig: validator,
			}},
		}}, nil
	}
	a.mu.Lock()
	held := a.holds[name]
	a.mu.Unlock()
	if !held {
		return nil, status.Errorf(codes.PermissionDenied, "workload is not authorized for the requested identities [%q]", name)
	}
	certificate, err := a.issue(name, time.Now().Add(time.Hour))
	if err != nil {
		return nil, err
	}
	key, err := x509.MarshalPKCS8PrivateKey(certificate.PrivateKey)
	if err != nil {
		return nil, err
	}
	return &tlsv3.Secret{Name: name, Type: &tlsv3.Secret_TlsCertificate{TlsCertificate: &tlsv3.TlsCertificate{
		CertificateChain: inline(pemBlock("CERTIFICATE", certificate.Certificate[0])),
		PrivateKey:       inline(pemBlock("PRIVATE KEY", key)),
	}}}, nil
}

// withoutValidator makes bundles those of Envoy's own validator, as a SPIRE agent does when it is asked to.
func (a *agent) withoutValidator(secret *tlsv3.Secret) error {
	context := secret.GetValidationContext()
	if context == nil {
		return nil
	}
	bundles := &tlsv3.SPIFFECertValidatorConfig{}
	if err := context.CustomValidatorConfig.TypedConfig.UnmarshalTo(bundles); err != nil {
		return err
	}
	if secret.Name == "ALL" {
		return status.Error(codes.Internal, "unable to use \"SPIFFE validator\"")
	}
	context.TrustedCa, context.CustomValidatorConfig = bundles.TrustDomains[0].TrustBundle, nil
	return nil
}

// issue makes an SVID, for Envoy or for a test's own client.
func (a *agent) issue(id string, notAfter time.Time) (tls.Certificate, error) {
	uri, err := url.Parse(id)
	if err != nil {
		return tls.Certificate{}, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), URIs: []*url.URL{uri},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		NotBefore:   time.Now().Add(-time.Minute), NotAfter: notAfter, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.ca, key.Public(), a.caKey)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("issue %s: %w", id, err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func inline(content []byte) *corev3.DataSource {
	return &corev3.DataSource{Specifier: &corev3.DataSource_InlineBytes{InlineBytes: content}}
}

func pemBlock(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}
