package envoy

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// resilient is a caller's Envoy with an upstream for each of some cases.
type resilient struct {
	*proxy
	p ir.Proxy
}

func startResilient(t *testing.T, a *agent, upstreams ...ir.Upstream) *resilient {
	t.Helper()
	p := ir.Proxy{ID: id("/web"), SVIDTTL: time.Hour, AgentSocket: a.socket, Upstreams: upstreams}
	for i := range p.Upstreams {
		p.Upstreams[i].Listen, p.Upstreams[i].Peers = freePort(t), peers(t, "/api")
	}
	x := &resilient{startProxy(t, p), p}
	x.waitReady()
	return x
}

func (x *resilient) url(i int) string {
	return fmt.Sprintf("http://127.0.0.1:%d/", x.p.Upstreams[i].Listen)
}

// startPeer is a backend at an address of its own that answers as it is told.
func startPeer(t *testing.T, a *agent, ip string, handler http.HandlerFunc) (*backend, ir.Address) {
	t.Helper()
	port := freePort(t)
	b := startBackend(t, a, "/api", ip, port)
	b.server.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b.requests.Add(1)
		b.header.Store(&r.Header)
		handler(w, r)
	})
	return b, parsed(t, netip.AddrPortFrom(b.address, port).String())
}

// TestRetries: what was sent is tried again only where it is asked for, and as often.
func TestRetries(t *testing.T) {
	t.Parallel()
	agent := startAgent(t, "/web")
	b, address := startPeer(t, agent, "127.1.7.1", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusServiceUnavailable)
	})
	resetting, resets := startPeer(t, agent, "127.1.7.2", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	says := func(address ir.Address, r ir.Retries) ir.Upstream {
		return ir.Upstream{Address: address, Resilience: ir.Resilience{Retries: r}}
	}
	x := startResilient(t, agent,
		says(address, ir.Retries{}),
		says(address, ir.Retries{Attempts: 3, On: []string{"gateway-error"}}),
		says(address, ir.Retries{Attempts: 3, On: []string{"retriable-4xx"}}),
		says(resets, ir.Retries{}),
		says(resets, ir.Retries{Attempts: 1, On: []string{"reset"}}),
	)
	for i, test := range []struct {
		at   *backend
		want int64 // requests that the peer sees
	}{{b, 1}, {b, 4}, {b, 1}, {resetting, 1}, {resetting, 2}} {
		before := test.at.requests.Load()
		status, _, err := get(http.DefaultClient, x.url(i))
		if got := test.at.requests.Load() - before; got != test.want || err != nil || status != http.StatusServiceUnavailable {
			t.Errorf("%+v: %d %v, and %d requests, want %d", x.p.Upstreams[i].Resilience.Retries, status, err, got, test.want)
		}
	}
}

// TestTimes: each bound of a call ends it, and what has none goes on. They change on a running Envoy.
func TestTimes(t *testing.T) {
	t.Parallel()
	agent := startAgent(t, "/web")
	b, address := startPeer(t, agent, "127.1.8.1", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/begins" {
			_, _ = io.WriteString(w, "hello\n")
			_ = http.NewResponseController(w).Flush()
		}
		select {
		case <-r.Context().Done():
		case <-time.After(3 * time.Second):
		}
	})
	const bound = 300 * time.Millisecond
	says := func(r ir.Resilience) ir.Upstream { return ir.Upstream{Address: address, Resilience: r} }
	x := startResilient(t, agent,
		says(ir.Resilience{}),
		says(ir.Resilience{Timeout: bound}),
		says(ir.Resilience{IdleTimeout: bound}),
		says(ir.Resilience{Retries: ir.Retries{Attempts: 1, On: []string{"5xx"}, PerTryTimeout: bound}}),
		ir.Upstream{Address: address, Protocol: ir.TCP, Resilience: ir.Resilience{IdleTimeout: bound}},
	)
	caller := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	ask := func(i int, status int, least, most time.Duration) {
		t.Helper()
		start := time.Now()
		got, _, err := get(caller, x.url(i))
		if took := time.Since(start); err != nil || got != status || took < least || took > most {
			t.Errorf("upstream %d: got %d %v after %s, want %d after %s to %s", i, got, err, took, status, least, most)
		}
	}
	ask(0, http.StatusOK, 3*time.Second, 20*time.Second)
	ask(1, http.StatusGatewayTimeout, bound/2, 2900*time.Millisecond)
	ask(2, http.StatusGatewayTimeout, bound/2, 2900*time.Millisecond)
	ask(3, http.StatusGatewayTimeout, bound, 2900*time.Millisecond)
	for key := range *b.header.Load() {
		if key == "X-Envoy-Expected-Rq-Timeout-Ms" {
			t.Errorf("the peer learns of the bound: %s", key)
		}
	}
	// An answer that has begun ends in the middle.
	for i, want := range []bool{false, true, true} {
		start := time.Now()
		response, err := caller.Get(x.url(i) + "begins")
		must(t, err)
		_, err = io.ReadAll(response.Body)
		response.Body.Close()
		if ended := time.Since(start) < 2900*time.Millisecond; ended != want {
			t.Errorf("upstream %d: an answer in the middle: %v, want its end: %t", i, err, want)
		}
	}
	connection, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", x.p.Upstreams[4].Listen))
	must(t, err)
	defer connection.Close()
	must(t, connection.SetReadDeadline(time.Now().Add(2900*time.Millisecond)))
	if _, err := connection.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("a TCP connection that rests: %v, want its end", err)
	}
	x.p.Upstreams[0].Resilience.Timeout, x.p.Upstreams[1].Resilience.Timeout = bound, 0
	x.apply(x.p)
	eventually(t, 10*time.Second, "the new bound", answers(caller, x.url(0), http.StatusGatewayTimeout))
	ask(1, http.StatusOK, 3*time.Second, 20*time.Second)
}

// TestOutlierDetection: an address that fails is left alone, once it has failed as often as written.
func TestOutlierDetection(t *testing.T) {
	t.Parallel()
	agent, port := startAgent(t, "/web"), freePort(t)
	good, bad := startBackend(t, agent, "/api", "127.1.9.1", port), startBackend(t, agent, "/api", "127.1.9.2", port)
	bad.server.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		bad.requests.Add(1)
		w.WriteHeader(http.StatusInternalServerError)
	})
	dns := startDNS(t)
	dns.set(good, bad)
	outliers := ir.DefaultOutlierDetection()
	outliers.ConsecutiveErrors, outliers.EjectionTime, outliers.Interval = 3, 2*time.Second, 200*time.Millisecond
	c := startClient(t, agent, dns, ir.Upstream{
		Address: named(t, port), Peers: peers(t, "/api"), Resilience: ir.Resilience{Outliers: outliers},
	})
	eventually(t, 10*time.Second, "both addresses", func() error {
		_, _, err := get(http.DefaultClient, c.url)
		if good.requests.Load() == 0 || bad.requests.Load() == 0 {
			return errors.Join(err, errors.New("one has seen nothing"))
		}
		return err
	})
	eventually(t, 10*time.Second, "ejection", func() error {
		_, _, err := get(http.DefaultClient, c.url)
		if c.statistic(fmt.Sprintf("cluster.upstream_%d.outlier_detection.ejections_active", c.listen)) != 1 {
			return errors.Join(err, errors.New("nothing is ejected"))
		}
		return err
	})
	for range 20 {
		expect(t, http.DefaultClient, c.url, 200, "")
	}
	seen := bad.requests.Load()
	if seen > 5 {
		t.Errorf("the bad address had %d requests, want about 3", seen)
	}
	eventually(t, 15*time.Second, "another try", func() error {
		_, _, err := get(http.DefaultClient, c.url)
		if bad.requests.Load() == seen {
			return errors.Join(err, errors.New("no request"))
		}
		return err
	})
}

// TestMaxConnections: further requests wait, a further TCP connection is closed.
func TestMaxConnections(t *testing.T) {
	t.Parallel()
	agent := startAgent(t, "/web")
	var open, most atomic.Int64
	_, address := startPeer(t, agent, "127.1.10.1", func(http.ResponseWriter, *http.Request) {
		most.Store(max(most.Load(), open.Add(1)))
		defer open.Add(-1)
		time.Sleep(100 * time.Millisecond)
	})
	two := ir.Resilience{MaxConnections: 2}
	x := startResilient(t, agent,
		ir.Upstream{Address: address, Resilience: two},
		ir.Upstream{Address: address, Resilience: two, Protocol: ir.TCP},
		ir.Upstream{Address: address},
	)
	caller := &http.Client{Timeout: time.Minute}
	at := func(i int) int64 {
		most.Store(0)
		var group sync.WaitGroup
		for range 10 {
			group.Go(func() { expect(t, caller, x.url(i), 200, "") })
		}
		group.Wait()
		return most.Load()
	}
	if got := at(0); got > 2 {
		t.Errorf("%d requests at a time with two connections", got)
	}
	if got := at(2); got < 4 {
		t.Errorf("%d requests at a time without a bound", got)
	}
	ends := make(chan error, 3)
	for range 3 {
		connection, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", x.p.Upstreams[1].Listen))
		must(t, err)
		t.Cleanup(func() { connection.Close() })
		go func() {
			_, err := connection.Read(make([]byte, 1))
			ends <- err
		}()
	}
	select {
	case err := <-ends:
		t.Logf("the third: %v", err)
	case <-time.After(20 * time.Second):
		t.Fatal("three connections are open")
	}
	select {
	case err := <-ends:
		t.Errorf("another one ended: %v", err)
	case <-time.After(200 * time.Millisecond):
	}
}
