package connections

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync/atomic"

	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/webhook"
)

// Server is controller-runtime's webhook server, with bounds.
type Server struct {
	*port
	options  Options
	handlers *webhook.DefaultServer // knows them, and serves none
	mux      *http.ServeMux
	at       atomic.Pointer[net.TCPAddr] // nil: it does not listen yet
}

var _ webhook.Server = (*Server)(nil)

// NewServer registers metrics. It listens from [Server.Start] on.
func NewServer(o Options) (*Server, error) {
	p, err := newPort(o)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	handlers := &webhook.DefaultServer{Options: webhook.Options{WebhookMux: mux}}
	return &Server{port: p, options: o, handlers: handlers, mux: mux}, nil
}

// NeedLeaderElection says that each replica answers.
func (*Server) NeedLeaderElection() bool { return false }

// Register has a handler answer at a path, which must not have one.
func (s *Server) Register(path string, handler http.Handler) { s.handlers.Register(path, handler) }

// WebhookMux has the registered handlers.
func (s *Server) WebhookMux() *http.ServeMux { return s.mux }

// Start serves until ctx is done, and then for as long as requests in flight take.
func (s *Server) Start(ctx context.Context) error {
	accepting, err := (&net.ListenConfig{}).Listen(ctx, "tcp", s.options.Address)
	if err != nil {
		return fmt.Errorf("listening for the API server: %w", err)
	}
	config := &tls.Config{NextProtos: []string{"h2"}, MinVersion: tls.VersionTLS13}
	s.options.ConfigureTLS(config)
	server := s.newHTTPServer(ctx, s.mux)
	ended := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() { ended <- server.Shutdown(context.WithoutCancel(ctx)) })
	s.at.Store(accepting.Addr().(*net.TCPAddr))
	err = server.Serve(tls.NewListener(listener{accepting, s.limiter}, config))
	if stop() || !errors.Is(err, http.ErrServerClosed) {
		return errors.Join(err, server.Close())
	}
	return <-ended
}

// StartedChecker fails until the server answers. It takes a connection for itself.
func (s *Server) StartedChecker() healthz.Checker {
	return func(r *http.Request) error {
		at := s.at.Load()
		if at == nil {
			return errors.New("the webhook's port is not open yet")
		}
		dialer := tls.Dialer{
			NetDialer: &net.Dialer{Timeout: s.options.Bounds.Headers},
			Config:    &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // that it answers is all that is asked
		}
		connection, err := dialer.DialContext(r.Context(), "tcp", s.local(at))
		if err != nil {
			return fmt.Errorf("the webhook's port does not answer: %w", err)
		}
		return connection.Close()
	}
}

// local is the address by which the process itself reaches the port. Without a host it is 127.0.0.1, which is there
// wherever IPv6 is not.
func (s *Server) local(at *net.TCPAddr) string {
	host, _, _ := net.SplitHostPort(s.options.Address) // it listens there
	return net.JoinHostPort(host, strconv.Itoa(at.Port))
}
