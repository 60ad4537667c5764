package connections

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptrace"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// patience is how long a test waits for what has to come.
const patience = 30 * time.Second

const answer = "answered"

// running is a server of this test.
type running struct {
	*Server
	address   string
	metrics   *prometheus.Registry
	longEnded chan struct{} // at the end of a long answer
	end       func()        // has the server end
}

// start serves until the test ends: at /webhook an answer, after the request has arrived, and at /long one that takes
// more than what sockets hold.
func start(t *testing.T, bounds Bounds) running {
	t.Helper()
	certificate := newCertificate(t)
	metrics := prometheus.NewRegistry()
	s, err := NewServer(Options{
		Address: "127.0.0.1:0",
		ConfigureTLS: func(c *tls.Config) {
			c.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return certificate, nil }
		},
		Bounds:     bounds,
		Registerer: metrics,
		Logger:     logr.Discard(),
	})
	must(t, err)
	s.Register("/webhook", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err == nil {
			_, _ = io.WriteString(w, answer)
		}
	}))
	longEnded := make(chan struct{}, 1)
	s.Register("/long", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		defer func() { longEnded <- struct{}{} }()
		for piece := make([]byte, 1<<20); ; {
			if _, err := w.Write(piece); err != nil {
				return
			}
		}
	}))
	ctx, end := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Start(ctx) }()
	t.Cleanup(func() {
		end()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	await(t, "the port", func() bool { return s.at.Load() != nil })
	return running{s, s.at.Load().String(), metrics, longEnded, end}
}

// from connects from one of the addresses of loopback.
func (s running) from(t *testing.T, address string) net.Conn {
	t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}
	c, err := dialer.DialContext(t.Context(), "tcp", s.address)
	must(t, err)
	t.Cleanup(func() { _ = c.Close() })
	must(t, c.SetDeadline(time.Now().Add(patience)))
	return c
}

// secured connects, and ends the handshake. The error is that of the handshake.
func (s running) secured(t *testing.T, address, protocol string) (*tls.Conn, error) {
	t.Helper()
	config := trusting()
	config.NextProtos = []string{protocol}
	c := tls.Client(s.from(t, address), config)
	return c, c.HandshakeContext(t.Context())
}

func trusting() *tls.Config {
	return &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13}
}

// apiServer is an honest caller, which keeps its connection.
func (s running) apiServer(t *testing.T, address string) *http.Client {
	t.Helper()
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}
	c := &http.Client{Timeout: patience, Transport: &http.Transport{
		DialContext: dialer.DialContext, TLSClientConfig: trusting(), ForceAttemptHTTP2: true,
	}}
	t.Cleanup(c.CloseIdleConnections)
	return c
}

// call returns whether the connection was an old one.
func (s running) call(t *testing.T, c *http.Client) (reused bool) {
	t.Helper()
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
		GotConn: func(info httptrace.GotConnInfo) { reused = info.Reused },
	})
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+s.address+"/webhook",
		strings.NewReader(strings.Repeat("x", 100<<10)))
	must(t, err)
	response, err := c.Do(request)
	must(t, err)
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	must(t, err)
	if string(body) != answer {
		t.Errorf("the honest caller got %s: %s", response.Status, body)
	}
	return reused
}

// Whoever holds as many connections as there may be, in whatever state, leaves those of others alone, and lets them in.
func TestConnectionsHeldOpen(t *testing.T) {
	t.Parallel()
	bounds := DefaultBounds()
	bounds.Connections = 40
	s := start(t, bounds)
	old := s.apiServer(t, "127.0.0.1")
	s.call(t, old)
	for number := range 5 * bounds.Connections {
		address := []string{"127.0.0.2", "127.0.0.3", "127.0.0.4"}[number%3]
		switch number % 4 {
		case 0: // nothing at all
			s.from(t, address)
		case 1: // part of a request
			if c, err := s.secured(t, address, "http/1.1"); err == nil {
				_, _ = io.WriteString(c, "POST /webhook HTTP/1.1\r\nHost: a\r\nA: ")
			}
		default:
			_, _ = s.secured(t, address, "h2")
		}
	}
	if !s.call(t, old) {
		t.Error("the honest caller lost its connection")
	}
	s.call(t, s.apiServer(t, "127.0.0.5"))
	s.call(t, s.apiServer(t, "127.0.0.2")) // shared with who holds them
	if got := s.limiter.count(); got > bounds.Connections {
		t.Errorf("%d connections are open", got)
	}
	const closed = "spire_injector_connections_closed_total"
	if n, err := testutil.GatherAndCount(s.metrics, closed); err != nil || n != 2 {
		t.Errorf("connections that were closed: %d reasons, %v", n, err)
	}
}

// Who is slow is cut off, wherever it stops.
func TestSlowCallers(t *testing.T) {
	t.Parallel()
	bounds := DefaultBounds()
	bounds.Headers, bounds.Request, bounds.Answer, bounds.Idle =
		200*time.Millisecond, 400*time.Millisecond, 600*time.Millisecond, time.Second
	s := start(t, bounds)
	http1 := func(t *testing.T, sends string) net.Conn {
		c, err := s.secured(t, "127.0.0.2", "http/1.1")
		must(t, err)
		_, err = io.WriteString(c, sends)
		must(t, err)
		return c
	}
	http2Preface := func(t *testing.T) (net.Conn, *http2.Framer) {
		c, err := s.secured(t, "127.0.0.2", "h2")
		must(t, err)
		_, err = io.WriteString(c, http2.ClientPreface)
		must(t, err)
		framer := http2.NewFramer(c, nil)
		must(t, framer.WriteSettings())
		return c, framer
	}
	for name, begin := range map[string]func(t *testing.T) net.Conn{
		"no handshake": func(t *testing.T) net.Conn { return s.from(t, "127.0.0.2") },
		"half a handshake": func(t *testing.T) net.Conn {
			c := s.from(t, "127.0.0.2")
			_, err := c.Write([]byte{0x16, 0x03, 0x01, 0x02, 0x00, 0x01}) // of a record of 512 bytes the first
			must(t, err)
			return c
		},
		"HTTP/1, nothing":      func(t *testing.T) net.Conn { return http1(t, "") },
		"HTTP/1, half headers": func(t *testing.T) net.Conn { return http1(t, "POST /webhook HTTP/1.1\r\nHost: a\r\nA: ") },
		"HTTP/1, half a body": func(t *testing.T) net.Conn {
			return http1(t, "POST /webhook HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf")
		},
		"HTTP/1, half a body that nobody asked for": func(t *testing.T) net.Conn {
			return http1(t, "POST /nowhere HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf")
		},
		"HTTP/1, answers are not read": func(t *testing.T) net.Conn {
			c := http1(t, "GET /long HTTP/1.1\r\nHost: a\r\n\r\n")
			select {
			case <-s.longEnded:
			case <-time.After(patience):
				t.Error("the answer goes on")
			}
			return c
		},
		"HTTP/2, no preface": func(t *testing.T) net.Conn {
			c, err := s.secured(t, "127.0.0.2", "h2")
			must(t, err)
			return c
		},
		"HTTP/2, no request": func(t *testing.T) net.Conn { c, _ := http2Preface(t); return c },
		"HTTP/2, half a body": func(t *testing.T) net.Conn {
			c, framer := http2Preface(t)
			var headers bytes.Buffer
			encoder := hpack.NewEncoder(&headers)
			for _, field := range [][2]string{
				{":method", "POST"}, {":scheme", "https"}, {":authority", "a"}, {":path", "/webhook"}, {"content-length", "100"},
			} {
				must(t, encoder.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]}))
			}
			must(t, framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: headers.Bytes(), EndHeaders: true}))
			must(t, framer.WriteData(1, false, []byte("half")))
			return c
		},
		"HTTP/2, half a frame": func(t *testing.T) net.Conn {
			c, _ := http2Preface(t)
			_, err := c.Write([]byte{0, 0, 100, byte(http2.FrameHeaders), byte(http2.FlagHeadersEndHeaders), 0, 0, 0, 1})
			must(t, err)
			return c
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := io.Copy(io.Discard, begin(t))
			if errors.Is(err, os.ErrDeadlineExceeded) {
				t.Error("the connection is still open")
			}
		})
	}
}

// A connection that is held open costs a bounded amount of memory, whatever was sent on it.
func TestMemoryOfConnections(t *testing.T) {
	bounds := DefaultBounds()
	s := start(t, bounds)
	before := heap()
	var held sync.WaitGroup
	for range 2 * bounds.Connections {
		held.Go(func() {
			c, err := s.secured(t, "127.0.0.2", "h2")
			if err != nil {
				return // evicted before
			}
			_, _ = io.WriteString(c, http2.ClientPreface)
			_ = http2.NewFramer(c, nil).WriteSettings()
			// The head of a frame of 1 MiB, of which nothing else comes.
			_, _ = c.Write([]byte{0x0f, 0xff, 0xff, byte(http2.FrameData), 0, 0, 0, 0, 1})
		})
	}
	held.Wait()
	// Callers are part of this process, and each has a TLS connection too.
	const most = 128 << 10
	if got := (heap() - before) / int64(bounds.Connections); got > most {
		t.Errorf("a connection takes %d bytes, expected at most %d", got, most)
	} else {
		t.Logf("a connection takes %d bytes, its caller's part included", got)
	}
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}

// Headers are bounded, beside what a caller such as the API server sends.
func TestHeaders(t *testing.T) {
	t.Parallel()
	s := start(t, DefaultBounds())
	c := s.apiServer(t, "127.0.0.1")
	for size, want := range map[int]int{8 << 10: http.StatusOK, 32 << 10: http.StatusRequestHeaderFieldsTooLarge} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+s.address+"/webhook", nil)
		must(t, err)
		request.Header.Set("Authorization", strings.Repeat("x", size))
		response, err := c.Do(request)
		if err != nil {
			if want == http.StatusOK {
				t.Errorf("%d bytes: %v", size, err)
			}
			continue
		}
		_ = response.Body.Close()
		if response.StatusCode != want {
			t.Errorf("%d bytes: got %s, expected %d", size, response.Status, want)
		}
	}
}

// A request that is in flight when the replica is told to end is answered, and its work is not cancelled.
func TestRequestsInFlightEnd(t *testing.T) {
	s := start(t, DefaultBounds())
	arrived, goOn := make(chan struct{}), make(chan struct{})
	s.Register("/slow", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-goOn
		if err := r.Context().Err(); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	}))
	client := http.Client{Transport: &http.Transport{TLSClientConfig: trusting(), ForceAttemptHTTP2: true}, Timeout: patience}
	answered := make(chan error, 1)
	go func() {
		got, err := client.Get("https://" + s.address + "/slow")
		if err == nil {
			err = errors.Join(statusError(got.StatusCode), got.Body.Close())
		}
		answered <- err
	}()
	<-arrived
	s.end()
	await(t, "the port to close", func() bool {
		c, err := net.Dial("tcp", s.address)
		if err == nil {
			_ = c.Close()
		}
		return err != nil
	})
	close(goOn)
	if err := <-answered; err != nil {
		t.Error(err)
	}
}

func statusError(code int) error {
	if code != http.StatusOK {
		return fmt.Errorf("expected 200, got %d", code)
	}
	return nil
}

// The server says that it has started when it has, and not before.
func TestStartedChecker(t *testing.T) {
	t.Parallel()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "/readyz", nil)
	must(t, err)
	early, err := NewServer(Options{Bounds: DefaultBounds(), Registerer: prometheus.NewRegistry()})
	must(t, err)
	if err := early.StartedChecker()(request); err == nil {
		t.Error("it has started before it listens")
	}
	if err := start(t, DefaultBounds()).StartedChecker()(request); err != nil {
		t.Error(err)
	}
}

// A server of all addresses is asked at one that is there without IPv6 too.
func TestLocalAddress(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{":9443": ":9443", "127.0.0.1:9443": "127.0.0.1:9443"} {
		s := Server{options: Options{Address: address}}
		if got := s.local(&net.TCPAddr{IP: net.IPv6unspecified, Port: 9443}); got != want {
			t.Errorf("%s: asked at %s", address, got)
		}
	}
}

// A port that is taken is an error, not a wait.
func TestPortIsTaken(t *testing.T) {
	t.Parallel()
	first := start(t, DefaultBounds())
	second, err := NewServer(Options{
		Address:    first.address,
		Bounds:     DefaultBounds(),
		Registerer: prometheus.NewRegistry(),
	})
	must(t, err)
	if err := second.Start(t.Context()); err == nil {
		t.Error("expected an error")
	}
}

func newCertificate(t *testing.T) *tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	must(t, err)
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func await(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
