package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"

	"github.com/spf13/cobra"
)

// podHeader carries the name of the server that answered.
const podHeader = "X-Pod"

func newAPICommand() *cobra.Command {
	var listen, name string
	command := &cobra.Command{
		Use:   "api",
		Short: "Serve an API over HTTP",
		Long: `Serve an API on --listen over HTTP/1.1, and over HTTP/2 without TLS ("h2c") on the same port:

  GET /api             answers "ok"
  GET /echo, /echo/... answers, as JSON, with what arrived: protocol, URI, host and headers

The header X-Pod of every answer is --name. The log is JSON, one line per event. On SIGTERM the server
takes no new connections, finishes requests in flight and ends.`,
		Example: `  sample api --listen 127.0.0.1:8080
  sample get http://127.0.0.1:8080/api`,
		Args: noArguments,
		RunE: func(command *cobra.Command, _ []string) error {
			logger := newEventLog(command.OutOrStdout())
			listener, err := (&net.ListenConfig{}).Listen(command.Context(), "tcp", listen)
			if err != nil {
				return fmt.Errorf("--listen: %w", err)
			}
			logger.Info("listening", "protocol", "http", "address", listener.Addr().String())
			err = serveUntilDone(command.Context(), newHTTPServer(newAPIHandler(name)), listener)
			logger.Info("stopped")
			return err
		},
	}
	host, err := os.Hostname()
	if err != nil {
		host = "unnamed"
	}
	flags := command.Flags()
	flags.StringVar(&listen, "listen", "127.0.0.1:8080", "address for HTTP; port 0 takes a free one and logs it")
	flags.StringVar(&name, "name", host, "what answers call this server; a pod's host name is the pod's name")
	return command
}

func newAPIHandler(name string) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok\n") })
	mux.HandleFunc("GET /echo", echoTo(name))
	mux.HandleFunc("GET /echo/", echoTo(name))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(podHeader, name)
		mux.ServeHTTP(w, r)
	})
}

// arrived is what GET /echo answers: the request as it came.
type arrived struct {
	Pod      string      `json:"pod"`
	Method   string      `json:"method"`
	URI      string      `json:"uri"`
	Protocol string      `json:"protocol"`
	Host     string      `json:"host"`
	TLS      bool        `json:"tls"`
	Headers  http.Header `json:"headers"`
}

func echoTo(name string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		encoder := json.NewEncoder(w)
		encoder.SetEscapeHTML(false)
		_ = encoder.Encode(arrived{ // a caller that is gone reads no error either
			Pod:      name,
			Method:   r.Method,
			URI:      r.RequestURI,
			Protocol: r.Proto,
			Host:     r.Host,
			TLS:      r.TLS != nil,
			Headers:  r.Header,
		})
	}
}
