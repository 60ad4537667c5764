package envoy

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"
)

const tick = 100 * time.Millisecond

// startStreamApp sends a line each tick until the caller has gone, or for as long as "?for" says, and at the same
// time reads what the caller sends. An upgraded connection gets its bytes back. "/short" answers at once. It speaks
// HTTP/1.1 and HTTP/2 without TLS.
func startStreamApp(t *testing.T) uint16 {
	t.Helper()
	listener, port := listen(t)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Header.Get("Upgrade") != "":
			echo(w)
			return
		case r.URL.Path == "/short":
			return
		}
		if r.ProtoMajor == 2 {
			go func() { _, _ = io.Copy(io.Discard, r.Body) }()
		}
		w.Header().Set("Content-Type", "text/event-stream")
		limit, err := time.ParseDuration(r.FormValue("for"))
		for began, endless := time.Now(), err != nil; endless || time.Since(began) < limit; {
			if _, err := fmt.Fprintln(w, "tick"); err != nil {
				return
			}
			if err := http.NewResponseController(w).Flush(); err != nil {
				return
			}
			select {
			case <-time.After(tick):
			case <-r.Context().Done():
				return
			}
		}
	}), Protocols: new(http.Protocols)}
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetUnencryptedHTTP2(true)
	go server.Serve(listener)
	t.Cleanup(func() { server.Close() })
	return port
}

// dialer opens a connection on which HTTP is spoken: to a caller's Envoy, or to a server's with a certificate.
type dialer func(ctx context.Context, http2 bool) (net.Conn, error)

func plainDialer(port uint16) dialer {
	return func(ctx context.Context, _ bool) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", port))
	}
}

func tlsDialer(port uint16, config *tls.Config) dialer {
	return func(ctx context.Context, http2 bool) (net.Conn, error) {
		config := config.Clone()
		config.NextProtos = []string{"http/1.1"}
		if http2 {
			config.NextProtos = []string{"h2"}
		}
		return (&tls.Dialer{Config: config}).DialContext(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", port))
	}
}

// stream is busy in both directions, or in one, until it ends.
type stream struct {
	kind  string
	began time.Time
	ended chan end // one value
}

type end struct {
	at  time.Time
	err error
}

// life waits for the end.
func (s *stream) life(t *testing.T, limit time.Duration) time.Duration {
	t.Helper()
	select {
	case last := <-s.ended:
		life := last.at.Sub(s.began)
		t.Logf("%s ended after %s: %v", s.kind, life.Round(time.Millisecond), last.err)
		return life
	case <-time.After(time.Until(s.began.Add(limit))):
		t.Errorf("%s still goes on after %s", s.kind, limit)
		return limit
	}
}

// alive is an error if the stream has ended.
func (s *stream) alive() error {
	select {
	case last := <-s.ended:
		s.ended <- last
		return fmt.Errorf("%s has ended: %w", s.kind, last.err)
	default:
		return nil
	}
}

// run feeds the stream from a read of one piece at a time. The first piece has arrived when it returns.
func run(t *testing.T, kind string, read func() error) *stream {
	t.Helper()
	s := &stream{kind: kind, began: time.Now(), ended: make(chan end, 1)}
	if err := read(); err != nil {
		t.Fatalf("%s did not begin: %v", kind, err)
	}
	go func() {
		for {
			if err := read(); err != nil {
				s.ended <- end{time.Now(), err}
				return
			}
		}
	}()
	return s
}

// raw sends a request by hand and returns what follows its response.
func raw(t *testing.T, dial dialer, header http.Header, first string) (net.Conn, *bufio.Reader, *http.Response) {
	t.Helper()
	connection, err := dial(t.Context(), false)
	must(t, err)
	t.Cleanup(func() { connection.Close() })
	reader := bufio.NewReader(connection)
	return connection, reader, askAgain(t, connection, reader, header, first)
}

// askAgain sends a request by hand on a connection that is open.
func askAgain(t *testing.T, connection net.Conn, reader *bufio.Reader, header http.Header, first string) *http.Response {
	t.Helper()
	_, err := io.WriteString(connection, first+"\r\nHost: api\r\n")
	must(t, err)
	must(t, header.Write(connection))
	_, err = io.WriteString(connection, "\r\n")
	must(t, err)
	must(t, connection.SetReadDeadline(time.Now().Add(5*time.Second)))
	response, err := http.ReadResponse(reader, nil)
	must(t, err)
	must(t, connection.SetReadDeadline(time.Time{}))
	return response
}

func openWebSocket(t *testing.T, dial dialer, header http.Header) *stream {
	t.Helper()
	connection, reader, response := raw(t, dial, header, "GET /ws HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket")
	if response.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("WebSocket: got %s", response.Status)
	}
	return run(t, "WebSocket", func() error {
		time.Sleep(tick)
		if _, err := io.WriteString(connection, "x"); err != nil {
			return err
		}
		_, err := reader.ReadByte()
		return err
	})
}

func openResponse(t *testing.T, dial dialer, header http.Header) *stream {
	t.Helper()
	_, _, response := raw(t, dial, header, "GET /events HTTP/1.1")
	return run(t, "response of HTTP/1.1", lines(t, response))
}

// lines reads one line at a time of a response that has to be a good one.
func lines(t *testing.T, response *http.Response) func() error {
	t.Helper()
	if response.StatusCode != http.StatusOK {
		t.Fatalf("got %s", response.Status)
	}
	reader := bufio.NewReader(response.Body)
	return func() error {
		_, err := reader.ReadString('\n')
		return err
	}
}

// http2Client speaks HTTP/2 on every connection.
func http2Client(dial dialer) *http.Client {
	transport := &http.Transport{
		Protocols:   new(http.Protocols),
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx, true) },
	}
	transport.Protocols.SetUnencryptedHTTP2(true)
	return &http.Client{Transport: transport}
}

// openHTTP2 sends a request that goes both ways, as gRPC does.
func openHTTP2(t *testing.T, dial dialer, header http.Header) *stream {
	t.Helper()
	body, feed := io.Pipe()
	t.Cleanup(func() { feed.Close() })
	go func() {
		for {
			if _, err := io.WriteString(feed, "x"); err != nil {
				return
			}
			time.Sleep(tick)
		}
	}()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://api/both", body)
	must(t, err)
	for name, values := range header {
		request.Header[name] = values
	}
	request.Header.Set("Content-Type", "application/grpc")
	response, err := http2Client(dial).Do(request)
	must(t, err)
	t.Cleanup(func() { response.Body.Close() })
	return run(t, "request of HTTP/2", lines(t, response))
}

// openTCP sends and reads a byte each tick. It expects an app that sends them back.
func openTCP(t *testing.T, dial func() (net.Conn, error)) *stream {
	t.Helper()
	connection, err := dial()
	must(t, err)
	t.Cleanup(func() { connection.Close() })
	return run(t, "TCP", func() error {
		time.Sleep(tick)
		if _, err := io.WriteString(connection, "x"); err != nil {
			return err
		}
		if n, err := connection.Read(make([]byte, 1)); n == 0 {
			return errors.Join(errors.New("nothing came"), err)
		}
		return nil
	})
}
