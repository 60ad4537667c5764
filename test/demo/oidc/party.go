package oidc

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"

	"github.com/spire-injector/spire-injector/test/demo/scene"
)

// party is one that relies on tokens: it has an OIDC library, the issuer's name, and an authority of the public web.
type party struct {
	client *http.Client
	close  func()
}

// forwardCommand makes the provider reachable from here.
func forwardCommand() scene.Command {
	return scene.In(namespace, "port-forward", "svc/"+provider, "443")
}

// newParty returns one that finds the issuer's host behind a forwarded port, and nothing else.
func newParty(ctx context.Context, s scene.Scene, authority []byte) (party, error) {
	address, end, err := s.Forward(ctx, namespace, "svc/"+provider, "443")
	if err != nil {
		return party{}, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority)
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, address)
		},
	}
	// It keeps its connection: kubectl port-forward may end when one is closed.
	client := &http.Client{Transport: transport, Timeout: 10 * time.Second}
	return party{client, func() { client.CloseIdleConnections(); end() }}, nil
}

// get returns what is at a path of the issuer.
func (p party) get(ctx context.Context, path string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, issuer+path, http.NoBody)
	if err != nil {
		return nil, err
	}
	response, err := p.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = &scene.Mismatch{What: issuer + path, Expected: "200", Got: response.Status + " " + string(body)}
	}
	return body, err
}

// verify discovers the issuer's keys and returns whom the token is about, or why it is not good.
func (p party) verify(ctx context.Context, token, audience string) (subject string, err error) {
	ctx = oidc.ClientContext(ctx, p.client)
	discovered, err := oidc.NewProvider(ctx, issuer)
	if err != nil {
		return "", err
	}
	// SPIRE signs with ES256.
	verified, err := discovered.VerifierContext(ctx, &oidc.Config{ClientID: audience, SupportedSigningAlgs: []string{oidc.ES256}}).Verify(ctx, token)
	if err != nil {
		return "", err
	}
	return verified.Subject, nil
}
