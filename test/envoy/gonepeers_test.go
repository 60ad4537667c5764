package envoy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/spire-injector/spire-injector/templates/ir"
	"github.com/spire-injector/spire-injector/test/netns"
)

// TestGonePeersAreNoticed: the link between two pods is cut without a word. The apps on both sides see the end of their
// streams in time, whether the streams rest or are busy where the protocol can tell that.
func TestGonePeersAreNoticed(t *testing.T) {
	t.Parallel()
	agent, between := startAgent(t, "/web", "/api"), newLink(t)
	ends := make(chan string, 10)
	callee := ir.Proxy{ID: id("/api"), SVIDTTL: time.Hour, AgentSocket: agent.socket}
	caller := ir.Proxy{ID: id("/web"), SVIDTTL: time.Hour, AgentSocket: agent.socket}
	protocols := []ir.Protocol{ir.GRPC, ir.HTTP, ir.TCP}
	for i, protocol := range protocols {
		app, listen, upstream := 8080+uint16(i), 8443+uint16(i), 8000+uint16(i)
		serveStreams(t, listenIn(t, between.callee, fmt.Sprintf("127.0.0.1:%d", app)), protocol, ends)
		callee.Inbound = append(callee.Inbound, ir.Inbound{Listen: listen, App: app, Peers: peers(t, "/web"), Protocol: protocol})
		caller.Upstreams = append(caller.Upstreams, ir.Upstream{
			Listen: upstream, Address: parsed(t, fmt.Sprintf("%s:%d", calleeIP, listen)), Peers: peers(t, "/api"), Protocol: protocol,
		})
	}
	startProxyIn(t, between.callee, callee).waitReady()
	startProxyIn(t, between.caller, caller).waitReady()
	want := map[string]bool{}
	open := func(i int, kind string) {
		name := fmt.Sprintf("%s %s", kind, protocols[i])
		want["caller of "+name], want["callee of "+name] = true, true
		stream := openStream(t, between.caller, protocols[i], 8000+uint16(i), kind)
		go func() {
			_, _ = io.Copy(io.Discard, stream)
			ends <- "caller of " + name
		}()
	}
	for i := range protocols {
		open(i, "resting")
	}
	between.waitQuiet(t)
	open(0, "busy")
	between.cut(t)
	start := time.Now()
	for len(want) > 0 {
		select {
		case end := <-ends:
			took := time.Since(start)
			t.Logf("%s noticed after %s", end, took.Round(100*time.Millisecond))
			if !want[end] || took < 5*time.Second {
				t.Errorf("%s ended after %s", end, took)
			}
			delete(want, end)
		case <-time.After(time.Until(start.Add(45 * time.Second))):
			t.Fatalf("not noticed within 45 s: %v", want)
		}
	}
}

// serveStreams is an app that answers a line and goes on until the other side has ended: in silence, with a line every
// 100 ms if it is asked for a busy stream, or with so many bytes as it is asked for.
func serveStreams(t *testing.T, listener net.Listener, protocol ir.Protocol, ends chan<- string) {
	t.Helper()
	if protocol == ir.TCP {
		go serveTCPStreams(listener, ends)
		return
	}
	server := &http.Server{Protocols: new(http.Protocols), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		kind := r.URL.Query().Get("kind")
		if length, err := strconv.Atoi(r.URL.Query().Get("length")); err == nil {
			_, _ = w.Write(append([]byte("hello\n"), make([]byte, length)...))
			return
		}
		speak(r.Context().Done(), kind, func() error {
			if _, err := io.WriteString(w, "hello\n"); err != nil {
				return err
			}
			return http.NewResponseController(w).Flush()
		})
		ends <- fmt.Sprintf("callee of %s %s", kind, protocol)
	})}
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetUnencryptedHTTP2(true)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { server.Close() })
}

// serveTCPStreams is the same over TCP, asked by a first line. Readiness opens connections too, and says nothing.
func serveTCPStreams(listener net.Listener, ends chan<- string) {
	serveEach(listener, func(connection net.Conn) {
		lines := bufio.NewReader(connection)
		asked, err := lines.ReadString('\n')
		if err != nil {
			return
		}
		_, _ = io.WriteString(connection, "hello\n")
		if length, err := strconv.Atoi(strings.TrimSpace(asked)); err == nil {
			_, _ = connection.Write(make([]byte, length))
			return
		}
		_, _ = io.Copy(io.Discard, lines)
		ends <- "callee of resting tcp"
	})
}

// speak says something once, and again and again if it is busy, until it is done or cannot.
func speak(done <-chan struct{}, kind string, say func() error) {
	err := say()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for err == nil {
		select {
		case <-done:
			return
		case <-tick.C:
			if kind == "busy" {
				err = say()
			}
		}
	}
	<-done
}

// openStream is an app that opens a stream and has had its first line. Of a kind that is a number so many bytes follow.
func openStream(t *testing.T, in *netns.Network, protocol ir.Protocol, port uint16, kind string) io.Reader {
	t.Helper()
	address := fmt.Sprintf("127.0.0.1:%d", port)
	var stream io.ReadCloser
	if protocol == ir.TCP {
		connection, err := in.Dial(t.Context(), "tcp", address)
		must(t, err)
		_, err = io.WriteString(connection, kind+"\n")
		must(t, err)
		stream = connection
	} else {
		caller := callerOf(protocol)
		caller.Timeout = 0
		caller.Transport.(*http.Transport).DialContext = in.Dial
		request, err := http.NewRequest(http.MethodPost, fmt.Sprintf("http://%s/?kind=%s&length=%s", address, kind, kind), nil)
		must(t, err)
		if kind == "busy" {
			request.Body = busyBody(t)
		}
		response, err := caller.Do(request)
		must(t, err)
		stream = response.Body
	}
	t.Cleanup(func() { stream.Close() })
	_, err := io.ReadFull(stream, make([]byte, len("hello\n")))
	must(t, err)
	return stream
}

// busyBody is that of a request which goes on until the test ends.
func busyBody(t *testing.T) io.ReadCloser {
	t.Helper()
	body, write := io.Pipe()
	done := make(chan struct{})
	t.Cleanup(func() { close(done) })
	go speak(done, "busy", func() error {
		_, err := io.WriteString(write, "hello\n")
		return err
	})
	return body
}

// TestPausedReaderIsNotGone: an app that reads nothing for longer than a peer may be silent gets everything in the end.
func TestPausedReaderIsNotGone(t *testing.T) {
	t.Parallel()
	const length, pause = 32 << 20, 25 * time.Second
	agent := startAgent(t, "/web", "/api")
	callee := ir.Proxy{ID: id("/api"), SVIDTTL: time.Hour, AgentSocket: agent.socket}
	caller := ir.Proxy{ID: id("/web"), SVIDTTL: time.Hour, AgentSocket: agent.socket}
	for _, protocol := range []ir.Protocol{ir.GRPC, ir.HTTP, ir.TCP} {
		listener, port := listen(t)
		serveStreams(t, listener, protocol, make(chan string, 100))
		in := ir.Inbound{
			Listen: freePort(t), App: port, Peers: peers(t, "/web"), Protocol: protocol,
		}
		callee.Inbound = append(callee.Inbound, in)
		caller.Upstreams = append(caller.Upstreams, ir.Upstream{
			Listen: freePort(t), Address: address(t, in.Listen), Peers: peers(t, "/api"), Protocol: protocol,
		})
	}
	startProxy(t, callee).waitReady()
	startProxy(t, caller).waitReady()
	for _, up := range caller.Upstreams {
		t.Run(up.Protocol.String(), func(t *testing.T) {
			t.Parallel()
			stream := openStream(t, nil, up.Protocol, up.Listen, strconv.Itoa(length))
			time.Sleep(pause)
			n, err := io.Copy(io.Discard, stream)
			if err != nil || n != length {
				t.Errorf("got %d bytes of %d: %v", n, length, err)
			}
		})
	}
}
