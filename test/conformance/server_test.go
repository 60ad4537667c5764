package conformance

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	bundlev1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/bundle/v1"
	svidv1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/svid/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// server is a SPIRE server with a trust domain of its own.
type server struct {
	domain spiffeid.TrustDomain
	root   *authority
	port   uint16
	*process
	api *grpc.ClientConn // its private socket, where every caller is trusted
}

// startServer does not wait until the server answers; see [server.wait].
func startServer(dir, program, domain string) (*server, error) {
	s := &server{}
	var err error
	if s.domain, err = spiffeid.TrustDomainFromString(domain); err != nil {
		return nil, err
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	if s.root, err = newAuthority(domain); err != nil {
		return nil, err
	}
	certificate, key, err := s.root.write(dir)
	if err != nil {
		return nil, err
	}
	if s.port, err = freePort(); err != nil {
		return nil, err
	}
	socket := filepath.Join(dir, "api.sock")
	config, err := writeConfig(dir, object{
		"server": object{
			"trust_domain": domain, "bind_address": "127.0.0.1", "bind_port": s.port, "socket_path": socket, "data_dir": dir,
			"log_level": "INFO", "experimental": object{"cache_reload_interval": "1s"},
		},
		"plugins": object{
			"DataStore":         plugin("sql", object{"database_type": "sqlite3", "connection_string": filepath.Join(dir, "datastore.sqlite3")}),
			"KeyManager":        plugin("memory", object{}),
			"NodeAttestor":      plugin("join_token", object{}),
			"UpstreamAuthority": plugin("disk", object{"cert_file_path": certificate, "key_file_path": key}),
		},
	})
	if err != nil {
		return nil, err
	}
	if s.process, err = start(program, "run", "-config", config); err != nil {
		return nil, err
	}
	s.api, err = grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	return s, err
}

// wait returns when the server answers.
func (s *server) wait(ctx context.Context) error {
	for {
		_, err := bundlev1.NewBundleClient(s.api).GetBundle(ctx, &bundlev1.GetBundleRequest{}, grpc.WaitForReady(false))
		switch {
		case err == nil:
			return nil
		case !s.running() || ctx.Err() != nil:
			return fmt.Errorf("SPIRE server of %s: expected it to answer on its socket: %w", s.domain, err)
		}
		time.Sleep(20 * time.Millisecond)
		s.api.ResetConnectBackoff()
	}
}

func (s *server) stop() {
	if s.api != nil {
		s.api.Close()
	}
	s.process.stop()
}

// mint returns an SVID that the server has made for whoever asks on its private socket.
func (s *server) mint(t *testing.T, path string, life time.Duration) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	id := spiffeid.RequireFromPath(s.domain, path)
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{URIs: []*url.URL{id.URL()}}, key)
	must(t, err)
	request := &svidv1.MintX509SVIDRequest{Csr: csr, Ttl: int32(life / time.Second)}
	response, err := svidv1.NewSVIDClient(s.api).MintX509SVID(t.Context(), request)
	must(t, err)
	return tls.Certificate{Certificate: response.Svid.CertChain, PrivateKey: key}
}

// svid mints one for an hour.
func (s *server) svid(t *testing.T, path string) tls.Certificate {
	t.Helper()
	return s.mint(t, path, time.Hour)
}

// object is one in a SPIRE program's configuration.
type object map[string]any

func plugin(name string, data object) []object {
	return []object{{name: object{"plugin_data": data}}}
}

func writeConfig(dir string, content object) (path string, err error) {
	raw, err := json.Marshal(content)
	if err != nil {
		return "", err
	}
	path = filepath.Join(dir, "config.json")
	return path, os.WriteFile(path, raw, 0o600)
}
