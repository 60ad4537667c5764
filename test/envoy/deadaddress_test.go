package envoy

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// silent is an address that answers no attempt to connect, as that of a node that is gone: its queue is full, and the
// kernel drops what comes.
func silent(t *testing.T, ip string, port uint16) *backend {
	t.Helper()
	b := &backend{address: netip.MustParseAddr(ip)}
	socket, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	must(t, err)
	t.Cleanup(func() { _ = syscall.Close(socket) })
	must(t, syscall.Bind(socket, &syscall.SockaddrInet4{Port: int(port), Addr: b.address.As4()}))
	must(t, syscall.Listen(socket, 0))
	for range 10 {
		connection, err := net.DialTimeout("tcp", netip.AddrPortFrom(b.address, port).String(), 200*time.Millisecond)
		if err != nil {
			return b
		}
		t.Cleanup(func() { connection.Close() })
	}
	t.Fatal("expected the queue to be full, and all ten connected")
	return nil
}

// TestDeadAddress: of two addresses of a name one answers nothing. No request fails, and none waits for longer than one
// attempt to connect.
func TestDeadAddress(t *testing.T) {
	t.Parallel()
	agent, port := startAgent(t, "/web"), freePort(t)
	alive, dead := startBackend(t, agent, "/api", "127.1.4.1", port), silent(t, "127.1.4.2", port)
	dns := startDNS(t)
	dns.set(alive, dead)
	for _, protocol := range []ir.Protocol{ir.HTTP, ir.GRPC} {
		t.Run(protocol.String(), func(t *testing.T) {
			t.Parallel()
			c := startClient(t, agent, dns, ir.Upstream{Address: named(t, port), Peers: peers(t, "/api"), Protocol: protocol})
			// A new connection for each request, also from Envoy: one that is there is not taken from a dead address.
			caller := callerOf(protocol)
			eventually(t, 10*time.Second, "the first answer", answers(caller, c.url, 200))
			slowest := time.Duration(0)
			for range 20 {
				start := time.Now()
				expect(t, caller, c.url, 200, "")
				slowest = max(slowest, time.Since(start))
			}
			t.Logf("the slowest of twenty took %s", slowest)
			if slowest < 900*time.Millisecond || slowest > 3*time.Second {
				t.Errorf("the slowest of twenty took %s, want about 1 s", slowest)
			}
			var group sync.WaitGroup
			for range 40 {
				group.Go(func() { expect(t, caller, c.url, 200, "") })
			}
			group.Wait()
			// What Envoy keeps of a request until there is a connection.
			for range 4 {
				response, err := caller.Post(c.url, "", bytes.NewReader(make([]byte, 20_000)))
				must(t, err)
				response.Body.Close()
				if response.StatusCode != http.StatusOK {
					t.Errorf("an upload of 20 KB: %s", response.Status)
				}
			}
		})
	}
}

// callerOf is an app that speaks the protocol, without a pool of its own.
func callerOf(protocol ir.Protocol) *http.Client {
	transport := &http.Transport{DisableKeepAlives: !protocol.IsHTTP2(), Protocols: new(http.Protocols)}
	transport.Protocols.SetHTTP1(!protocol.IsHTTP2())
	transport.Protocols.SetUnencryptedHTTP2(protocol.IsHTTP2())
	return &http.Client{Timeout: 20 * time.Second, Transport: transport}
}

// TestNoAddress: what nobody takes fails, at an address that refuses at once, and at one that is silent not sooner than
// without retries.
func TestNoAddress(t *testing.T) {
	t.Parallel()
	agent := startAgent(t, "/web")
	dns := startDNS(t)
	dns.set(&backend{address: netip.MustParseAddr("127.1.5.1")})
	refusing, port := freePort(t), freePort(t)
	silent(t, "127.1.5.1", port)
	for _, test := range []struct {
		name        string
		address     ir.Address
		least, most time.Duration
	}{
		{"refused", named(t, refusing), 0, 900 * time.Millisecond},
		{"refused by its IP address", parsed(t, fmt.Sprintf("127.1.5.1:%d", refusing)), 0, 900 * time.Millisecond},
		// Five tries of a second each; a timer of Envoy counts from when its loop woke up, a millisecond before.
		{"silent", named(t, port), 5 * 999 * time.Millisecond, 10 * time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := startClient(t, agent, dns, ir.Upstream{Address: test.address, Peers: peers(t, "/api")})
			caller := &http.Client{Timeout: time.Minute}
			var took time.Duration
			eventually(t, 10*time.Second, "the failure of a connection, and not of the lookup", func() error {
				start := time.Now()
				status, body, err := get(caller, c.url)
				took = time.Since(start)
				if err == nil && (status != http.StatusServiceUnavailable || !strings.Contains(body, "upstream connect error")) {
					err = fmt.Errorf("got %d %q", status, body)
				}
				return err
			})
			t.Logf("503 after %s", took)
			if took < test.least || took > test.most {
				t.Errorf("503 after %s, want from %s to %s", took, test.least, test.most)
			}
		})
	}
}

// TestDeadAddressOfTCP: connections go to the living address, in the time of one attempt.
func TestDeadAddressOfTCP(t *testing.T) {
	t.Parallel()
	agent, port := startAgent(t, "/web"), freePort(t)
	alive, dead := startBackend(t, agent, "/db", "127.1.6.1", port), silent(t, "127.1.6.2", port)
	dns := startDNS(t)
	dns.set(alive, dead)
	c := startClient(t, agent, dns, ir.Upstream{Address: named(t, port), Peers: peers(t, "/db"), Protocol: ir.TCP})
	// The backend speaks HTTP, which is bytes to this upstream.
	caller := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	eventually(t, 10*time.Second, "the first answer", answers(caller, c.url, 200))
	for range 10 {
		start := time.Now()
		expect(t, caller, c.url, 200, "")
		if took := time.Since(start); took > 3*time.Second {
			t.Errorf("a connection took %s, want about 1 s at most", took)
		}
	}
	if failed := c.statistic(fmt.Sprintf("cluster.upstream_%d.upstream_cx_connect_timeout", c.listen)); failed < 3 {
		t.Errorf("%d attempts at the dead address, want some", failed)
	}
}
