// Package spireapi is the gRPC edge to the SPIRE server's Entry, Bundle and Trust Domain APIs: it converts, calls, and
// says in one error what went wrong and what to do. What to call, and what to make of the answer, is decided in package
// registrar.
package spireapi

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffegrpc/grpccredentials"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	bundlev1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/bundle/v1"
	entryv1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/entry/v1"
	trustdomainv1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/trustdomain/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"

	"github.com/spire-injector/spire-injector/registrar"
)

// Config says where the SPIRE server is and how to be known to it.
type Config struct {
	// ServerAddress is unix:///path of the server's private socket, where every caller is trusted, or host:port of
	// its TCP endpoint, where the caller needs an SVID with admin rights.
	ServerAddress string
	// AgentSocket is unix:///path of the Workload API that issues that SVID; unused with a server's socket.
	AgentSocket string
	// OnSVIDs, if set, is called with the own X.509-SVIDs whenever the agent has others, one call after the other; with
	// a server's socket never.
	OnSVIDs func([]*x509svid.SVID)
	// TrustDomain is the server's: over TCP it must present spiffe://<trust domain>/spire/server.
	TrustDomain spiffeid.TrustDomain
	// Connect, if set, makes the connections to the server in the place of the network.
	Connect func(ctx context.Context, address string) (net.Conn, error)
	// Observe, if set, is called after each call to the server: the method's bare name, as in
	// BatchCreateEntry, its code, and how long it took. It is called concurrently, and callers wait for it.
	Observe func(method string, code codes.Code, took time.Duration)
}

// Client calls one SPIRE server. It satisfies every interface of package registrar to SPIRE, and is safe for concurrent
// use.
type Client struct {
	server       string
	identity     *identity // nil over a Unix socket
	conn         *grpc.ClientConn
	entries      entryv1.EntryClient
	bundles      bundlev1.BundleClient
	trustDomains trustdomainv1.TrustDomainClient
	rights       rights

	reconnected chan struct{} // of one place
	stopWatch   context.CancelFunc
	watched     chan struct{}
}

var (
	_ registrar.API                = (*Client)(nil)
	_ registrar.EntryLister        = (*Client)(nil)
	_ registrar.EntryDeleter       = (*Client)(nil)
	_ registrar.BundleReader       = (*Client)(nil)
	_ registrar.BundleRefresher    = (*Client)(nil)
	_ registrar.RelationshipLister = (*Client)(nil)
	_ registrar.RelationshipWriter = (*Client)(nil)
)

// maxAnswer is far above a page of large entries; gRPC's own limit of 4 MiB is not.
const maxAnswer = 64 << 20

// Dial checks the configuration and returns at once: agent and server may come later, go away and come back. While
// one of them is missing, calls fail fast and say which. Close releases what Dial starts.
func Dial(cfg Config) (*Client, error) {
	if cfg.TrustDomain.IsZero() {
		return nil, errors.New("SPIRE server: no trust domain: give the one that the server serves")
	}
	c := &Client{server: cfg.ServerAddress}
	target, err := c.target(cfg)
	if err != nil {
		return nil, err
	}
	creds := insecure.NewCredentials()
	if c.identity != nil {
		serverID, err := spiffeid.FromSegments(cfg.TrustDomain, "spire", "server")
		if err != nil {
			return nil, errors.Join(err, c.Close())
		}
		creds = grpccredentials.MTLSClientCredentials(c.identity, c.identity, tlsconfig.AuthorizeID(serverID))
	}
	opts := append(reconnectOptions(), noticeSilence(), grpc.WithTransportCredentials(creds), grpc.WithIdleTimeout(0),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxAnswer)), grpc.WithChainUnaryInterceptor(c.rights.learning))
	if cfg.Connect != nil {
		opts = append(opts, grpc.WithContextDialer(cfg.Connect))
	}
	if cfg.Observe != nil {
		opts = append(opts, grpc.WithChainUnaryInterceptor(observing(cfg.Observe)))
	}
	c.conn, err = grpc.NewClient(target, opts...)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("SPIRE server address %q: %w", cfg.ServerAddress, err), c.Close())
	}
	c.entries, c.bundles, c.trustDomains = entryv1.NewEntryClient(
		c.conn,
	), bundlev1.NewBundleClient(
		c.conn,
	), trustdomainv1.NewTrustDomainClient(
		c.conn,
	)
	var ctx context.Context
	ctx, c.stopWatch = context.WithCancel(context.Background())
	c.reconnected, c.watched = make(chan struct{}, 1), make(chan struct{})
	go c.watch(ctx)
	return c, nil
}

// Ready says why calls cannot succeed yet for want of an own identity, or nil; it does not ask the server. It waits
// only until the SPIRE agent has been tried once.
func (c *Client) Ready(ctx context.Context) error {
	if c.identity == nil {
		return nil
	}
	_, err := c.identity.ready(ctx)
	return err
}

// Close ends the connection and what runs in the background.
func (c *Client) Close() error {
	var errs []error
	if c.stopWatch != nil {
		c.stopWatch()
		<-c.watched
	}
	if c.conn != nil {
		errs = append(errs, c.conn.Close())
	}
	if c.identity != nil {
		errs = append(errs, c.identity.close())
	}
	return errors.Join(errs...)
}

// target returns the gRPC target of the server's address, and over TCP starts to watch the own identity.
func (c *Client) target(cfg Config) (string, error) {
	if path, ok := strings.CutPrefix(cfg.ServerAddress, "unix://"); ok {
		if !strings.HasPrefix(path, "/") {
			return "", fmt.Errorf(
				"SPIRE server address %q: expected an absolute path, as in unix:///run/spire/private/api.sock",
				cfg.ServerAddress,
			)
		}
		return cfg.ServerAddress, nil
	}
	if host, port, err := net.SplitHostPort(cfg.ServerAddress); err != nil || host == "" || port == "" ||
		strings.Contains(host, "/") {
		return "", fmt.Errorf(
			"SPIRE server address %q: expected host:port, as in spire-server.spire:8081, or unix:///path",
			cfg.ServerAddress,
		)
	}
	if !strings.HasPrefix(cfg.AgentSocket, "unix:///") {
		return "", fmt.Errorf(
			"agent socket %q: a SPIRE server at %s wants to know its callers, so the socket of the local SPIRE agent is needed, "+
				"as in unix:///run/spire/sockets/agent.sock",
			cfg.AgentSocket,
			cfg.ServerAddress,
		)
	}
	var err error
	c.identity, err = watchIdentity(cfg.AgentSocket, cfg.OnSVIDs)
	// passthrough looks the name up with each attempt; gRPC's own resolver would do so at most every 30 s, too late
	// for a server that comes back with another address.
	return "passthrough:///" + cfg.ServerAddress, err
}

// reconnectOptions find a server that was away within about a second.
func reconnectOptions() []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithUserAgent("spire-injector"),
		grpc.WithNoProxy(),
		grpc.WithDisableServiceConfig(),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff: backoff.Config{
				BaseDelay:  100 * time.Millisecond,
				Multiplier: 1.6,
				Jitter:     0.2,
				MaxDelay:   time.Second,
			},
			MinConnectTimeout: 3 * time.Second,
		}),
	}
}

// noticeSilence finds a server that does not answer any more. Pings only while a call waits: SPIRE's server ends
// connections that ping when idle. Setting them also makes the kernel give up on a connection whose data nobody
// acknowledges for the timeout.
func noticeSilence() grpc.DialOption {
	return grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: 3 * time.Second})
}
