package standalone

import (
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	bundlev1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/bundle/v1"
	svidv1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/svid/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// ServerConfig is what differs between servers.
type ServerConfig struct {
	Domain string // its trust domain
	Port   uint16 // where it listens, on loopback
	// Certificate and Key are files of an authority that signs the server's own; without them it signs itself.
	Certificate, Key string
	AdminIDs         []string
	Federation       Object // that block; none without it
	Experimental     Object // further settings of that block
	PublicRoots      string // file of the authorities of the public web that it knows; those of the system without it
	LogLevel         string // INFO without it
	NodeAttestor     Object // a plugin, by its name, beside the one of join tokens
	MetricsPort      uint16 // where its metrics are, on loopback; none without it
}

// Server is a SPIRE server.
type Server struct {
	Domain spiffeid.TrustDomain
	Port   uint16
	*Process
	Socket string           // its private one, where every caller is trusted
	API    *grpc.ClientConn // by that socket
}

// StartServer makes dir for what the server keeps. It does not wait until the server answers; see [Server.Wait].
func StartServer(dir, program string, c ServerConfig) (*Server, error) {
	s := &Server{Port: c.Port}
	var err error
	if s.Domain, err = spiffeid.TrustDomainFromString(c.Domain); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	s.Socket = filepath.Join(dir, "api.sock")
	config, err := writeConfig(dir, c.config(dir, s.Socket))
	if err != nil {
		return nil, err
	}
	var variables []string
	if c.PublicRoots != "" {
		variables = append(variables, "SSL_CERT_FILE="+c.PublicRoots)
	}
	if s.Process, err = StartWith(variables, program, "run", "-config", config); err != nil {
		return nil, err
	}
	s.API, err = grpc.NewClient("unix://"+s.Socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	return s, err
}

func (c ServerConfig) config(dir, socket string) Object {
	experimental := Object{"cache_reload_interval": "1s"}
	maps.Copy(experimental, c.Experimental)
	plugins := Object{
		"DataStore":    plugin("sql", Object{"database_type": "sqlite3", "connection_string": filepath.Join(dir, "datastore.sqlite3")}),
		"KeyManager":   plugin("memory", Object{}),
		"NodeAttestor": plugin("join_token", Object{}),
	}
	if c.Certificate != "" {
		plugins["UpstreamAuthority"] = plugin("disk", Object{"cert_file_path": c.Certificate, "key_file_path": c.Key})
	}
	if c.NodeAttestor != nil {
		plugins["NodeAttestor"] = append(plugin("join_token", Object{}), c.NodeAttestor)
	}
	server := Object{
		"trust_domain": c.Domain, "bind_address": "127.0.0.1", "bind_port": c.Port, "socket_path": socket, "data_dir": dir,
		"log_level": cmp.Or(c.LogLevel, "INFO"), "experimental": experimental,
	}
	if len(c.AdminIDs) > 0 {
		server["admin_ids"] = c.AdminIDs
	}
	if c.Federation != nil {
		server["federation"] = c.Federation
	}
	config := Object{"server": server, "plugins": plugins}
	if c.MetricsPort != 0 {
		config["telemetry"] = Object{"Prometheus": Object{"host": "127.0.0.1", "port": c.MetricsPort}}
	}
	return config
}

// Wait returns when the server answers.
func (s *Server) Wait(ctx context.Context) error {
	for {
		_, err := bundlev1.NewBundleClient(s.API).GetBundle(ctx, &bundlev1.GetBundleRequest{}, grpc.WaitForReady(false))
		switch {
		case err == nil:
			return nil
		case !s.Running() || ctx.Err() != nil:
			return fmt.Errorf("SPIRE server of %s: expected it to answer on its socket: %w", s.Domain, err)
		}
		time.Sleep(20 * time.Millisecond)
		s.API.ResetConnectBackoff()
	}
}

// Stop ends the server.
func (s *Server) Stop() {
	if s.API != nil {
		_ = s.API.Close()
	}
	s.Process.Stop()
}

// Mint returns an SVID that the server makes for whoever asks on its private socket; path is that of its SPIFFE ID, names
// are its DNS names.
func (s *Server) Mint(ctx context.Context, path string, life time.Duration, names ...string) (tls.Certificate, error) {
	id, err := spiffeid.FromPath(s.Domain, path)
	if err != nil {
		return tls.Certificate{}, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		URIs: []*url.URL{id.URL()}, DNSNames: names,
	}, key)
	if err != nil {
		return tls.Certificate{}, err
	}
	request := &svidv1.MintX509SVIDRequest{Csr: csr, Ttl: int32(life / time.Second)} //nolint:gosec // lives are short
	response, err := svidv1.NewSVIDClient(s.API).MintX509SVID(ctx, request)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: response.Svid.CertChain, PrivateKey: key}, nil
}

// Roots are the authorities of the server's trust domain.
func (s *Server) Roots(ctx context.Context) ([]*x509.Certificate, error) {
	bundle, err := bundlev1.NewBundleClient(s.API).GetBundle(ctx, &bundlev1.GetBundleRequest{})
	if err != nil {
		return nil, err
	}
	var roots []*x509.Certificate
	var errs []error
	for _, authority := range bundle.X509Authorities {
		root, err := x509.ParseCertificate(authority.Asn1)
		roots, errs = append(roots, root), append(errs, err)
	}
	return roots, errors.Join(errs...)
}
