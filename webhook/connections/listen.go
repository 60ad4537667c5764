package connections

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/manager"
)

// lastRequests is how long a replica that ends waits for requests in flight.
const lastRequests = time.Second

// Listen opens a port, over which a manager answers by the handler: in every replica, and before its caches are filled.
// It speaks HTTP/1 alone, so that there is one request at a time for each connection.
func Listen(ctx context.Context, o Options, handler http.Handler) (*manager.Server, error) {
	p, err := newPort(o)
	if err != nil {
		return nil, err
	}
	accepting, err := (&net.ListenConfig{}).Listen(ctx, "tcp", o.Address)
	if err != nil {
		return nil, fmt.Errorf("opening the port for %s: %w", o.Port, err)
	}
	accepting = listener{accepting, p.limiter}
	if o.ConfigureTLS != nil {
		config := &tls.Config{NextProtos: []string{"http/1.1"}, MinVersion: tls.VersionTLS13}
		o.ConfigureTLS(config)
		accepting = tls.NewListener(accepting, config)
	}
	return &manager.Server{
		Name:            o.Port,
		Server:          p.newHTTPServer(ctx, handler),
		Listener:        accepting,
		ShutdownTimeout: new(lastRequests),
	}, nil
}
