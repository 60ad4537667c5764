package envoy

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/spire-injector/spire-injector/templates"
	"github.com/spire-injector/spire-injector/templates/ir"
	"github.com/spire-injector/spire-injector/test/netns"
)

// backend is a peer without Envoy at an address of its own, that counts requests and connections.
type backend struct {
	address               netip.Addr
	server                *http.Server
	requests, connections atomic.Int64
	header                atomic.Pointer[http.Header] // of the last request
}

// startBackend serves HTTP/1.1 and HTTP/2 over TLS.
func startBackend(t *testing.T, a *agent, path, ip string, port uint16) *backend {
	t.Helper()
	b := &backend{address: netip.MustParseAddr(ip)}
	b.server = &http.Server{
		Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			b.requests.Add(1)
			b.header.Store(&r.Header)
		}),
		TLSConfig: tlsConfig(t, a, id(path).String()),
		ConnState: func(_ net.Conn, state http.ConnState) {
			if state == http.StateNew {
				b.connections.Add(1)
			}
		},
	}
	b.server.TLSConfig.ClientAuth = tls.RequireAnyClientCert
	b.server.TLSConfig.NextProtos = []string{"h2", "http/1.1"}
	listener, err := tls.Listen("tcp", netip.AddrPortFrom(b.address, port).String(), b.server.TLSConfig)
	must(t, err)
	go func() { _ = b.server.Serve(listener) }()
	t.Cleanup(func() { b.server.Close() })
	return b
}

// client is a caller's Envoy with one upstream to the name of these backends.
type client struct {
	*proxy
	url    string
	listen uint16
}

func startClient(t *testing.T, a *agent, dns *dnsServer, up ir.Upstream) client {
	t.Helper()
	up.Listen = freePort(t)
	p := ir.Proxy{ID: id("/web"), SVIDTTL: time.Minute, AgentSocket: a.socket, Upstreams: []ir.Upstream{up}}
	c := client{startProxy(t, p, dns.use(t)), fmt.Sprintf("http://127.0.0.1:%d/", up.Listen), up.Listen}
	c.waitReady()
	return c
}

// TestGRPCIsSpreadByRequest: one connection of the app, all addresses of the name.
func TestGRPCIsSpreadByRequest(t *testing.T) {
	t.Parallel()
	agent, port := startAgent(t, "/web"), freePort(t)
	var all []*backend
	for _, ip := range []string{"127.1.0.1", "127.1.0.2", "127.1.0.3"} {
		all = append(all, startBackend(t, agent, "/api", ip, port))
	}
	dns := startDNS(t)
	dns.set(all...)
	c := startClient(t, agent, dns, ir.Upstream{Address: named(t, port), Peers: peers(t, "/api"), Protocol: ir.GRPC})
	transport := &http.Transport{Protocols: new(http.Protocols)}
	transport.Protocols.SetUnencryptedHTTP2(true)
	caller := &http.Client{Timeout: 5 * time.Second, Transport: transport}
	eventually(t, 10*time.Second, "the first answer", answers(caller, c.url, 200))
	for _, b := range all {
		b.requests.Store(0)
	}
	const each = 20
	for range each * len(all) {
		expect(t, caller, c.url, 200, "")
	}
	for _, b := range all {
		if got := b.requests.Load(); got < each/2 {
			t.Errorf("%s got %d requests of %d", b.address, got, each*len(all))
		}
	}
}

// TestUpstreamFollowsDNS: all addresses of the name change, and later the name is away for a while.
func TestUpstreamFollowsDNS(t *testing.T) {
	t.Parallel()
	agent, port := startAgent(t, "/web"), freePort(t)
	before := []*backend{startBackend(t, agent, "/api", "127.1.1.1", port), startBackend(t, agent, "/api", "127.1.1.2", port)}
	dns := startDNS(t)
	dns.set(before...)
	c := startClient(t, agent, dns, ir.Upstream{Address: named(t, port), Peers: peers(t, "/api")})
	caller := &http.Client{Timeout: 5 * time.Second}
	eventually(t, 10*time.Second, "the first answer", answers(caller, c.url, 200))

	after := startBackend(t, agent, "/api", "127.1.1.3", port)
	for _, b := range before {
		must(t, b.server.Close())
	}
	dns.set()
	eventually(t, 10*time.Second, "a failure", answers(caller, c.url, 503))
	dns.set(after)
	t.Logf("back after %s", eventually(t, 10*time.Second, "the new address", answers(caller, c.url, 200)))
	if after.requests.Load() == 0 {
		t.Error("the new peer has seen nothing")
	}
}

// TestConnectionsToPeersEndByThemselves: with a drain time none is kept for longer than a third of it, and no request
// is lost when one ends.
func TestConnectionsToPeersEndByThemselves(t *testing.T) {
	t.Parallel()
	agent, port := startAgent(t, "/web"), freePort(t)
	b := startBackend(t, agent, "/api", "127.1.2.1", port)
	p := ir.Proxy{ID: id("/web"), SVIDTTL: time.Minute, AgentSocket: agent.socket, Drain: 600 * time.Millisecond,
		Upstreams: []ir.Upstream{
			{Listen: freePort(t), Address: parsed(t, netip.AddrPortFrom(b.address, port).String()), Peers: peers(t, "/api")},
		}}
	x := startProxy(t, p)
	x.waitReady()
	for range 200 {
		expect(t, http.DefaultClient, fmt.Sprintf("http://127.0.0.1:%d/", p.Upstreams[0].Listen), 200, "")
		time.Sleep(10 * time.Millisecond)
	}
	if got := b.connections.Load(); got < 5 {
		t.Errorf("2 s of requests used %d connections, want one each 200 ms", got)
	}
}

// TestAppChoosesNoCluster: the header by which a port leads to its upstream is not the app's to set, and nobody sees
// it.
func TestAppChoosesNoCluster(t *testing.T) {
	t.Parallel()
	agent, port := startAgent(t, "/web"), freePort(t)
	one, other := startBackend(t, agent, "/one", "127.1.3.1", port), startBackend(t, agent, "/other", "127.1.3.2", port)
	p := ir.Proxy{ID: id("/web"), SVIDTTL: time.Minute, AgentSocket: agent.socket, Upstreams: []ir.Upstream{
		{Listen: freePort(t), Address: parsed(t, netip.AddrPortFrom(one.address, port).String()), Peers: peers(t, "/one")},
		{Listen: freePort(t), Address: parsed(t, netip.AddrPortFrom(other.address, port).String()), Peers: peers(t, "/other")},
	}}
	x := startProxy(t, p)
	x.waitReady()
	request, err := http.NewRequest(http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d/", p.Upstreams[0].Listen), nil)
	must(t, err)
	request.Header.Set("X-Spire-Injector-Cluster", fmt.Sprintf("upstream_%d", p.Upstreams[1].Listen))
	response, err := http.DefaultClient.Do(request)
	must(t, err)
	response.Body.Close()
	if one.requests.Load() != 1 || other.requests.Load() != 0 {
		t.Errorf("%s: %d requests to the port's upstream, %d to the other", response.Status, one.requests.Load(), other.requests.Load())
	}
	if got := one.header.Load().Values("X-Spire-Injector-Cluster"); len(got) > 0 {
		t.Errorf("the peer saw %q", got)
	}
	expect(t, http.DefaultClient, fmt.Sprintf("http://127.0.0.1:%d/", p.Upstreams[1].Listen), 200, "")
	x.waitEvent("upstream_request", map[string]string{
		"listener": fmt.Sprintf("upstream_%d", p.Upstreams[1].Listen), "peer": "spiffe://example.org/other", "self": "spiffe://example.org/web",
	})
}

// backendName is looked up only at the test's own DNS server.
const backendName = "api.test"

func named(t *testing.T, port uint16) ir.Address {
	t.Helper()
	return parsed(t, fmt.Sprintf("%s:%d", backendName, port))
}

func parsed(t *testing.T, text string) ir.Address {
	t.Helper()
	out, err := ir.ParseAddress(text)
	must(t, err)
	return out
}

// dnsServer answers every question for an IPv4 address with those that it has been given, in turn.
type dnsServer struct {
	port  uint16
	mu    sync.Mutex
	ips   []netip.Addr
	ttls  map[string]byte // by name, in seconds; one second for others
	asked map[string]int  // questions for IPv4 addresses by name, without the final dot
}

func startDNS(t *testing.T) *dnsServer {
	t.Helper()
	return startDNSIn(t, nil)
}

// startDNSIn answers in a network, if one is given.
func startDNSIn(t *testing.T, n *netns.Network) *dnsServer {
	t.Helper()
	var connection net.PacketConn
	listen := func() (err error) {
		connection, err = net.ListenPacket("udp4", "127.0.0.1:0")
		return err
	}
	if n == nil {
		must(t, listen())
	} else {
		must(t, n.Do(listen))
	}
	t.Cleanup(func() { connection.Close() })
	d := &dnsServer{
		port: uint16(connection.LocalAddr().(*net.UDPAddr).Port), ttls: map[string]byte{}, asked: map[string]int{},
	}
	go func() {
		question := make([]byte, 512)
		for {
			n, from, err := connection.ReadFrom(question)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil {
				_, _ = connection.WriteTo(d.answer(question[:n]), from)
			}
		}
	}()
	return d
}

// set changes what the name means; nothing means that there is no such name.
func (d *dnsServer) set(all ...*backend) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ips = nil
	for _, b := range all {
		d.ips = append(d.ips, b.address)
	}
}

// answer is laid out as in RFC 1035, section 4: a header of 12 bytes, the question, and records that refer to its name.
func (d *dnsServer) answer(question []byte) []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	end := 12 + slices.Index(question[12:], 0) + 1
	isIPv4 := slices.Equal(question[end:end+2], []byte{0, 1})
	records := d.ips
	var labels []string
	for rest := question[12 : end-1]; len(rest) > 0; rest = rest[1+rest[0]:] {
		labels = append(labels, string(rest[1:1+rest[0]]))
	}
	name, ttl := strings.Join(labels, "."), byte(1)
	if d.ttls[name] > 0 {
		ttl = d.ttls[name]
	}
	if isIPv4 {
		d.asked[name]++
	} else {
		records = nil
	}
	answer := append([]byte{}, question[:end+4]...)
	answer[2], answer[3] = 0x84, 0 // an authoritative answer
	if len(d.ips) == 0 {
		answer[3] = 3 // no such name
	}
	copy(answer[4:12], []byte{0, 1, 0, byte(len(records)), 0, 0, 0, 0})
	for _, ip := range records {
		answer = append(answer, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, ttl, 0, 4)
		answer = append(answer, ip.AsSlice()...)
	}
	return answer
}

// use makes an Envoy that is about to start ask this server.
func (d *dnsServer) use(t *testing.T) func(dir string) {
	return func(dir string) {
		bootstrap := readJSON(t, dir, templates.BootstrapFile)
		bootstrap["typed_dns_resolver_config"] = map[string]any{
			"name": "cares",
			"typed_config": map[string]any{
				"@type":                "type.googleapis.com/envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig",
				"resolvers":            []any{map[string]any{"socket_address": map[string]any{"address": "127.0.0.1", "port_value": d.port}}},
				"dns_resolver_options": map[string]any{"no_default_search_domain": true},
			},
		}
		raw, err := json.Marshal(bootstrap)
		must(t, err)
		must(t, os.WriteFile(filepath.Join(dir, templates.BootstrapFile), raw, 0o644))
	}
}
