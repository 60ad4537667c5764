package connections

import (
	"context"
	"crypto/tls"
	"errors"
	"log"
	"net"
	"net/http"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"
)

// Options say what is served where.
type Options struct {
	Port         string            // its name, in metrics and errors
	Address      string            // host:port; without a host all addresses
	ConfigureTLS func(*tls.Config) // sets GetCertificate; nil: plain text, which the webhook does not speak
	Bounds       Bounds
	Registerer   prometheus.Registerer
	Logger       logr.Logger
}

// port bounds what callers take of one server.
type port struct {
	bounds  Bounds
	logger  logr.Logger
	limiter *limiter
}

// newPort registers metrics.
func newPort(o Options) (*port, error) {
	p := &port{bounds: o.Bounds, logger: o.Logger}
	name := prometheus.Labels{"port": o.Port}
	open := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name:        "spire_injector_connections",
		Help:        "Open connections to a port of the injector.",
		ConstLabels: name,
	}, func() float64 { return float64(p.limiter.count()) })
	closed := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "spire_injector_connections_closed_total",
		Help: "Connections to a port of the injector that were closed because there were too many, by reason: evicted for " +
			"another one; refused, because none could be evicted.",
		ConstLabels: name,
	}, []string{"reason"})
	for _, reason := range []why{evicted, refused} {
		closed.WithLabelValues(string(reason))
	}
	p.limiter = newLimiter(o.Bounds.Connections, func(reason why) { closed.WithLabelValues(string(reason)).Inc() })
	return p, errors.Join(o.Registerer.Register(open), o.Registerer.Register(closed))
}

// newHTTPServer is to serve what a [listener] of the port accepts. Requests in flight outlive ctx.
func (p *port) newHTTPServer(ctx context.Context, handler http.Handler) *http.Server {
	b := p.bounds
	server := &http.Server{
		Handler:           handler,
		BaseContext:       func(net.Listener) context.Context { return context.WithoutCancel(ctx) },
		ErrorLog:          log.New(&errorLog{logger: p.logger, some: rate.Sometimes{Interval: logInterval}}, "", 0),
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
	if !b.Interrupt { // without ConnState a connection rests from its start to its end
		server.ConnState = p.limiter.observe
	}
	return server
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
