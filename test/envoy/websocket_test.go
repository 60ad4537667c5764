package envoy

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// TestWebSocketOverHTTP2: whatever the sidecars speak to each other and the app speaks to its own, the calling app's
// upgrade arrives in the form that the app knows, or is answered.
func TestWebSocketOverHTTP2(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		app     uint16
		inbound ir.Protocol
		answer  int
	}{
		{"an HTTP/1 app", startApp(t), ir.HTTP, 101},
		{"an HTTP/2 app that takes them", startConnectApp(t), ir.HTTP2, 101},
		{"an HTTP/2 app that does not", startApp(t), ir.HTTP2, 502},
		{"a gRPC app", startApp(t), ir.GRPC, 403},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			agent := startAgent(t, "/api", "/web", "/edge")
			api := ir.Proxy{ID: id("/api"), SVIDTTL: time.Minute, AgentSocket: agent.socket, Inbound: []ir.Inbound{
				{Listen: freePort(t), App: test.app, Peers: peers(t, "/web", "/edge"), Protocol: test.inbound},
			}}
			startProxy(t, api).waitReady()
			for _, protocol := range []ir.Protocol{ir.HTTP, ir.HTTP2, ir.GRPC} {
				up := ir.Upstream{Address: address(t, api.Inbound[0].Listen), Peers: peers(t, "/api"), Protocol: protocol}
				web := ir.Proxy{ID: id("/web"), SVIDTTL: time.Minute, AgentSocket: agent.socket}
				web.Upstreams = []ir.Upstream{up}
				web.Upstreams[0].Listen = freePort(t)
				edge := ir.Proxy{ID: id("/edge"), SVIDTTL: time.Minute, AgentSocket: agent.socket, Gateway: true,
					Inbound: []ir.Inbound{{Listen: freePort(t), Clients: ir.NoRequest}}}
				edge.Upstreams = []ir.Upstream{up}
				edge.Upstreams[0].Match = match(t, "/")
				startProxy(t, web).waitReady()
				startProxy(t, edge).waitReady()

				plain, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", web.Upstreams[0].Listen))
				must(t, err)
				if got := upgrade(t, plain); got != test.answer {
					t.Errorf("by %s from the sidecar: got %d, want %d", protocol, got, test.answer)
				}
				public := func(alpn string) net.Conn {
					connection, err := tls.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", edge.Inbound[0].Listen),
						&tls.Config{InsecureSkipVerify: true, NextProtos: []string{alpn}})
					must(t, err)
					return connection
				}
				if got := upgrade(t, public("http/1.1")); got != test.answer {
					t.Errorf("by %s from the gateway: got %d, want %d", protocol, got, test.answer)
				}
				if got := connect(t, public("h2")); got != test.answer {
					t.Errorf("by %s from the gateway, over HTTP/2: got %d, want %d", protocol, got, test.answer)
				}
			}
		})
	}
}

// upgrade asks for a WebSocket by HTTP/1, and for its bytes back if there is one. It returns the status.
func upgrade(t *testing.T, connection net.Conn) int {
	t.Helper()
	defer connection.Close()
	must(t, connection.SetDeadline(time.Now().Add(5*time.Second)))
	_, err := io.WriteString(connection, "GET /echo HTTP/1.1\r\nHost: api\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	must(t, err)
	reader := bufio.NewReader(connection)
	response, err := http.ReadResponse(reader, nil)
	must(t, err)
	if response.StatusCode == http.StatusSwitchingProtocols {
		_, err = io.WriteString(connection, "hello")
		must(t, err)
		echo := make([]byte, 5)
		if _, err := io.ReadFull(reader, echo); err != nil || string(echo) != "hello" {
			t.Errorf("got %q back, %v", echo, err)
		}
	}
	return response.StatusCode
}

// connect asks for a WebSocket as browsers do by HTTP/2. A success is 101, as [upgrade] has it.
func connect(t *testing.T, connection net.Conn) int {
	t.Helper()
	f := dialFrames(t, connection)
	must(t, f.send(1, false, ":method CONNECT", ":protocol websocket", ":scheme https", ":path /echo", ":authority api"))
	frame, err := f.next()
	must(t, err)
	headers, ok := frame.(*http2.MetaHeadersFrame)
	if !ok {
		t.Errorf("got %s", frame)
		return 0
	}
	if headers.PseudoValue("status") != "200" {
		status, err := strconv.Atoi(headers.PseudoValue("status"))
		must(t, err)
		return status
	}
	must(t, f.WriteData(1, false, []byte("hello")))
	frame, err = f.next()
	must(t, err)
	if data, ok := frame.(*http2.DataFrame); !ok || string(data.Data()) != "hello" {
		t.Errorf("got %s back", frame)
	}
	return http.StatusSwitchingProtocols
}
