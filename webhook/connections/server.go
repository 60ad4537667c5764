package connections

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/webhook"
)

// Bounds are what callers may take of a server.
type Bounds struct {
	Connections int           // open at a time, of all callers
	Streams     int           // requests at a time of one connection, over HTTP/2
	Headers     time.Duration // from the start of a connection to the end of its handshake, and from there to the headers
	Request     time.Duration // headers and body
	Answer      time.Duration // from the headers of a request to the end of the answer
	Idle        time.Duration // of a connection without a request
	HeaderBytes int
	FrameBytes  int // of HTTP/2: a connection keeps a buffer as large as the largest frame that was announced on it
}

// DefaultBounds are for the API server's replicas, each of which has a few connections, and for a replica of 256 MiB.
func DefaultBounds() Bounds {
	return Bounds{
		Connections: 512,
		Streams:     100,
		Headers:     30 * time.Second, // of the API server many calls wait for one handshake
		Request:     30 * time.Second,
		Answer:      30 * time.Second, // as all three, the longest that the API server waits for a webhook
		Idle:        90 * time.Second, // the API server's own
		HeaderBytes: 16 << 10,
		FrameBytes:  16 << 10, // the least that HTTP/2 allows
	}
}

// Options say what is served where.
type Options struct {
	Address      string            // host:port; without a host all addresses
	ConfigureTLS func(*tls.Config) // sets GetCertificate
	Bounds       Bounds
	Registerer   prometheus.Registerer
	Logger       logr.Logger
}

// Server is controller-runtime's webhook server, with bounds.
type Server struct {
	options  Options
	handlers *webhook.DefaultServer // knows them, and serves none
	mux      *http.ServeMux
	limiter  *limiter
	at       atomic.Pointer[net.TCPAddr] // nil: it does not listen yet
}

var _ webhook.Server = (*Server)(nil)

// NewServer registers metrics. It listens from [Server.Start] on.
func NewServer(o Options) (*Server, error) {
	s := &Server{options: o, mux: http.NewServeMux()}
	s.handlers = &webhook.DefaultServer{Options: webhook.Options{WebhookMux: s.mux}}
	closed, err := s.register()
	if err != nil {
		return nil, err
	}
	s.limiter = newLimiter(o.Bounds.Connections, closed)
	return s, nil
}

// register returns what counts connections that were closed.
func (s *Server) register() (func(why), error) {
	open := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "spire_injector_webhook_connections",
		Help: "Open connections to the webhook's port.",
	}, func() float64 { return float64(s.limiter.count()) })
	closed := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "spire_injector_webhook_connections_closed_total",
		Help: "Connections to the webhook's port that were closed because there were too many, by reason: evicted, while " +
			"at rest, for another one; refused, because none was at rest.",
	}, []string{"reason"})
	for _, reason := range []why{evicted, refused} {
		closed.WithLabelValues(string(reason))
	}
	if err := errors.Join(s.options.Registerer.Register(open), s.options.Registerer.Register(closed)); err != nil {
		return nil, err
	}
	return func(reason why) { closed.WithLabelValues(string(reason)).Inc() }, nil
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
	server := s.newHTTPServer(ctx)
	ended := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() { ended <- server.Shutdown(context.WithoutCancel(ctx)) })
	s.at.Store(accepting.Addr().(*net.TCPAddr))
	err = server.Serve(tls.NewListener(listener{accepting, s.limiter}, config))
	if stop() || !errors.Is(err, http.ErrServerClosed) {
		return errors.Join(err, server.Close())
	}
	return <-ended
}

func (s *Server) newHTTPServer(ctx context.Context) *http.Server {
	b := s.options.Bounds
	return &http.Server{
		Handler: s.mux,
		// Requests in flight outlive ctx.
		BaseContext:       func(net.Listener) context.Context { return context.WithoutCancel(ctx) },
		ConnState:         s.limiter.observe,
		ErrorLog:          log.New(&errorLog{logger: s.options.Logger, some: rate.Sometimes{Interval: logInterval}}, "", 0),
		ReadHeaderTimeout: b.Headers,
		ReadTimeout:       b.Request,
		WriteTimeout:      b.Answer,
		IdleTimeout:       b.Idle,
		MaxHeaderBytes:    b.HeaderBytes,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: b.Streams,
			MaxReadFrameSize:     b.FrameBytes,
			WriteByteTimeout:     b.Request,
		},
	}
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

// logInterval is between two lines: whoever reaches the port can make handshakes fail.
const logInterval = time.Second

// errorLog takes what the server reports of connections that fail, and writes some of it.
type errorLog struct {
	logger logr.Logger
	some   rate.Sometimes
}

func (l *errorLog) Write(line []byte) (int, error) {
	l.some.Do(func() {
		l.logger.Info("a connection failed; of such lines one a second is written", "error", string(line))
	})
	return len(line), nil
}
