package files

import (
	"context"
	"crypto/tls"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"
	entryv1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/entry/v1"
	"github.com/spiffe/spire-api-sdk/proto/spire/api/types"
	"google.golang.org/grpc/codes"

	"github.com/spire-injector/spire-injector/test/cluster/parts"
	"github.com/spire-injector/spire-injector/test/standalone"
)

// startSPIRE starts a server, and an agent that gives an identity to the app's user.
func startSPIRE(t *testing.T, dir string) *standalone.Server {
	t.Helper()
	programs, err := parts.Ensure(t.Context(), userCache(t), parts.ForImages, os.Stderr)
	must(t, err)
	server, err := standalone.StartServer(filepath.Join(dir, "server"), programs.SPIREServer,
		standalone.ServerConfig{Domain: domain.Name(), Port: freePort(t)})
	must(t, err)
	t.Cleanup(server.Stop)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	must(t, server.Wait(ctx))
	token, err := server.JoinToken(ctx)
	must(t, err)
	response, err := entryv1.NewEntryClient(server.API).BatchCreateEntry(ctx, &entryv1.BatchCreateEntryRequest{
		Entries: []*types.Entry{{
			SpiffeId:    &types.SPIFFEID{TrustDomain: domain.Name(), Path: appID.Path()},
			ParentId:    &types.SPIFFEID{TrustDomain: domain.Name(), Path: "/spire/agent/join_token/" + token},
			Selectors:   []*types.Selector{{Type: "unix", Value: fmt.Sprintf("uid:%d", nobody)}},
			X509SvidTtl: int32(svidTTL / time.Second),
		}},
	})
	must(t, err)
	if s := response.Results[0].Status; codes.Code(s.Code) != codes.OK {
		t.Fatal(s.Message)
	}
	agent, err := standalone.StartAgent(ctx, filepath.Join(dir, "agent"), programs.SPIREAgent, server,
		standalone.AgentConfig{Socket: filepath.Join(dir, "agent.sock"), JoinToken: token})
	must(t, err)
	t.Cleanup(agent.Stop)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("SPIRE agent:\n%s", agent.Out)
		}
	})
	return server
}

// ports are those of all tests.
var ports standalone.Ports

func freePort(t *testing.T) uint16 {
	t.Helper()
	port, err := ports.Free(t.Context())
	must(t, err)
	return port
}

// clientConfig is of a caller who accepts the app alone, and presents an SVID of its own.
func clientConfig(t *testing.T, server *standalone.Server) *tls.Config {
	t.Helper()
	config := tlsconfig.TLSClientConfig(bundle(t, server), tlsconfig.AuthorizeID(appID))
	config.Certificates = []tls.Certificate{peerCertificate(t, server)}
	return config
}

// serverConfig is of a server that lets in the app alone. Its certificate has the names.
func serverConfig(t *testing.T, server *standalone.Server, names ...string) *tls.Config {
	t.Helper()
	return &tls.Config{
		Certificates:          []tls.Certificate{peerCertificate(t, server, names...)},
		ClientAuth:            tls.RequireAnyClientCert,
		VerifyPeerCertificate: tlsconfig.VerifyPeerCertificate(bundle(t, server), tlsconfig.AuthorizeID(appID)),
		MinVersion:            tls.VersionTLS12,
	}
}

func peerCertificate(t *testing.T, server *standalone.Server, names ...string) tls.Certificate {
	t.Helper()
	certificate, err := server.Mint(t.Context(), peerID.Path(), time.Hour, names...)
	must(t, err)
	return certificate
}

func bundle(t *testing.T, server *standalone.Server) *x509bundle.Bundle {
	t.Helper()
	roots, err := server.Roots(t.Context())
	must(t, err)
	return x509bundle.FromX509Authorities(domain, roots)
}
