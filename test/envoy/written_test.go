package envoy

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spire-injector/spire-injector/templates"
	"github.com/spire-injector/spire-injector/templates/ir"
)

// trailerMark is what the mirror's answer has before the name of a trailer.
const trailerMark = "trailer "

// startMirror is an app that answers with the headers and trailers that it got.
func startMirror(t *testing.T) uint16 {
	t.Helper()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		for name, values := range r.Trailer {
			r.Header[trailerMark+name] = values
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(r.Header)
	}))
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetHTTP1(true)
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	server.Start()
	t.Cleanup(server.Close)
	return uint16(server.Listener.Addr().(*net.TCPAddr).Port)
}

// entrance is a port by which requests reach the app, and how to connect to it.
type entrance struct {
	name   string
	dial   func() (net.Conn, error)
	path   string
	public bool // refuses underscores
}

// entrances has every kind of port of a pod, and a gateway and a calling sidecar in front of it.
func entrances(t *testing.T) []entrance {
	t.Helper()
	agent, app := startAgent(t, "/api", "/edge", "/web"), startMirror(t)
	listen := func(change func(*ir.Inbound)) ir.Inbound {
		in := ir.Inbound{Listen: freePort(t), App: app, Peers: peers(t, "/edge", "/web")}
		change(&in)
		return in
	}
	api := ir.Proxy{ID: id("/api"), SVIDTTL: time.Hour, AgentSocket: agent.socket, Inbound: []ir.Inbound{
		listen(func(*ir.Inbound) {}),
		listen(func(in *ir.Inbound) { in.TLS = ir.Permissive }),
		listen(func(in *ir.Inbound) { in.TLS, in.Peers = ir.None, nil }),
		listen(func(in *ir.Inbound) { in.Clients = ir.Request }),
		listen(func(in *ir.Inbound) { in.Clients, in.Peers = ir.NoRequest, nil }),
		listen(func(in *ir.Inbound) { in.Forwarded = peers(t, "/web") }),
	}, Probes: []ir.Probe{{Listen: freePort(t), Path: "/probe", App: app, Target: "/"}}}
	startProxy(t, api).waitReady()
	edge := ir.Proxy{ID: id("/edge"), SVIDTTL: time.Hour, AgentSocket: agent.socket, Gateway: true,
		Inbound: []ir.Inbound{
			{Listen: freePort(t), Peers: peers(t, "/web")}, {Listen: freePort(t), TLS: ir.Permissive, Peers: peers(t, "/web")},
		},
		Upstreams: []ir.Upstream{
			{Match: match(t, "/"), Address: address(t, api.Inbound[0].Listen), Peers: peers(t, "/api")},
			{Match: match(t, "/forwarded"), Address: address(t, api.Inbound[5].Listen), Peers: peers(t, "/api"), Protocol: ir.HTTP2},
		},
	}
	web := ir.Proxy{ID: id("/web"), SVIDTTL: time.Hour, AgentSocket: agent.socket, Upstreams: []ir.Upstream{
		{Listen: freePort(t), Address: address(t, api.Inbound[0].Listen), Peers: peers(t, "/api"), Protocol: ir.HTTP2},
	}}
	startProxy(t, edge).waitReady()
	startProxy(t, web).waitReady()

	plain := func(port uint16) func() (net.Conn, error) {
		return func() (net.Conn, error) { return net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port)) }
	}
	mutual := func(port uint16) func() (net.Conn, error) {
		config := tlsConfig(t, agent, id("/web").String())
		return func() (net.Conn, error) { return tls.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port), config) }
	}
	nobody := func(port uint16) func() (net.Conn, error) {
		return func() (net.Conn, error) {
			return tls.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port), &tls.Config{InsecureSkipVerify: true})
		}
	}
	return []entrance{
		{name: "mutual", dial: mutual(api.Inbound[0].Listen)},
		{name: "permissive, by TLS", dial: mutual(api.Inbound[1].Listen)},
		{name: "permissive, plain", dial: plain(api.Inbound[1].Listen)},
		{name: "tls: none", dial: plain(api.Inbound[2].Listen), public: true},
		{name: "optional, with a certificate", dial: mutual(api.Inbound[3].Listen), public: true},
		{name: "optional, without", dial: nobody(api.Inbound[3].Listen), public: true},
		{name: "no certificate", dial: nobody(api.Inbound[4].Listen), public: true},
		{name: "a probe", dial: plain(api.Probes[0].Listen), path: "probe"},
		{name: "a gateway", dial: mutual(edge.Inbound[0].Listen)},
		{name: "a gateway, plain", dial: plain(edge.Inbound[1].Listen)},
		{name: "a gateway, on behalf", dial: mutual(edge.Inbound[0].Listen), path: "forwarded"},
		{name: "a sidecar", dial: plain(web.Upstreams[0].Listen)},
	}
}

// saw sends a request with these headers, and returns the status and what the app saw, by names in lower case.
func (e entrance) saw(t *testing.T, headers ...string) (int, map[string]string) {
	t.Helper()
	connection, err := e.dial()
	must(t, err)
	defer connection.Close()
	must(t, connection.SetDeadline(time.Now().Add(5*time.Second)))
	_, err = io.WriteString(connection, "GET /"+e.path+" HTTP/1.1\r\nHost: x.org\r\n"+strings.Join(append(headers, ""), "\r\n")+"\r\n")
	must(t, err)
	response, err := http.ReadResponse(bufio.NewReader(connection), nil)
	must(t, err)
	return whatWasSeen(t, response)
}

// whatWasSeen reads the mirror's answer.
func whatWasSeen(t *testing.T, response *http.Response) (int, map[string]string) {
	t.Helper()
	defer response.Body.Close()
	saw := map[string]string{}
	if response.StatusCode == 200 {
		got := http.Header{}
		must(t, json.NewDecoder(response.Body).Decode(&got))
		for name, values := range got {
			saw[strings.ToLower(name)] = strings.Join(values, " and ")
		}
	}
	return response.StatusCode, saw
}

// TestEnvoyWritesWhatIsKnown: each header that the app sees and the caller did not send is in the table of those that
// callers cannot forge.
func TestEnvoyWritesWhatIsKnown(t *testing.T) {
	t.Parallel()
	for _, e := range entrances(t) {
		status, saw := e.saw(t, "X-Sent: x")
		if status != 200 || saw["x-sent"] != "x" {
			t.Errorf("%s: got %d, the app saw %v", e.name, status, saw)
		}
		delete(saw, "x-sent")
		for name := range saw {
			if strings.Contains(name, "-") && !templates.IsWritten(name) {
				t.Errorf("%s: Envoy writes %s, which is not in the table", e.name, name)
			}
		}
		t.Logf("%s: the app saw %v", e.name, saw)
	}
}

// TestNobodyForgesWhatEnvoyWrites: in no spelling that a server may take for the header.
func TestNobodyForgesWhatEnvoyWrites(t *testing.T) {
	t.Parallel()
	names := []string{"x-forwarded-client-cert", "x-spiffe-jwt-subject", "x-forwarded-for", "x-forwarded-proto", "x-request-id"}
	for _, e := range entrances(t) {
		for _, sign := range []string{"_", "."} {
			headers := []string{"X-Forwarded-Client-Cert: forged", "X-Spiffe-Jwt-Subject: forged"}
			for _, name := range names {
				for _, spelling := range spellingsWith(name, sign) {
					headers = append(headers, spelling+": forged")
				}
			}
			status, saw := e.saw(t, headers...)
			if e.public && sign == "_" {
				if status != 400 {
					t.Errorf("%s: got %d to headers with underscores", e.name, status)
				}
				continue
			}
			if status != 200 && e.path != "forwarded" {
				t.Errorf("%s with %q: got %d", e.name, sign, status)
			}
			for name, value := range saw {
				if strings.Contains(value, "forged") {
					t.Errorf("%s: the app saw %s: %s", e.name, name, value)
				}
			}
		}
	}
}

// TestNobodyForgesByTrailers: nor as a trailer, over HTTP/1 and HTTP/2, not even by its own name. Other trailers arrive,
// but at probes, and at public ports over HTTP/1. A public port ends a request of HTTP/2 with underscores in a trailer.
func TestNobodyForgesByTrailers(t *testing.T) {
	t.Parallel()
	for _, e := range entrances(t) {
		for _, sign := range []string{"_", "."} {
			for _, http2 := range []bool{false, true} {
				status, saw, err := e.sawTrailers(t, http2, sign)
				if e.public && http2 && sign == "_" {
					if err == nil {
						t.Errorf("%s: got %d to trailers with underscores", e.name, status)
					}
					continue
				}
				must(t, err)
				arrives := e.path != "probe" && (http2 || !e.public)
				if got := saw[trailerMark+"x-sum"]; e.path != "forwarded" && (status != 200 || arrives != (got == "5")) {
					t.Errorf("%s with %q, HTTP/2 %t: got %d and the trailer %q", e.name, sign, http2, status, got)
				}
				for name, value := range saw {
					if strings.Contains(value, "forged") {
						t.Errorf("%s, HTTP/2 %t: the app saw %s: %s", e.name, http2, name, value)
					}
				}
			}
		}
	}
}

// sawTrailers sends forged trailers with this sign, and an honest one, and returns what the app saw.
func (e entrance) sawTrailers(t *testing.T, http2 bool, sign string) (int, map[string]string, error) {
	t.Helper()
	transport := &http.Transport{Protocols: new(http.Protocols), DialContext: func(context.Context, string, string) (net.Conn, error) {
		return e.dial()
	}}
	defer transport.CloseIdleConnections()
	transport.Protocols.SetHTTP1(!http2)
	transport.Protocols.SetUnencryptedHTTP2(http2)
	body := io.NopCloser(strings.NewReader("hello"))
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://x.org/"+e.path, body)
	must(t, err)
	request.Trailer = http.Header{"X-Sum": {"5"}}
	for _, name := range []string{"x-forwarded-client-cert", "x-spiffe-jwt-subject", "x-forwarded-for", "x-forwarded-proto", "x-request-id"} {
		for _, spelling := range append(spellingsWith(name, sign), name) {
			request.Trailer[http.CanonicalHeaderKey(spelling)] = []string{"forged"}
		}
	}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return 0, nil, err
	}
	status, saw := whatWasSeen(t, response)
	return status, saw, nil
}

// spellingsWith are all spellings of a name but its own, with another sign for some of the hyphens.
func spellingsWith(name, sign string) []string {
	out := []string{""}
	for i, word := range strings.Split(name, "-") {
		var longer []string
		for _, prefix := range out {
			if i == 0 {
				longer = append(longer, word)
			} else {
				longer = append(longer, prefix+"-"+word, prefix+sign+word)
			}
		}
		out = longer
	}
	return slices.DeleteFunc(out, func(spelling string) bool { return spelling == name })
}
