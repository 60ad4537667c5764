package conformance

import (
	"context"
	"crypto/tls"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/spire-injector/spire-injector/test/standalone"
)

// ports are those of the tests: none is given out twice.
var ports standalone.Ports

// server is a SPIRE server with a trust domain of its own, and the authority that it signs with.
type server struct {
	*standalone.Server
	root *authority
}

// startServer does not wait until the server answers.
func startServer(ctx context.Context, dir, program, domain string) (*server, error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	root, err := newAuthority(domain)
	if err != nil {
		return nil, err
	}
	certificate, key, err := root.write(dir)
	if err != nil {
		return nil, err
	}
	port, err := ports.Free(ctx)
	if err != nil {
		return nil, err
	}
	s, err := standalone.StartServer(filepath.Join(dir, "data"), program, standalone.ServerConfig{
		Domain: domain, Port: port, Certificate: certificate, Key: key,
	})
	return &server{Server: s, root: root}, err
}

// mint returns an SVID that the server has made for whoever asks on its private socket.
func (s *server) mint(t *testing.T, path string, life time.Duration) tls.Certificate {
	t.Helper()
	certificate, err := s.Mint(t.Context(), path, life)
	must(t, err)
	return certificate
}

// svid mints one for an hour.
func (s *server) svid(t *testing.T, path string) tls.Certificate {
	t.Helper()
	return s.mint(t, path, time.Hour)
}
