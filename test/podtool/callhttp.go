package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"time"
)

// bodyExcerpt bounds, in bytes, how much of an answer's body is kept: enough for the whole of
// Envoy's "upstream connect error …", which carries the reason of the TLS failure.
const bodyExcerpt = 1024

// millisecondTime is RFC 3339 with exactly three decimals, so that lines align and sort.
const millisecondTime = "2006-01-02T15:04:05.000Z07:00"

// answer is what became of one request.
type answer struct {
	Started time.Time
	// Latency lasts until the body's last byte.
	Latency time.Duration
	// Protocol is what was spoken if not HTTP, the only one whose answers have a Status.
	Protocol string
	// Status is 0 when no answer came.
	Status int
	// Pod names the server, if an answer came that says so.
	Pod string
	// Body is at most bodyExcerpt bytes of the answer's body.
	Body string
	// Reused tells whether the request went out on a connection that had already served another.
	Reused bool
	// Err is the reason why no, or no complete, answer came.
	Err error
}

// failed: anything but a complete answer, over HTTP one with 2xx.
func (a answer) failed() bool {
	return a.Err != nil || a.Protocol == "" && (a.Status < 200 || a.Status > 299)
}

// statusText is the status code, or "answered" where a protocol has none, or "error" when no complete
// answer came.
func (a answer) statusText() string {
	switch {
	case a.Err != nil:
		return "error"
	case a.Protocol != "":
		return "answered"
	}
	return fmt.Sprint(a.Status)
}

// newTransport returns a transport for plain HTTP/1.1 that takes no proxy from the environment:
// the answer has to come from the address in the URL.
func newTransport(keepAlive bool) *http.Transport {
	return &http.Transport{
		DisableKeepAlives:  !keepAlive,
		DisableCompression: true,
		// Every caller of ours may keep its connection: the default of two per host would close
		// and open connections all the time, which is a different load.
		MaxIdleConnsPerHost: 1 << 16,
	}
}

// httpCaller may be used by several workers at a time.
type httpCaller struct {
	url       string
	transport *http.Transport
}

func newHTTPCaller(url string, keepAlive bool) httpCaller {
	return httpCaller{url: url, transport: newTransport(keepAlive)}
}

func (c httpCaller) call(ctx context.Context, timeout time.Duration) answer {
	return call(ctx, c.transport, c.url, timeout)
}

func (c httpCaller) close() { c.transport.CloseIdleConnections() }

// call sends one GET over the transport, once, reads the whole answer, and gives up after timeout.
//
// It uses the transport and not an http.Client, because a client follows redirects and would then
// report the answer to another request.
func call(ctx context.Context, transport http.RoundTripper, target string, timeout time.Duration) answer {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()

	result := answer{Started: time.Now()}
	attempts := 0
	traced := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(connection httptrace.GotConnInfo) {
			attempts++
			result.Reused = connection.Reused
		},
	})
	request, err := newUnrepeatableRequest(traced, target)
	if err != nil {
		result.Err = err
		return result
	}
	response, err := transport.RoundTrip(request)
	if err == nil {
		result.Status, result.Pod = response.StatusCode, response.Header.Get(podHeader)
		result.Body, err = readExcerpt(response.Body)
	}
	result.Latency = time.Since(result.Started)
	switch {
	case err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded):
		result.Err = fmt.Errorf("no complete answer within %s: %w", timeout, err)
	case err != nil:
		result.Err = err
	case attempts > 1:
		// newUnrepeatableRequest is meant to exclude this. Were it to come back with another
		// version of net/http, it must not pass as a success.
		result.Err = fmt.Errorf("the request was sent %d times before it was answered", attempts)
	}
	return result
}

// newUnrepeatableRequest returns a GET that net/http never sends a second time by itself.
//
// http.Transport repeats a request silently when a reused connection breaks before the answer's
// first byte, provided that the request is idempotent and has no body or one that GetBody can
// supply again. A server that drops connections would then look flawless. A body that cannot be
// supplied again switches this off in every case, and an empty one changes nothing on the wire:
// for a GET the transport looks into the body first and, finding nothing, sends none.
func newUnrepeatableRequest(ctx context.Context, target string) (*http.Request, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, target, http.NoBody)
	if err != nil {
		return nil, err
	}
	request.Body = io.NopCloser(strings.NewReader(""))
	request.GetBody = nil
	return request, nil
}

// readExcerpt reads body to its end and returns its beginning.
func readExcerpt(body io.ReadCloser) (excerpt string, err error) {
	defer func() { err = errors.Join(err, body.Close()) }()
	var kept bytes.Buffer
	if _, err := io.CopyN(&kept, body, bodyExcerpt); err != nil && !errors.Is(err, io.EOF) {
		return kept.String(), err
	}
	_, err = io.Copy(io.Discard, body)
	return kept.String(), err
}

// checkURL refuses what would make every single request fail.
func checkURL(target string) error {
	parsed, err := url.Parse(target)
	if err != nil {
		return usagef("%w", err)
	}
	if parsed.Scheme != "http" || parsed.Host == "" {
		return usagef("expected a URL like http://127.0.0.1:8000/api, got %q (https is the sidecar's task)", target)
	}
	return nil
}

// checkPositive refuses durations that would spin or end before they begin.
func checkPositive(flag string, value time.Duration) error {
	if value <= 0 {
		return usagef("--%s: expected a duration above zero, got %s", flag, value)
	}
	return nil
}
