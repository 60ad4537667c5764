package authorization

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/spire-injector/spire-injector/test/standalone"
)

const (
	domain = "example.org"
	// injectorPath and adminPath are those of IDs that the server's configuration makes admins; the policy knows the
	// first.
	injectorPath = "/ns/spire-injector/sa/spire-injector"
	adminPath    = "/admin-by-configuration"
)

// server is a SPIRE server with the admins of its configuration.
type server struct {
	*standalone.Server
	dir string
}

// plain returns a server with SPIRE's own policy.
func plain(t *testing.T) server {
	t.Helper()
	return awaited(t, startServer(t, nil))
}

// narrowed returns a server with the policy of the manifests, and their data after change has been at it.
func narrowed(t *testing.T, change func(*policyData)) server {
	t.Helper()
	return awaited(t, startServer(t, policyFiles(t, marshal(t, shippedData(t, change)))))
}

// policyFiles is the part of the server's configuration that turns on the shipped policy with this data.
func policyFiles(t *testing.T, data []byte) standalone.Object {
	t.Helper()
	file := filepath.Join(t.TempDir(), "policy-data.json")
	must(t, os.WriteFile(file, data, 0o600))
	return standalone.Object{"auth_opa_policy_engine": standalone.Object{"local": standalone.Object{
		"rego_path": manifest("spire/base/policy.rego"), "policy_data_path": file,
	}}}
}

func startServer(t *testing.T, experimental standalone.Object) server {
	t.Helper()
	dir, err := os.MkdirTemp("", "authorization-") // t.TempDir of a test with a long name is too long for sockets
	must(t, err)
	s := server{dir: dir}
	t.Cleanup(func() {
		if s.Server != nil {
			s.Stop()
		}
		_ = os.RemoveAll(dir)
	})
	port, err := shared.ports.Free(t.Context())
	must(t, err)
	s.Server, err = standalone.StartServer(filepath.Join(dir, "server"), shared.programs.SPIREServer, standalone.ServerConfig{
		Domain: domain, Port: port, AdminIDs: []string{spiffeID(injectorPath), spiffeID(adminPath)}, Experimental: experimental,
	})
	must(t, err)
	return s
}

func awaited(t *testing.T, s server) server {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := s.Wait(ctx); err != nil {
		t.Fatalf("%v\n%s", err, s.Out)
	}
	return s
}

func spiffeID(path string) string { return fmt.Sprintf("spiffe://%s%s", domain, path) }

// as is a connection of the holder of an SVID, which the server mints.
func (s server) as(t *testing.T, path string) *grpc.ClientConn {
	t.Helper()
	svid, err := s.Mint(t.Context(), spiffeid.RequireFromString(spiffeID(path)).Path(), time.Hour)
	must(t, err)
	return s.showing(t, svid)
}

// showing is a connection over TLS of a caller with these certificates. Whom it calls is not its concern.
func (s server) showing(t *testing.T, certificates ...tls.Certificate) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(fmt.Sprintf("127.0.0.1:%d", s.Port), grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{
		Certificates: certificates, InsecureSkipVerify: true, //nolint:gosec // see above
	})))
	must(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// policyData is policy-data.json.
type policyData struct {
	Injectors []*policyInjector `json:"injectors"`
}

type policyInjector struct {
	SPIFFEID      string   `json:"spiffe_id"`
	Cluster       string   `json:"cluster"`
	NodeSelectors []string `json:"node_selectors"`
	Paths         []string `json:"paths"`
	Except        []string `json:"except"`
	Admin         []string `json:"admin"`
	Downstream    []string `json:"downstream"`
	StoreSVID     []string `json:"store_svid"`
	Federation    []string `json:"federation"`
}

// shippedData is the data of the manifests, after change, if there is one.
func shippedData(t *testing.T, change func(*policyData)) policyData {
	t.Helper()
	raw, err := os.ReadFile(manifest("spire/base/policy-data.json"))
	must(t, err)
	var data policyData
	must(t, json.Unmarshal(raw, &data))
	if change != nil {
		change(&data)
	}
	return data
}

func marshal(t *testing.T, value any) []byte {
	t.Helper()
	raw, err := json.Marshal(value)
	must(t, err)
	return raw
}
