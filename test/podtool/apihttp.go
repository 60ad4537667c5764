package main

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// maxDelay bounds ?delay=, so that a typing mistake does not hold a connection for hours.
const maxDelay = time.Minute

// podHeader carries the name of the server that answered.
const podHeader = "X-Pod"

func newHTTPService(listener net.Listener, handler http.Handler) service {
	return serviceOf(newHTTPServer(handler), listener)
}

func newHTTPServer(handler http.Handler) *http.Server {
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		Protocols:         new(http.Protocols),
		// No IdleTimeout: a server that closes idle connections loses the request that is just
		// being sent, and a test would take that for a fault of the sidecar.
	}
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetUnencryptedHTTP2(true)
	return server
}

func serviceOf(server *http.Server, listener net.Listener) service {
	return service{
		protocol: "http",
		listener: listener,
		serve: func() error {
			if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
				return err
			}
			return nil
		},
		finish: server.Shutdown,
		cut:    func() { _ = server.Close() },
	}
}

// newHTTPSService serves HTTP/1.1 over TLS with a certificate of its own.
func newHTTPSService(listener net.Listener, handler http.Handler) (service, error) {
	_, certificate, err := newServingCertificate([]string{"localhost"})
	if err != nil {
		return service{listener: listener}, fmt.Errorf("making the serving certificate: %w", err)
	}
	config := &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}
	s := newHTTPService(tls.NewListener(listener, config), handler)
	s.protocol = "https"
	return s, nil
}

func newAPIHandler(name string, state *health, logger *slog.Logger) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api", answerOK)
	mux.HandleFunc("GET /echo", echoTo(name))
	mux.HandleFunc("GET /echo/", echoTo(name))
	mux.HandleFunc("GET /log/", func(w http.ResponseWriter, r *http.Request) {
		logger.Info("asked", "uri", r.RequestURI, "host", r.Host)
		answerOK(w, r)
	})
	mux.HandleFunc("GET /endless", answerEndlessly)
	state.register(mux)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(podHeader, name)
		mux.ServeHTTP(w, r)
	})
}

func answerOK(w http.ResponseWriter, r *http.Request) {
	delay, err := parseDelay(r.URL.Query().Get("delay"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	select {
	case <-time.After(delay):
		_, _ = io.WriteString(w, "ok\n")
	case <-r.Context().Done(): // the caller is gone, nobody reads an answer
	}
}

func answerEndlessly(w http.ResponseWriter, _ *http.Request) {
	for zeros := make([]byte, 16<<10); ; {
		if _, err := w.Write(zeros); err != nil {
			return
		}
	}
}

// arrived is what GET /echo answers: the request as it came.
type arrived struct {
	Pod      string      `json:"pod,omitempty"`
	Method   string      `json:"method"`
	URI      string      `json:"uri"`
	Protocol string      `json:"protocol"`
	Host     string      `json:"host"`
	TLS      bool        `json:"tls"`
	Headers  http.Header `json:"headers"`
}

func describeRequest(r *http.Request) arrived {
	return arrived{Method: r.Method, URI: r.RequestURI, Protocol: r.Proto, Host: r.Host, TLS: r.TLS != nil, Headers: r.Header}
}

func echoTo(name string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		came := describeRequest(r)
		came.Pod = name
		writeJSON(w, came)
	}
}

func writeJSON(w http.ResponseWriter, value any) {
	w.Header().Set("Content-Type", "application/json")
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(value) // a caller that is gone reads no error either
}

func parseDelay(value string) (time.Duration, error) {
	if value == "" {
		return 0, nil
	}
	delay, err := time.ParseDuration(value)
	if err != nil || delay < 0 || delay > maxDelay {
		return 0, fmt.Errorf("delay: expected a duration between 0s and %s, got %q", maxDelay, value)
	}
	return delay, nil
}
