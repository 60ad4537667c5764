package spiretest

import (
	"path/filepath"
	"sync"
	"testing"

	"github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Agent is a SPIRE agent's Workload API, which gives all callers the same X.509-SVID.
type Agent struct {
	workload.UnimplementedSpiffeWorkloadAPIServer
	ca   *CA
	path string

	mu      sync.Mutex
	svid    *x509svid.SVID
	refusal error // while there is no SVID
	changed chan struct{}
}

// NewAgent returns an agent that does not listen yet, and has no SVID for anybody.
func NewAgent(t testing.TB, ca *CA) *Agent {
	t.Helper()
	return &Agent{ca: ca, path: filepath.Join(shortTempDir(t), "agent.sock"), changed: make(chan struct{}),
		refusal: status.Error(codes.PermissionDenied, "no identity issued")}
}

// Address is that of the socket, present or not.
func (a *Agent) Address() string { return "unix://" + a.path }

// Serve listens until stop or the end of the test.
func (a *Agent) Serve(t testing.TB) (stop func()) {
	t.Helper()
	server := grpc.NewServer()
	workload.RegisterSpiffeWorkloadAPIServer(server, a)
	return serve(t, server, listen(t, "unix", a.path))
}

// Give sets the SVID and sends it to whoever watches.
func (a *Agent) Give(svid *x509svid.SVID) { a.set(svid, nil) }

// Refuse takes the SVID away and ends watches with the error.
func (a *Agent) Refuse(err error) { a.set(nil, err) }

func (a *Agent) set(svid *x509svid.SVID, refusal error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.svid, a.refusal = svid, refusal
	close(a.changed)
	a.changed = make(chan struct{})
}

// FetchX509SVID sends the SVID and each one that follows it.
func (a *Agent) FetchX509SVID(
	_ *workload.X509SVIDRequest,
	stream grpc.ServerStreamingServer[workload.X509SVIDResponse],
) error {
	for {
		a.mu.Lock()
		svid, refusal, changed := a.svid, a.refusal, a.changed
		a.mu.Unlock()
		if svid == nil {
			return refusal
		}
		chain, key, err := svid.MarshalRaw()
		if err != nil {
			return err
		}
		if err := stream.Send(&workload.X509SVIDResponse{Svids: []*workload.X509SVID{{
			SpiffeId: svid.ID.String(), X509Svid: chain, X509SvidKey: key, Bundle: a.ca.cert.Raw,
		}}}); err != nil {
			return err
		}
		select {
		case <-changed:
		case <-stream.Context().Done():
			return stream.Context().Err()
		}
	}
}
