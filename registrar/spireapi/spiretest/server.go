// Package spiretest runs, in the test's own process, stand-ins for a SPIRE server's Entry API and for a SPIRE
// agent's Workload API. They speak real gRPC over real sockets, and were compared with SPIRE 1.15.3.
package spiretest

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/spiffe/go-spiffe/v2/spiffegrpc/grpccredentials"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"
	entryv1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/entry/v1"
	"github.com/spiffe/spire-api-sdk/proto/spire/api/types"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// Server is a SPIRE server's Entry API for one trust domain. Its zero value is not usable; see [NewServer].
type Server struct {
	entryv1.UnimplementedEntryServer
	td spiffeid.TrustDomain

	mu      sync.Mutex
	entries []*types.Entry
	calls   map[string]int
	admins  map[spiffeid.ID]bool
	before  func(ctx context.Context, method string) error
	tamper  func(resp any)
}

// NewServer returns a server without entries that no one can reach yet.
func NewServer(td spiffeid.TrustDomain) *Server {
	return &Server{td: td, calls: map[string]int{}, admins: map[spiffeid.ID]bool{}}
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

// ServeTLS serves on a TCP address as spiffe://<trust domain>/spire/server by the CA's word, until stop or the end of
// the test. Callers need an SVID of one of the admins.
func (s *Server) ServeTLS(t testing.TB, ca *CA, address string, admins ...spiffeid.ID) (serving string, stop func()) {
	t.Helper()
	return s.ServeTLSAs(t, ca, spiffeid.RequireFromPath(s.td, "/spire/server"), address, admins...)
}

// ServeTLSAs is ServeTLS under any SPIFFE ID.
func (s *Server) ServeTLSAs(t testing.TB, ca *CA, as spiffeid.ID, address string, admins ...spiffeid.ID) (serving string, stop func()) {
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
	server := grpc.NewServer(append(opts, grpc.UnaryInterceptor(s.intercept))...)
	entryv1.RegisterEntryServer(server, s)
	return serve(t, server, lis)
}

// Calls returns how often the method of the Entry service was called, refused calls included.
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

// Tamper sets what may change each answer.
func (s *Server) Tamper(f func(resp any)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tamper = f
}

// Entries returns copies of the entries, in the order of creation.
func (s *Server) Entries() []*types.Entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []*types.Entry
	for _, e := range s.entries {
		all = append(all, clone(e))
	}
	return all
}

// Put stores an entry unchecked, in the place of one with its ID.
func (s *Server) Put(e *types.Entry) {
	s.Delete(e.GetId())
	s.mu.Lock()
	defer s.mu.Unlock()
	s.entries = append(s.entries, clone(e))
}

// Delete removes the entry of this ID, if there is one.
func (s *Server) Delete(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.entries = slices.DeleteFunc(s.entries, func(e *types.Entry) bool { return e.GetId() == id })
}

func (s *Server) intercept(ctx context.Context, req any, info *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	method := info.FullMethod[strings.LastIndex(info.FullMethod, "/")+1:]
	s.mu.Lock()
	s.calls[method]++
	before, tamper := s.before, s.tamper
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
	resp, err := handle(ctx, req)
	if err == nil && tamper != nil {
		tamper(resp)
	}
	return resp, err
}

// BatchCreateEntry creates each entry on its own. A duplicate is answered with ALREADY_EXISTS in two ways: with the
// stored entry if it has the same SPIFFE ID, parent and selectors, without it if a unique column stands in the way.
func (s *Server) BatchCreateEntry(_ context.Context, req *entryv1.BatchCreateEntryRequest) (*entryv1.BatchCreateEntryResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	resp := &entryv1.BatchCreateEntryResponse{}
	for _, e := range req.GetEntries() {
		st, stored := s.create(e)
		resp.Results = append(resp.Results, &entryv1.BatchCreateEntryResponse_Result{Status: st, Entry: stored})
	}
	return resp, nil
}

func (s *Server) create(e *types.Entry) (*types.Status, *types.Entry) {
	if st := s.invalid(e); st != nil {
		return st, nil
	}
	for _, other := range s.entries {
		if key(other) == key(e) {
			return result(codes.AlreadyExists, "similar entry already exists"), clone(other)
		}
	}
	if e.GetId() == "" {
		return result(codes.Unimplemented, "this stand-in makes no entry IDs"), nil
	}
	if s.find(e.GetId()) >= 0 {
		return result(codes.AlreadyExists, "failed to create entry: datastore-sql: UNIQUE constraint failed: registered_entries.entry_id"), nil
	}
	if st := unknownBundle(e, "create"); st != nil {
		return st, nil
	}
	if st := duplicates(e, "create"); st != nil {
		return st, nil
	}
	s.entries = append(s.entries, clone(e))
	return result(codes.OK, "OK"), clone(e)
}

func (s *Server) invalid(e *types.Entry) *types.Status {
	id := e.GetSpiffeId()
	switch {
	case id.GetTrustDomain() != s.td.Name() || id.GetPath() == "" || strings.HasPrefix(id.GetPath(), "/spire/"):
		return result(codes.InvalidArgument, fmt.Sprintf("failed to convert entry: invalid spiffe ID: %q is not a workload in trust domain %q", id, s.td.Name()))
	case e.GetParentId().GetTrustDomain() != s.td.Name() || e.GetParentId().GetPath() == "":
		return result(codes.InvalidArgument, "failed to convert entry: invalid parent ID")
	case len(e.GetSelectors()) == 0:
		return result(codes.InvalidArgument, "failed to convert entry: selector list is empty")
	case len(e.GetId()) > 255 || strings.ContainsFunc(e.GetId(), notEntryID):
		return result(codes.InvalidArgument, "failed to create entry: datastore-validation: invalid registration entry: entry ID contains invalid characters")
	case e.GetX509SvidTtl() < 0 || e.GetJwtSvidTtl() < 0:
		return result(codes.InvalidArgument, "failed to create entry: datastore-validation: invalid registration entry: X509SvidTtl is not set")
	}
	return nil
}

func notEntryID(r rune) bool {
	return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.", r)
}

// unknownBundle refuses all federation, for this server has no foreign bundles.
func unknownBundle(e *types.Entry, verb string) *types.Status {
	if len(e.GetFederatesWith()) == 0 {
		return nil
	}
	return result(codes.Internal, fmt.Sprintf("failed to %s entry: unable to find federated bundle %q", verb, "spiffe://"+e.GetFederatesWith()[0]))
}

// duplicates is the constraint that lists in one request run into.
func duplicates(e *types.Entry, verb string) *types.Status {
	seen := map[string]bool{}
	for _, s := range e.GetSelectors() {
		if v := s.GetType() + ":" + s.GetValue(); seen[v] {
			return result(codes.AlreadyExists, "failed to "+verb+" entry: datastore-sql: UNIQUE constraint failed: "+
				"selectors.registered_entry_id, selectors.type, selectors.value")
		} else {
			seen[v] = true
		}
	}
	names := slices.Sorted(slices.Values(e.GetDnsNames()))
	if len(slices.Compact(names)) != len(e.GetDnsNames()) {
		return result(codes.AlreadyExists, "failed to "+verb+" entry: datastore-sql: UNIQUE constraint failed: dns_names.registered_entry_id, dns_names.value")
	}
	return nil
}

// BatchUpdateEntry changes what the mask names and counts up the revision.
func (s *Server) BatchUpdateEntry(_ context.Context, req *entryv1.BatchUpdateEntryRequest) (*entryv1.BatchUpdateEntryResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	resp := &entryv1.BatchUpdateEntryResponse{}
	for _, e := range req.GetEntries() {
		st, stored := s.update(e, req.GetInputMask())
		resp.Results = append(resp.Results, &entryv1.BatchUpdateEntryResponse_Result{Status: st, Entry: stored})
	}
	return resp, nil
}

func (s *Server) update(e *types.Entry, mask *types.EntryMask) (*types.Status, *types.Entry) {
	i := s.find(e.GetId())
	if i < 0 {
		return result(codes.NotFound, "failed to update entry"), nil
	}
	updated := clone(s.entries[i])
	from, to, fields := e.ProtoReflect(), updated.ProtoReflect(), mask.ProtoReflect()
	for n := range to.Descriptor().Fields().Len() {
		field := to.Descriptor().Fields().Get(n)
		selected := fields.Descriptor().Fields().ByName(field.Name())
		if selected == nil || mask != nil && !fields.Get(selected).Bool() {
			continue
		}
		if from.Has(field) {
			to.Set(field, from.Get(field))
		} else {
			to.Clear(field)
		}
	}
	if st := s.invalid(updated); st != nil {
		return st, nil
	}
	if st := duplicates(updated, "update"); st != nil {
		return st, nil
	}
	if st := unknownBundle(updated, "update"); st != nil {
		return st, nil
	}
	updated.RevisionNumber = s.entries[i].GetRevisionNumber() + 1
	s.entries[i] = clone(updated)
	return result(codes.OK, "OK"), updated
}

// GetEntry returns the entry of this ID.
func (s *Server) GetEntry(_ context.Context, req *entryv1.GetEntryRequest) (*types.Entry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.find(req.GetId())
	if i < 0 {
		return nil, status.Error(codes.NotFound, "entry not found")
	}
	return clone(s.entries[i]), nil
}

func (s *Server) find(id string) int {
	return slices.IndexFunc(s.entries, func(e *types.Entry) bool { return e.GetId() == id })
}

// key is what may exist only once.
func key(e *types.Entry) string {
	var selectors []string
	for _, s := range e.GetSelectors() {
		selectors = append(selectors, s.GetType()+":"+s.GetValue())
	}
	slices.Sort(selectors)
	id, parent := e.GetSpiffeId(), e.GetParentId()
	return strings.Join(append([]string{id.GetTrustDomain() + id.GetPath(), parent.GetTrustDomain() + parent.GetPath()}, slices.Compact(selectors)...), "\n")
}

func result(code codes.Code, message string) *types.Status {
	return &types.Status{Code: int32(code), Message: message} //nolint:gosec // codes are small
}

func clone(e *types.Entry) *types.Entry { return proto.CloneOf(e) }
