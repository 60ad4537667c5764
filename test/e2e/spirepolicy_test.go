package e2e

import (
	"context"
	"crypto/tls"
	"strings"
	"testing"
	"time"

	agentv1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/agent/v1"
	entryv1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/entry/v1"
	"github.com/spiffe/spire-api-sdk/proto/spire/api/types"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"github.com/spire-injector/spire-injector/test/install"
)

// The running server has its authorization policy in force: with the injector's SVID one can read entries, and neither
// make an admin nor let an agent join. What else it may and may not do is tested without a cluster, in
// test/authorization.
func TestSPIREsPolicyIsInForce(t *testing.T) {
	t.Parallel()
	svid, err := install.Server(t.Context(), shared.k, "x509", "mint", "-spiffeID", "spiffe://example.org/ns/spire-injector/sa/spire-injector", "-ttl", "10m")
	must(t, err)
	certificate, err := tls.X509KeyPair([]byte(svid), []byte(svid)) // which looks for what it wants in all that is printed
	must(t, err)
	conn, err := grpc.NewClient(forwardTo(t, "spire", "service/spire-server", 8081), grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{
		Certificates: []tls.Certificate{certificate}, InsecureSkipVerify: true, //nolint:gosec // whom it calls is not its concern
	})))
	must(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()

	entry := entryv1.NewEntryClient(conn)
	if _, err := entry.ListEntries(ctx, &entryv1.ListEntriesRequest{PageSize: 1}, grpc.WaitForReady(true)); err != nil {
		t.Errorf("list entries: %v", err)
	}
	_, err = entry.BatchCreateEntry(ctx, &entryv1.BatchCreateEntryRequest{Entries: []*types.Entry{{
		Id:        "spire-injector.demo-cluster.aaaaaaaaaaaaaaaaaaaaaaaaaa",
		SpiffeId:  &types.SPIFFEID{TrustDomain: "example.org", Path: "/policy"},
		ParentId:  &types.SPIFFEID{TrustDomain: "example.org", Path: aliasPath("/policy")},
		Selectors: []*types.Selector{{Type: "k8s", Value: "ns:no-such-namespace"}},
		Admin:     true,
		ExpiresAt: time.Now().Add(time.Minute).Unix(),
	}}})
	wantDenied(t, "create an admin", err)
	_, err = agentv1.NewAgentClient(conn).CreateJoinToken(ctx, &agentv1.CreateJoinTokenRequest{Ttl: 1})
	wantDenied(t, "make a join token", err)
}

func wantDenied(t *testing.T, what string, err error) {
	t.Helper()
	if status.Code(err) != codes.PermissionDenied || !strings.Contains(err.Error(), "authorization denied for method") {
		t.Errorf("%s: expected a denial of SPIRE's, got: %v", what, err)
	}
}
