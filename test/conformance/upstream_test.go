package conformance

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// counterpart is a TLS server without Envoy, which knows what Envoy as its client did.
type counterpart struct {
	port uint16

	mu     sync.Mutex
	offers []offer
	states []tls.ConnectionState
}

// offer is what a ClientHello offers.
type offer struct {
	Versions  []uint16
	Curves    []tls.CurveID
	Protocols []string
}

// startCounterpart answers one request per connection, and invites its clients to resume their sessions.
func startCounterpart(t *testing.T, certificate tls.Certificate, change func(*tls.Config)) *counterpart {
	t.Helper()
	c := &counterpart{}
	config := &tls.Config{
		Certificates: []tls.Certificate{certificate}, ClientAuth: tls.RequireAnyClientCert, NextProtos: []string{"http/1.1"},
	}
	if change != nil {
		change(config)
	}
	config.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.offers = append(c.offers, offer{hello.SupportedVersions, hello.SupportedCurves, hello.SupportedProtos})
		return nil, nil
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	c.port = uint16(listener.Addr().(*net.TCPAddr).Port)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		c.states = append(c.states, *r.TLS)
		c.mu.Unlock()
		w.Header().Set("Connection", "close")
		fmt.Fprint(w, "ok")
	}), ErrorLog: log.New(io.Discard, "", 0)}
	go server.Serve(tls.NewListener(listener, config))
	t.Cleanup(func() { server.Close() })
	return c
}

// done is what clients have offered and what came of it so far.
func (c *counterpart) done() ([]offer, []tls.ConnectionState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.offers), slices.Clone(c.states)
}

// TestUpstreams: with whom Envoy talks as a client. Each server has an upstream that expects /api, one that expects
// everyone below /ns/prod, and one for the partner's /api.
func TestUpstreams(t *testing.T) {
	t.Parallel()
	ours, theirs := shared.own, shared.partner
	expired := func(c *x509.Certificate) {
		uris(t, own("/api"))(c)
		c.NotAfter = time.Now().Add(-time.Second)
	}
	stranger, err := newAuthority("stranger")
	must(t, err)
	const (
		notListed = "verify_cert_failed:_SAN_match"
		wrongRoot = "unable_to_get_local_issuer_certificate"
		noDomain  = "no_trust_bundle_store" // an upstream has only the bundles of its peers' domains
		version   = "TLSV1_ALERT_PROTOCOL_VERSION"
		curve     = "SSLV3_ALERT_HANDSHAKE_FAILURE"
	)
	lists := []string{"/api", "/ns/prod/*", partner("/api")}
	tests := []struct {
		name        string
		certificate tls.Certificate
		change      func(*tls.Config)
		talks       string // the list that lets it be talked to
		reason      string // of all other refusals by upstreams that know the ID's domain
	}{
		{"the peer", ours.svid(t, "/api"), nil, "/api", notListed},
		{"a name that begins alike", ours.svid(t, "/api-evil"), nil, "", notListed},
		{"a name below", ours.svid(t, "/api/evil"), nil, "", notListed},
		{"below the prefix", ours.svid(t, "/ns/prod/a"), nil, "/ns/prod/*", notListed},
		{"the prefix itself", ours.svid(t, "/ns/prod"), nil, "", notListed},
		{"a prefix that begins alike", ours.svid(t, "/ns/prod-evil/a"), nil, "", notListed},
		{"the partner's peer", theirs.svid(t, "/api"), nil, partner("/api"), notListed},
		{"our ID, signed by the partner", theirs.root.sign(t, uris(t, own("/api"))), nil, "", wrongRoot},
		{"our ID, signed by a stranger", stranger.sign(t, uris(t, own("/api"))), nil, "", wrongRoot},
		{"the partner's ID, signed by us", ours.root.sign(t, uris(t, partner("/api"))), nil, "", wrongRoot},
		{"our ID, expired", ours.root.sign(t, expired), nil, "", "certificate_has_expired"},
		{"only TLS 1.2", ours.svid(t, "/api"), func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }, "", version},
		{"only P-384", ours.svid(t, "/api"), func(c *tls.Config) { c.CurvePreferences = []tls.CurveID{tls.CurveP384} }, "", curve},
	}
	var p ir.Proxy
	servers := make([]*counterpart, len(tests))
	listen := make([]map[string]uint16, len(tests))
	for i, test := range tests {
		servers[i], listen[i] = startCounterpart(t, test.certificate, test.change), map[string]uint16{}
		for _, list := range lists {
			listen[i][list] = port(t)
			p.Upstreams = append(p.Upstreams, ir.Upstream{
				Listen: listen[i][list], Address: address(t, servers[i].port), Peers: peers(t, list),
			})
		}
	}
	x := startProxy(t, "/caller", p)
	for i, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for _, list := range lists {
				want := "upstream connect error or disconnect/reset before headers. " +
					"retried and the latest reset reason: remote connection failure"
				if list == test.talks {
					want = "ok"
				}
				if got := ask(t, listen[i][list]); got != want {
					t.Errorf("peers %s: got %q, want %q", list, got, want)
				}
			}
			for _, list := range lists {
				event := x.event(t, map[string]string{"listener": fmt.Sprintf("upstream_%d", listen[i][list])})
				reason := test.reason
				leaf, err := x509.ParseCertificate(test.certificate.Certificate[0])
				must(t, err)
				if spoken := test.change == nil; spoken && (leaf.URIs[0].Host == "example.org") == (list == partner("/api")) {
					reason = noDomain
				}
				if list != test.talks && !strings.Contains(fmt.Sprint(event["reason"]), reason) {
					t.Errorf("peers %s: expected the log of a refusal because of %s, got %v", list, reason, event)
				}
			}
			reached := 0
			if test.talks != "" {
				reached = 1
			}
			if _, states := servers[i].done(); len(states) != reached {
				t.Errorf("%d requests reached the server, want %d", len(states), reached)
			}
		})
	}
}

// TestClientsHandshake: what Envoy offers a server, and that it resumes no session although invited to.
func TestClientsHandshake(t *testing.T) {
	t.Parallel()
	all := startCounterpart(t, shared.own.svid(t, "/api"), nil)
	classic := startCounterpart(t, shared.own.svid(t, "/api"), func(c *tls.Config) {
		c.CurvePreferences = []tls.CurveID{tls.X25519}
	})
	p := ir.Proxy{Upstreams: []ir.Upstream{
		{Listen: port(t), Address: address(t, all.port), Peers: peers(t, "/api")},
		{Listen: port(t), Address: address(t, classic.port), Peers: peers(t, "/api")},
	}}
	startProxy(t, "/caller", p)
	for range 3 {
		for _, up := range p.Upstreams {
			if answer := ask(t, up.Listen); answer != "ok" {
				t.Fatalf("expected to reach the server, got %q", answer)
			}
		}
	}
	want := offer{[]uint16{tls.VersionTLS13}, []tls.CurveID{tls.X25519MLKEM768, tls.X25519, tls.CurveP256}, []string{"http/1.1"}}
	for _, test := range []struct {
		server *counterpart
		curve  tls.CurveID
	}{{all, tls.X25519MLKEM768}, {classic, tls.X25519}} {
		offers, states := test.server.done()
		if diff := cmp.Diff([]offer{want, want, want}, offers); diff != "" {
			t.Errorf("offered (-want +got):\n%s", diff)
		}
		for i, state := range states {
			if state.CurveID != test.curve || state.DidResume {
				t.Errorf("connection %d: curve %s, resumed %t, want %s and false", i+1, state.CurveID, state.DidResume, test.curve)
			}
			if diff := cmp.Diff([]string{own("/caller")}, ids(state.PeerCertificates[0])); diff != "" {
				t.Errorf("connection %d: the caller's ID (-want +got):\n%s", i+1, diff)
			}
		}
	}
}

// ask is the app's request on a port of its Envoy. It returns the body, or the error.
func ask(t *testing.T, port uint16) string {
	t.Helper()
	connection, err := net.Dial("tcp", local(port))
	must(t, err)
	defer connection.Close()
	must(t, connection.SetDeadline(time.Now().Add(5*time.Second)))
	_, err = io.WriteString(connection, "GET / HTTP/1.1\r\nHost: api.test\r\nConnection: close\r\n\r\n")
	must(t, err)
	response, err := http.ReadResponse(bufio.NewReader(connection), nil)
	if err != nil {
		return err.Error()
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	must(t, err)
	return string(body)
}
