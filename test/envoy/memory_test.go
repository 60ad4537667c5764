package envoy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/spire-injector/spire-injector/templates/ir"
)

const (
	slowReaders   = 300
	unreadUploads = 200
	bigAnswer     = 16 << 20
	// mostMemory is what an Envoy may take while all of them wait: without bounds each takes more than 1 MiB, and the
	// shipped limit of a container is 256 MiB.
	mostMemory = 240 << 20
)

// stalling is an app whose GET /big answers 16 MiB and whose POST /unread waits without reading, until the test's end.
// Everything else gets "ok".
type stalling struct {
	port  uint16
	begun atomic.Int64 // such requests
}

func startStalling(t *testing.T) *stalling {
	t.Helper()
	listener, port := listen(t)
	s, end := &stalling{port: port}, make(chan struct{})
	big := make([]byte, bigAnswer)
	server := &http.Server{Protocols: new(http.Protocols), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/big":
			s.begun.Add(1)
			_, _ = w.Write(big)
		case "/unread":
			s.begun.Add(1)
			select {
			case <-end:
			case <-r.Context().Done():
			}
		default:
			_, _ = io.Copy(io.Discard, r.Body)
			_, _ = io.WriteString(w, "ok")
		}
	})}
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetUnencryptedHTTP2(true)
	go server.Serve(listener)
	t.Cleanup(func() {
		close(end)
		server.Close()
	})
	return s
}

// pair are a caller's and a callee's Envoy before a stalling app.
type pair struct {
	app            *stalling
	caller, callee *proxy
	upstream       uint16 // where the caller's app calls
}

func startPair(t *testing.T, protocol ir.Protocol) *pair {
	t.Helper()
	agent, x := startAgent(t, "/api", "/web"), &pair{app: startStalling(t)}
	api := ir.Proxy{ID: id("/api"), SVIDTTL: time.Hour, AgentSocket: agent.socket, Inbound: []ir.Inbound{
		{Listen: freePort(t), App: x.app.port, Peers: peers(t, "/web"), Protocol: protocol},
	}}
	x.upstream = freePort(t)
	web := ir.Proxy{ID: id("/web"), SVIDTTL: time.Hour, AgentSocket: agent.socket, Upstreams: []ir.Upstream{
		{Listen: x.upstream, Address: address(t, api.Inbound[0].Listen), Peers: peers(t, "/api"), Protocol: protocol},
	}}
	x.callee, x.caller = startProxy(t, api), startProxy(t, web)
	x.callee.waitReady()
	x.caller.waitReady()
	return x
}

// TestStalledRequests: neither answers that nobody reads nor requests that the app does not read fill the memory of an
// Envoy, and meanwhile others are served, also those whose requests share a connection with them.
func TestStalledRequests(t *testing.T) {
	for _, protocol := range []ir.Protocol{ir.HTTP, ir.HTTP2} {
		t.Run(protocol.String()+" answers", func(t *testing.T) {
			x := startPair(t, protocol)
			for range slowReaders {
				x.begin(t, "GET /big HTTP/1.1\r\nHost: api\r\n\r\n", 0)
			}
			x.holds(t, slowReaders)
		})
		t.Run(protocol.String()+" requests", func(t *testing.T) {
			x := startPair(t, protocol)
			for range unreadUploads {
				x.begin(t, fmt.Sprintf("POST /unread HTTP/1.1\r\nHost: api\r\nContent-Length: %d\r\n\r\n", bigAnswer), bigAnswer)
			}
			x.holds(t, unreadUploads)
		})
	}
}

// begin sends a request on a connection of its own and reads nothing. A body is sent as far as it is taken.
func (x *pair) begin(t *testing.T, head string, body int) {
	t.Helper()
	stall(t, x.upstream, head, body)
}

// stall is the same for any port in plain text.
func stall(t *testing.T, port uint16, head string, body int) {
	t.Helper()
	// As small as the kernel allows, so that it is Envoy that has to hold the rest.
	dialer := net.Dialer{Control: func(_, _ string, raw syscall.RawConn) error {
		return raw.Control(func(fd uintptr) {
			_ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4096)
		})
	}}
	connection, err := dialer.DialContext(context.Background(), "tcp", fmt.Sprintf("127.0.0.1:%d", port))
	must(t, err)
	t.Cleanup(func() { connection.Close() })
	_, err = io.WriteString(connection, head)
	must(t, err)
	if body > 0 {
		go func() { _, _ = connection.Write(make([]byte, body)) }()
	}
}

// holds waits until so many requests have reached the app and the memory of both Envoys has stopped growing, which is
// below the bound, and has further requests answered.
func (x *pair) holds(t *testing.T, stalled int64) {
	t.Helper()
	eventually(t, time.Minute, "all requests to have reached the app", func() error {
		if n := x.app.begun.Load(); n < stalled {
			return fmt.Errorf("%d of %d", n, stalled)
		}
		return nil
	})
	for name, p := range map[string]*proxy{"caller": x.caller, "callee": x.callee} {
		if most := p.settledMemory(); most > mostMemory {
			t.Errorf("the %s's Envoy has %d MiB, want at most %d", name, most>>20, mostMemory>>20)
		} else {
			t.Logf("the %s's Envoy has %d MiB", name, most>>20)
		}
	}
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	for range 20 {
		expect(t, client, fmt.Sprintf("http://127.0.0.1:%d/", x.upstream), 200, "ok")
	}
}

// settledMemory is what a process has resident when that has stopped growing, in bytes.
func (x *proxy) settledMemory() int {
	x.t.Helper()
	const steady = 20 // looks without growth, 50 ms apart
	most := x.memory()
	for same := 0; same < steady; same++ {
		time.Sleep(50 * time.Millisecond)
		if now := x.memory(); now > most+1<<20 {
			most, same = now, 0
		}
	}
	return most
}

// memory is what the Envoy has resident now, in bytes.
func (x *proxy) memory() int {
	x.t.Helper()
	n, err := resident(x.command.Process.Pid)
	must(x.t, err)
	return n
}

// resident is what the kernel says of a process.
func resident(pid int) (int, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if value, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			n, err := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(value), " kB"))
			return n << 10, err
		}
	}
	return 0, errors.New("the process has no memory: it has ended")
}
