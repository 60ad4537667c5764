package connections

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
)

// opened is a port of this test.
type opened struct {
	address string
	secured bool
	metrics *prometheus.Registry
}

// open serves until the test ends: at /probe an answer, and at /slow one that does not come before that.
func open(t *testing.T, bounds Bounds, secured bool) opened {
	t.Helper()
	metrics := prometheus.NewRegistry()
	options := Options{
		Port:       "probe",
		Address:    "127.0.0.1:0",
		Bounds:     bounds,
		Registerer: metrics,
		Logger:     logr.Discard(),
	}
	if secured {
		certificate := newCertificate(t)
		options.ConfigureTLS = func(c *tls.Config) {
			c.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return certificate, nil }
		}
	}
	over := make(chan struct{})
	mux := http.NewServeMux()
	mux.HandleFunc("/probe", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, answer) })
	mux.HandleFunc("/slow", func(http.ResponseWriter, *http.Request) { <-over })
	server, err := Listen(t.Context(), options, mux)
	must(t, err)
	if server.NeedLeaderElection() {
		t.Error("only the leader answers")
	}
	ctx, end := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- server.Start(ctx) }()
	t.Cleanup(func() {
		close(over)
		end()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return opened{server.Listener.Addr().String(), secured, metrics}
}

// from connects from one of the addresses of loopback, with TLS if the port has it.
func (o opened) from(t *testing.T, address string) net.Conn {
	t.Helper()
	c := running{address: o.address}.from(t, address)
	if o.secured {
		return tls.Client(c, trusting())
	}
	return c
}

// probe asks as the kubelet does, over a connection of its own.
func (o opened) probe(t *testing.T, address string) {
	t.Helper()
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}
	c := http.Client{Timeout: patience, Transport: &http.Transport{
		DialContext: dialer.DialContext, TLSClientConfig: trusting(), ForceAttemptHTTP2: true, DisableKeepAlives: true,
	}}
	scheme := "http"
	if o.secured {
		scheme = "https"
	}
	response, err := c.Get(scheme + "://" + o.address + "/probe")
	if err != nil {
		t.Errorf("from %s: %v", address, err)
		return
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil || string(body) != answer || response.ProtoMajor != 1 {
		t.Errorf("from %s: got %s over %s: %s, %v", address, response.Status, response.Proto, body, err)
	}
}

// metric is the sum of the values of a metric.
func (o opened) metric(t *testing.T, name string) (sum float64) {
	t.Helper()
	families, err := o.metrics.Gather()
	must(t, err)
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
		for _, m := range family.GetMetric() {
			sum += m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	return sum
}

// Whoever holds as many connections as there may be keeps no probe out, even if each of them has a request.
func TestProbesWhileConnectionsAreHeld(t *testing.T) {
	t.Parallel()
	bounds := ProbeBounds()
	bounds.Connections = 20
	bounds.Request, bounds.Answer = patience, patience // what holds a connection holds it for all of the test
	for name, sends := range map[string]string{
		"nothing":              "",
		"half headers":         "GET /probe HTTP/1.1\r\nHost: a\r\nA: ",
		"half a body":          "GET /probe HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf",
		"requests that go on":  "GET /slow HTTP/1.1\r\nHost: a\r\n\r\n",
		"requests, and nobody": "GET /probe HTTP/1.1\r\nHost: a\r\n\r\n",
	} {
		for _, secured := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, TLS %t", name, secured), func(t *testing.T) {
				t.Parallel()
				o := open(t, bounds, secured)
				for number := range 3 * bounds.Connections {
					c := o.from(t, []string{"127.0.0.2", "127.0.0.3", "127.0.0.4"}[number%3])
					if sends != "" {
						_, _ = io.WriteString(c, sends) // it may have been evicted
					}
				}
				for range 2 * bounds.Connections {
					o.probe(t, "127.0.0.1")
				}
				o.probe(t, "127.0.0.2") // shared with who holds them
				if got := o.metric(t, "spire_injector_connections"); got > float64(bounds.Connections) {
					t.Errorf("%v connections are open", got)
				}
				if got := o.metric(t, "spire_injector_connections_closed_total"); got < float64(2*bounds.Connections) {
					t.Errorf("%v connections were closed", got)
				}
			})
		}
	}
}

// Who is slow is cut off, and who sends much is too.
func TestBoundsOfProbes(t *testing.T) {
	t.Parallel()
	bounds := ProbeBounds()
	bounds.Headers, bounds.Request, bounds.Idle = 200*time.Millisecond, 400*time.Millisecond, 600*time.Millisecond
	o := open(t, bounds, false)
	for name, sends := range map[string]string{
		"nothing":      "",
		"half headers": "GET /probe HTTP/1.1\r\nHost: a\r\nA: ",
		"half a body":  "GET /probe HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf",
		"no request":   "GET /probe HTTP/1.1\r\nHost: a\r\n\r\n",
		"much":         "GET /probe HTTP/1.1\r\nHost: a\r\nA: " + strings.Repeat("x", 2*bounds.HeaderBytes),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := o.from(t, "127.0.0.2")
			_, _ = io.WriteString(c, sends) // it may be cut off before the end
			if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
				t.Error("the connection is still open")
			}
		})
	}
	for size, want := range map[int]int{4 << 10: http.StatusOK, 16 << 10: http.StatusRequestHeaderFieldsTooLarge} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+o.address+"/probe", nil)
		must(t, err)
		request.Header.Set("Authorization", strings.Repeat("x", size))
		response, err := http.DefaultTransport.RoundTrip(request)
		must(t, err)
		_ = response.Body.Close()
		if response.StatusCode != want {
			t.Errorf("%d bytes: got %s, expected %d", size, response.Status, want)
		}
	}
}

// A port that is taken is an error before anything is served.
func TestTakenPort(t *testing.T) {
	t.Parallel()
	first := open(t, ProbeBounds(), false)
	_, err := Listen(t.Context(), Options{
		Port:       "probe",
		Address:    first.address,
		Bounds:     ProbeBounds(),
		Registerer: prometheus.NewRegistry(),
	}, http.NotFoundHandler())
	if err == nil || !strings.Contains(err.Error(), "probe") {
		t.Errorf("expected an error that names the port, got %v", err)
	}
}
