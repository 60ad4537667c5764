package envoy

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// exchange2 is a request and an answer of HTTP/2.
type exchange2 struct {
	name    string
	method  string // GET
	host    string // api.example.org
	path    string // /
	header  http.Header
	body    string
	trailer http.Header
	answer  func(http.ResponseWriter, *http.Request)
	edge    bool // a public port refuses it
}

func exchanges2() []exchange2 {
	many := func(n int) http.Header {
		out := http.Header{}
		for i := range n {
			out.Set(fmt.Sprintf("X-Header-%d", i), fmt.Sprint(i))
		}
		return out
	}
	long := strings.Repeat("~", 100<<10) // which HPACK makes no shorter
	return []exchange2{
		{name: "plain"},
		{name: "POST", method: "POST", body: "hello"},
		{name: "HEAD", method: "HEAD"},
		{name: "BAN", method: "BAN"},
		{name: "150 headers", header: many(150), edge: true},
		{name: "2000 headers", header: many(2000), edge: true},
		{name: "a long header", header: http.Header{"X-Long": {long}}, edge: true},
		{name: "long cookies", header: http.Header{"Cookie": {"a=" + long + "; b=" + long}}, edge: true},
		{name: "2000 headers in the answer", answer: func(w http.ResponseWriter, _ *http.Request) {
			for name, values := range many(2000) {
				w.Header()[name] = values
			}
		}},
		{name: "a long header in the answer", answer: func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X-Long", long) }},
		{name: "trailers", method: "POST", body: "hello", trailer: http.Header{"X-Sum": {"5"}}, header: http.Header{"Te": {"trailers"}}},
		{name: "trailers in the answer", answer: func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, "ok")
			w.Header().Set(http.TrailerPrefix+"X-Sum", "2")
		}},
		{name: "no 100-continue", method: "POST", body: "hello", header: http.Header{"Expect": {"100-continue"}},
			answer: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(401) }},
		{name: "100-continue", method: "POST", body: "hello", header: http.Header{"Expect": {"100-continue"}}},
		{name: "X-Forwarded-Proto", header: http.Header{"X-Forwarded-Proto": {"https"}}},
		{name: "Host with a port", host: "api.example.org:8080"},
		{name: "odd paths", path: "/a[b?x=[]"},
		{name: "599", answer: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(599) }},
		{name: "server", answer: func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Server", "app") }},
	}
}

// seen2 is what an app saw of a request, or a client of an answer.
type seen2 struct {
	First           string
	Header, Trailer http.Header
	Body            string
}

func (s seen2) stripped() seen2 {
	s.Header = s.Header.Clone()
	for _, name := range []string{"X-Forwarded-Client-Cert", "X-Forwarded-For", "X-Request-Id", "Date"} {
		delete(s.Header, name)
	}
	for _, header := range []http.Header{s.Header, s.Trailer} {
		for _, values := range header {
			for i, value := range values {
				values[i] = short(value)
			}
		}
	}
	return s
}

// TestUnchangedHTTP2 is [TestUnchanged] of an app and clients that speak HTTP/2.
func TestUnchangedHTTP2(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	seen, rows := map[string]seen2{}, map[string]exchange2{}
	for _, row := range exchanges2() {
		rows[row.name] = row
	}
	listener, port := listen(t)
	server := &http.Server{MaxHeaderBytes: 8 << 20, Protocols: new(http.Protocols), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		row := rows[r.Header.Get(rowHeader)]
		if row.answer != nil {
			row.answer(w, r)
		}
		var body []byte
		if r.Header.Get("Expect") == "" || row.answer == nil {
			body, _ = io.ReadAll(r.Body)
		}
		mu.Lock()
		defer mu.Unlock()
		seen[row.name] = seen2{r.Method + " " + r.Host + " " + r.RequestURI + " " + r.Proto, r.Header, r.Trailer, string(body)}
	})}
	server.Protocols.SetUnencryptedHTTP2(true)
	go server.Serve(listener)
	t.Cleanup(func() { server.Close() })
	app := port
	run := func(row exchange2, dial func() (net.Conn, error)) (appSaw, clientSaw seen2) {
		mu.Lock()
		delete(seen, row.name)
		mu.Unlock()
		client := row.ask(t, dial)
		mu.Lock()
		defer mu.Unlock()
		return seen[row.name].stripped(), client.stripped()
	}
	ways := startWays(t, app, ir.HTTP2)
	for _, row := range exchanges2() {
		wantApp, wantClient := run(row, dialTo(app))
		for _, way := range ways {
			gotApp, gotClient := run(row, way.dial)
			if way.public && row.edge {
				if gotApp.First != "" {
					t.Errorf("%s, by %s: the app saw it", row.name, way.name)
				}
				continue
			}
			if wantApp.Header.Get("X-Forwarded-Proto") == "" {
				delete(gotApp.Header, "X-Forwarded-Proto")
			}
			if diff := cmp.Diff([]seen2{wantApp, wantClient}, []seen2{gotApp, gotClient}); diff != "" {
				t.Errorf("%s, by %s (-without Envoy +with it):\n%.3000s", row.name, way.name, diff)
			}
		}
	}
}

// ask sends a request on a connection of its own.
func (e exchange2) ask(t *testing.T, dial func() (net.Conn, error)) seen2 {
	t.Helper()
	transport := &http.Transport{
		Protocols: new(http.Protocols), MaxResponseHeaderBytes: 8 << 20, ExpectContinueTimeout: 5 * time.Second, DisableCompression: true,
		DialContext: func(context.Context, string, string) (net.Conn, error) { return dial() },
	}
	transport.Protocols.SetUnencryptedHTTP2(true)
	defer transport.CloseIdleConnections()
	method, host, path := "GET", "api.example.org", "/"
	for _, set := range []struct {
		into  *string
		value string
	}{{&method, e.method}, {&host, e.host}, {&path, e.path}} {
		if set.value != "" {
			*set.into = set.value
		}
	}
	request, err := http.NewRequest(method, "http://"+host+path, nil)
	must(t, err)
	if e.header != nil {
		request.Header = e.header.Clone()
	}
	request.Header.Set(rowHeader, e.name)
	request.Trailer = e.trailer
	if e.body != "" {
		request.Body = io.NopCloser(strings.NewReader(e.body))
	}
	client := &http.Client{Timeout: 10 * time.Second, Transport: transport}
	response, err := client.Do(request)
	if err != nil {
		return seen2{First: err.Error()}
	}
	defer response.Body.Close()
	body, _ := io.ReadAll(response.Body)
	return seen2{fmt.Sprint(response.Proto, " ", response.StatusCode), response.Header, response.Trailer, string(body)}
}

// TestSchemeOfHTTP2 is that of the connection to the app, whatever its callers came with: servers insist on it.
func TestSchemeOfHTTP2(t *testing.T) {
	t.Parallel()
	schemes := make(chan string, 10)
	app := startSchemeApp(t, schemes)
	for _, way := range startWays(t, app, ir.HTTP2) {
		for _, proto := range []string{"", "https", "http"} {
			two, one := exchange2{name: "scheme", header: http.Header{}}, exchange{}
			if proto != "" {
				two.header.Set("X-Forwarded-Proto", proto)
				one.headers = []string{"X-Forwarded-Proto: " + proto}
			}
			if got := two.ask(t, way.dial).First; got != "HTTP/2.0 200" {
				t.Errorf("by %s: %s", way.name, got)
				continue
			}
			connection, err := way.dial()
			must(t, err)
			if got, err := one.complete().ask(connection); err != nil || !strings.HasPrefix(got.First, "HTTP/1.1 200") {
				t.Errorf("by %s: %s, %v", way.name, got.First, err)
				continue
			}
			if two, one := <-schemes, <-schemes; two != "http" || one != "http" {
				t.Errorf("by %s with X-Forwarded-Proto %q: the app saw the schemes %s, of HTTP/1 %s", way.name, proto, two, one)
			}
		}
	}
}

// startSchemeApp tells the scheme of each request, which Go's own server does not.
func startSchemeApp(t *testing.T, schemes chan<- string) uint16 {
	t.Helper()
	listener, port := listen(t)
	go serveEach(listener, func(connection net.Conn) { tellSchemes(connection, schemes) })
	return port
}

func tellSchemes(connection net.Conn, schemes chan<- string) {
	if _, err := io.ReadFull(connection, make([]byte, len(http2.ClientPreface))); err != nil {
		return
	}
	framer := http2.NewFramer(connection, connection)
	framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	_ = framer.WriteSettings()
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			return
		}
		switch f := frame.(type) {
		case *http2.SettingsFrame:
			if !f.IsAck() {
				_ = framer.WriteSettingsAck()
			}
		case *http2.PingFrame:
			_ = framer.WritePing(true, f.Data)
		case *http2.MetaHeadersFrame:
			schemes <- f.PseudoValue("scheme")
			var block bytes.Buffer
			_ = hpack.NewEncoder(&block).WriteField(hpack.HeaderField{Name: ":status", Value: "200"})
			_ = framer.WriteHeaders(http2.HeadersFrameParam{
				StreamID: f.StreamID, BlockFragment: block.Bytes(), EndStream: true, EndHeaders: true,
			})
		}
	}
}
