package spireapi

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"github.com/spiffe/go-spiffe/v2/workloadapi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/spire-injector/spire-injector/registrar"
)

// identity is this process' own X.509-SVID and bundle, watched in the background. Unlike go-spiffe's X509Source it
// exists before the agent does, and can say why there is no SVID.
type identity struct {
	socket  string
	onSVIDs func([]*x509svid.SVID) // may be nil
	client  *workloadapi.Client
	stop    context.CancelFunc
	ended   chan struct{}

	answered     chan struct{} // closed once the agent has been heard or found missing
	answeredOnce sync.Once
	issued       chan struct{} // closed once there has been an SVID
	issuedOnce   sync.Once

	mu      sync.Mutex
	current *workloadapi.X509Context // the last one received; an agent that is away takes nothing back
	err     error                    // why there is no newer one
}

// retryAgent is how long to wait before asking an agent again that was away or had no SVID for us.
const retryAgent = time.Second

func watchIdentity(socket string, onSVIDs func([]*x509svid.SVID)) (*identity, error) {
	ctx, stop := context.WithCancel(context.Background())
	// No pings: the stream never ends, and an agent closes connections that ping more than once in 5 minutes.
	client, err := workloadapi.New(ctx, workloadapi.WithAddr(socket), workloadapi.WithBackoffStrategy(steady{}),
		workloadapi.WithDialOptions(reconnectOptions()...))
	if err != nil {
		stop()
		return nil, fmt.Errorf("agent socket %q: %w", socket, err)
	}
	i := &identity{
		socket:   socket,
		onSVIDs:  onSVIDs,
		client:   client,
		stop:     stop,
		ended:    make(chan struct{}),
		answered: make(chan struct{}),
		issued:   make(chan struct{}),
	}
	go i.watch(ctx)
	return i, nil
}

func (i *identity) watch(ctx context.Context) {
	defer close(i.ended)
	for ctx.Err() == nil {
		// The watch retries by itself, but ends when the agent says Canceled (as it does when it shuts down) or
		// InvalidArgument.
		_ = i.client.WatchX509Context(ctx, i) // the watcher has got the error
		select {
		case <-ctx.Done():
		case <-time.After(retryAgent):
		}
	}
}

func (i *identity) close() error {
	i.stop()
	<-i.ended
	return i.client.Close()
}

// OnX509ContextUpdate implements workloadapi.X509ContextWatcher.
func (i *identity) OnX509ContextUpdate(x *workloadapi.X509Context) {
	if i.onSVIDs != nil {
		i.onSVIDs(x.SVIDs)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.current, i.err = x, nil
	i.issuedOnce.Do(func() { close(i.issued) })
	i.answeredOnce.Do(func() { close(i.answered) })
}

// OnX509ContextWatchError implements workloadapi.X509ContextWatcher.
func (i *identity) OnX509ContextWatchError(err error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.err = err
	i.answeredOnce.Do(func() { close(i.answered) })
}

// ready returns the own SPIFFE ID, or an error that says why there is no valid SVID. It waits only until the agent
// has been tried once.
func (i *identity) ready(ctx context.Context) (spiffeid.ID, error) {
	select {
	case <-i.answered:
	case <-ctx.Done():
		return spiffeid.ID{}, &registrar.Error{Kind: registrar.Unavailable, Err: context.Cause(ctx), Message: fmt.Sprintf(
			"the SPIRE agent at %s has not answered yet (%v): look at the agent's log, or allow more time",
			i.socket,
			context.Cause(ctx),
		)}
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.current != nil {
		svid := i.current.DefaultSVID()
		if expiry := svid.Certificates[0].NotAfter; time.Now().After(expiry) {
			return spiffeid.ID{}, &registrar.Error{Kind: registrar.Unavailable, Err: i.err, Message: fmt.Sprintf(
				"the injector's own SVID (%s) expired at %s and the SPIRE agent at %s has not renewed it (%v): look at the agent's log",
				svid.ID,
				expiry.UTC().Format(time.RFC3339),
				i.socket,
				i.err,
			)}
		}
		return svid.ID, nil
	}
	if status.Code(i.err) == codes.PermissionDenied {
		return spiffeid.ID{}, &registrar.Error{Kind: registrar.Unavailable, Err: i.err, Message: fmt.Sprintf(
			"the SPIRE agent at %s has no SVID for the injector (%s): create a registration entry with admin rights that selects the injector's "+
				"namespace and service account, with this node's agent (or an alias of it) as parent",
			i.socket,
			status.Convert(i.err).Message(),
		)}
	}
	return spiffeid.ID{}, &registrar.Error{Kind: registrar.Unavailable, Err: i.err, Message: fmt.Sprintf(
		"no SVID from the SPIRE agent at %s (%s): check that the agent runs on this node and that its socket's directory is mounted",
		i.socket,
		status.Convert(i.err).Message(),
	)}
}

// GetX509SVID implements x509svid.Source.
func (i *identity) GetX509SVID() (*x509svid.SVID, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.current == nil {
		return nil, errors.New("no SVID from the SPIRE agent yet")
	}
	return i.current.DefaultSVID(), nil
}

// GetX509BundleForTrustDomain implements x509bundle.Source.
func (i *identity) GetX509BundleForTrustDomain(td spiffeid.TrustDomain) (*x509bundle.Bundle, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.current == nil {
		return nil, errors.New("no bundle from the SPIRE agent yet")
	}
	return i.current.Bundles.GetX509BundleForTrustDomain(td)
}

// steady is a constant backoff: the agent is on the same node, and its default, up to 30 s, would be added to the
// outage.
type steady struct{}

func (steady) NewBackoff() workloadapi.Backoff { return steady{} }
func (steady) Next() time.Duration             { return retryAgent }
func (steady) Reset()                          {}
