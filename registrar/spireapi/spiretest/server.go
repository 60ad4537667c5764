// Package spiretest runs, in the test's own process, stand-ins for a SPIRE server's Entry, Bundle and Trust Domain APIs
// and for a SPIRE agent's Workload API. They speak real gRPC over real sockets, and were compared with SPIRE 1.15.3.
package spiretest

import (
	"context"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffegrpc/grpccredentials"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"
	bundlev1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/bundle/v1"
	entryv1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/entry/v1"
	trustdomainv1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/trustdomain/v1"
	"github.com/spiffe/spire-api-sdk/proto/spire/api/types"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/proto"
)

// Server is a SPIRE server's APIs for one trust domain. Its zero value is not usable; see [NewServer].
type Server struct {
	entryv1.UnimplementedEntryServer
	bundlev1.UnimplementedBundleServer
	trustdomainv1.UnimplementedTrustDomainServer
	td spiffeid.TrustDomain

	mu            sync.Mutex
	entries       table[*types.Entry]
	bundles       table[*types.Bundle] // the own one among them
	relationships table[*types.FederationRelationship]
	published     map[string]*types.Bundle // what the bundle endpoints of foreign trust domains serve
	calls         map[string]int
	admins        map[spiffeid.ID]bool
	before        func(ctx context.Context, method string) error
	policy        func(req any) error
	tamper        func(resp any)
	maxAge        time.Duration
	connections   int
}

// NewServer returns a server without entries or foreign bundles that no one can reach yet.
func NewServer(td spiffeid.TrustDomain) *Server {
	s := &Server{td: td, published: map[string]*types.Bundle{}, calls: map[string]int{}, admins: map[spiffeid.ID]bool{}}
	s.bundles.add(&types.Bundle{TrustDomain: td.Name()})
	return s
}

// ServeUnix serves on a socket where every caller is trusted, until stop or the end of the test. It returns the
// address to dial.
func (s *Server) ServeUnix(t testing.TB) (address string, stop func()) {
	t.Helper()
	address = "unix://" + filepath.Join(shortTempDir(t), "api.sock")
	return address, s.ServeUnixAt(t, address)
}

// ServeUnixAt is ServeUnix at an address that ServeUnix returned, once it has been stopped.
func (s *Server) ServeUnixAt(t testing.TB, address string) (stop func()) {
	t.Helper()
	return s.serve(t, listen(t, "unix", strings.TrimPrefix(address, "unix://")))
}

// ServePipe serves in memory where every caller is trusted, until stop or the end of the test, which may be one of
// package synctest. It returns what makes the connections.
func (s *Server) ServePipe(t testing.TB) (connect func(context.Context, string) (net.Conn, error), stop func()) {
	t.Helper()
	lis := bufconn.Listen(pipeSize)
	return func(ctx context.Context, _ string) (net.Conn, error) { return lis.DialContext(ctx) }, s.serve(t, lis)
}

// pipeSize is how many bytes are on their way.
const pipeSize = 64 << 10

// ServeTLS serves on a TCP address as spiffe://<trust domain>/spire/server by the CA's word, until stop or the end of
// the test. Callers need an SVID of one of the admins.
func (s *Server) ServeTLS(t testing.TB, ca *CA, address string, admins ...spiffeid.ID) (serving string, stop func()) {
	t.Helper()
	return s.ServeTLSAs(t, ca, spiffeid.RequireFromPath(s.td, "/spire/server"), address, admins...)
}

// ServeTLSAs is ServeTLS under any SPIFFE ID.
func (s *Server) ServeTLSAs(
	t testing.TB,
	ca *CA,
	as spiffeid.ID,
	address string,
	admins ...spiffeid.ID,
) (serving string, stop func()) {
	t.Helper()
	for _, id := range admins {
		s.mu.Lock()
		s.admins[id] = true
		s.mu.Unlock()
	}
	lis := listen(t, "tcp", address)
	creds := grpccredentials.MTLSServerCredentials(ca.SVID(t, as, longTTL), ca.Bundle(), tlsconfig.AuthorizeAny())
	return lis.Addr().String(), s.serve(t, lis, grpc.Creds(creds))
}

func (s *Server) serve(t testing.TB, lis net.Listener, opts ...grpc.ServerOption) (stop func()) {
	s.mu.Lock()
	age := s.maxAge
	s.mu.Unlock()
	server := grpc.NewServer(
		append(opts, grpc.UnaryInterceptor(s.intercept), grpc.StatsHandler(connectionCounter{server: s}),
			grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionAge: age}))...)
	entryv1.RegisterEntryServer(server, s)
	bundlev1.RegisterBundleServer(server, s)
	trustdomainv1.RegisterTrustDomainServer(server, s)
	return serve(t, server, lis)
}

// Calls returns how often the method was called, refused calls included.
func (s *Server) Calls(method string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls[method]
}

// Before sets what runs before each method; an error is the answer.
func (s *Server) Before(f func(ctx context.Context, method string) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.before = f
}

// Refuse sets the authorization policy, which sees each request; an error is the answer.
func (s *Server) Refuse(f func(req any) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.policy = f
}

// Tamper sets what may change each answer.
func (s *Server) Tamper(f func(resp any)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tamper = f
}

// MaxConnectionAge sets, for what is served thereafter, how long a connection lives before the server ends it in an
// orderly way. Zero is no limit; SPIRE's is three minutes, over TCP.
func (s *Server) MaxConnectionAge(age time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.maxAge = age
}

// Connections returns how many were made so far.
func (s *Server) Connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.connections
}

// connectionCounter implements stats.Handler.
type connectionCounter struct{ server *Server }

func (connectionCounter) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context { return ctx }
func (connectionCounter) HandleRPC(context.Context, stats.RPCStats)                       {}
func (connectionCounter) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context {
	return ctx
}

func (c connectionCounter) HandleConn(_ context.Context, event stats.ConnStats) {
	if _, begins := event.(*stats.ConnBegin); begins {
		c.server.mu.Lock()
		defer c.server.mu.Unlock()
		c.server.connections++
	}
}

func (s *Server) intercept(
	ctx context.Context,
	req any,
	info *grpc.UnaryServerInfo,
	handle grpc.UnaryHandler,
) (any, error) {
	method := info.FullMethod[strings.LastIndex(info.FullMethod, "/")+1:]
	s.mu.Lock()
	s.calls[method]++
	before, tamper, policy := s.before, s.tamper, s.policy
	caller, overTLS := grpccredentials.PeerIDFromContext(ctx)
	denied := overTLS && !s.admins[caller]
	s.mu.Unlock()
	if denied {
		return nil, status.Errorf(codes.PermissionDenied, "authorization denied for method %s", info.FullMethod)
	}
	if before != nil {
		if err := before(ctx, method); err != nil {
			return nil, err
		}
	}
	if policy != nil {
		if err := policy(req); err != nil {
			return nil, err
		}
	}
	resp, err := handle(ctx, req)
	if err == nil && tamper != nil {
		tamper(resp)
	}
	return resp, err
}

// each is the results of a batch, whose items are worked through one by one.
func each[T, R any](s *Server, items []T, one func(T) R) []R {
	s.mu.Lock()
	defer s.mu.Unlock()
	results := make([]R, len(items))
	for i, item := range items {
		results[i] = one(item)
	}
	return results
}

func result(code codes.Code, message string) *types.Status {
	return &types.Status{Code: int32(code), Message: message} //nolint:gosec // codes are small
}

// keep makes the fields that a mask selects, by their names, equal to those of from, and leaves the others.
func keep(mask, from, to proto.Message) {
	source, target, selection := from.ProtoReflect(), to.ProtoReflect(), mask.ProtoReflect()
	for i := range selection.Descriptor().Fields().Len() {
		selected := selection.Descriptor().Fields().Get(i)
		field := target.Descriptor().Fields().ByName(selected.Name())
		if field == nil || !selection.Get(selected).Bool() {
			continue
		}
		if source.Has(field) {
			target.Set(field, source.Get(field))
		} else {
			target.Clear(field)
		}
	}
}
