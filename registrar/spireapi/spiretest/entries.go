package spiretest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	entryv1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/entry/v1"
	"github.com/spiffe/spire-api-sdk/proto/spire/api/types"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Entries returns copies of the entries, in the order of creation.
func (s *Server) Entries() []*types.Entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.entries.all()
}

// Put stores an entry unchecked, in the place of one with its ID.
func (s *Server) Put(e *types.Entry) {
	s.Delete(e.GetId())
	s.mu.Lock()
	defer s.mu.Unlock()
	s.entries.add(e)
}

// Delete removes the entry of this ID, if there is one.
func (s *Server) Delete(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.entries.delete(ofID(id))
}

// BatchCreateEntry creates each entry on its own. A duplicate is answered with ALREADY_EXISTS in two ways: with the
// stored entry if it has the same SPIFFE ID, parent and selectors, without it if a unique column stands in the way.
func (s *Server) BatchCreateEntry(
	_ context.Context,
	req *entryv1.BatchCreateEntryRequest,
) (*entryv1.BatchCreateEntryResponse, error) {
	return &entryv1.BatchCreateEntryResponse{
		Results: each(s, req.GetEntries(), func(e *types.Entry) *entryv1.BatchCreateEntryResponse_Result {
			st, stored := s.create(e)
			return &entryv1.BatchCreateEntryResponse_Result{Status: st, Entry: stored}
		}),
	}, nil
}

func (s *Server) create(e *types.Entry) (*types.Status, *types.Entry) {
	if st := s.invalid(e); st != nil {
		return st, nil
	}
	if i := s.entries.find(func(other *types.Entry) bool { return key(other) == key(e) }); i >= 0 {
		return result(codes.AlreadyExists, "similar entry already exists"), clone(s.entries.rows[i].value)
	}
	if e.GetId() == "" {
		return result(codes.Unimplemented, "this stand-in makes no entry IDs"), nil
	}
	if s.entries.find(ofID(e.GetId())) >= 0 {
		return result(
			codes.AlreadyExists,
			"failed to create entry: datastore-sql: UNIQUE constraint failed: registered_entries.entry_id",
		), nil
	}
	if st := s.unknownBundle(e, "create"); st != nil {
		return st, nil
	}
	if st := duplicates(e, "create"); st != nil {
		return st, nil
	}
	e = clone(e)
	e.CreatedAt = time.Now().Unix()
	s.entries.add(e)
	return result(codes.OK, "OK"), clone(e)
}

func (s *Server) invalid(e *types.Entry) *types.Status {
	id := e.GetSpiffeId()
	switch {
	case id.GetTrustDomain() != s.td.Name() || id.GetPath() == "" || strings.HasPrefix(id.GetPath(), "/spire/"):
		return result(
			codes.InvalidArgument,
			fmt.Sprintf("failed to convert entry: invalid spiffe ID: %q is not a workload in trust domain %q", id, s.td.Name()),
		)
	case e.GetParentId().GetTrustDomain() != s.td.Name() || e.GetParentId().GetPath() == "":
		return result(codes.InvalidArgument, "failed to convert entry: invalid parent ID")
	case len(e.GetSelectors()) == 0:
		return result(codes.InvalidArgument, "failed to convert entry: selector list is empty")
	case len(e.GetId()) > 255 || strings.ContainsFunc(e.GetId(), notEntryID):
		return result(
			codes.InvalidArgument,
			"failed to create entry: datastore-validation: invalid registration entry: entry ID contains invalid characters",
		)
	case e.GetX509SvidTtl() < 0 || e.GetJwtSvidTtl() < 0:
		return result(
			codes.InvalidArgument,
			"failed to create entry: datastore-validation: invalid registration entry: X509SvidTtl is not set",
		)
	}
	return nil
}

func notEntryID(r rune) bool {
	return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.", r)
}

// unknownBundle refuses federation with a trust domain that the server has no bundle of, and names the first one.
func (s *Server) unknownBundle(e *types.Entry, verb string) *types.Status {
	for _, td := range e.GetFederatesWith() {
		if s.bundles.find(ofTrustDomain[*types.Bundle](td)) < 0 {
			return result(
				codes.Internal,
				fmt.Sprintf("failed to %s entry: unable to find federated bundle %q", verb, "spiffe://"+td),
			)
		}
	}
	return nil
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
		return result(
			codes.AlreadyExists,
			"failed to "+verb+" entry: datastore-sql: UNIQUE constraint failed: dns_names.registered_entry_id, dns_names.value",
		)
	}
	return nil
}

// BatchUpdateEntry changes what the mask names and counts up the revision.
func (s *Server) BatchUpdateEntry(
	_ context.Context,
	req *entryv1.BatchUpdateEntryRequest,
) (*entryv1.BatchUpdateEntryResponse, error) {
	return &entryv1.BatchUpdateEntryResponse{
		Results: each(s, req.GetEntries(), func(e *types.Entry) *entryv1.BatchUpdateEntryResponse_Result {
			st, stored := s.update(e, req.GetInputMask())
			return &entryv1.BatchUpdateEntryResponse_Result{Status: st, Entry: stored}
		}),
	}, nil
}

func (s *Server) update(e *types.Entry, mask *types.EntryMask) (*types.Status, *types.Entry) {
	i := s.entries.find(ofID(e.GetId()))
	if i < 0 {
		return result(codes.NotFound, "failed to update entry"), nil
	}
	stored := s.entries.rows[i].value
	updated := clone(stored)
	if mask == nil {
		mask = everyField()
	}
	keep(mask, e, updated)
	if st := s.invalid(updated); st != nil {
		return st, nil
	}
	if st := duplicates(updated, "update"); st != nil {
		return st, nil
	}
	if st := s.unknownBundle(e, "update"); st != nil && mask.GetFederatesWith() {
		return st, nil
	}
	updated.RevisionNumber = stored.GetRevisionNumber() + 1
	s.entries.rows[i].value = clone(updated)
	return result(codes.OK, "OK"), updated
}

func everyField() *types.EntryMask {
	mask := &types.EntryMask{}
	fields := mask.ProtoReflect().Descriptor().Fields()
	for i := range fields.Len() {
		mask.ProtoReflect().Set(fields.Get(i), protoreflect.ValueOfBool(true))
	}
	return mask
}

// GetEntry returns the entry of this ID.
func (s *Server) GetEntry(_ context.Context, req *entryv1.GetEntryRequest) (*types.Entry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.entries.find(ofID(req.GetId()))
	if i < 0 {
		return nil, status.Error(codes.NotFound, "entry not found")
	}
	return clone(s.entries.rows[i].value), nil
}

// ListEntries pages through the entries that match; of the filters it knows the parent ID, and selectors that an entry
// has beside others.
func (s *Server) ListEntries(_ context.Context, req *entryv1.ListEntriesRequest) (*entryv1.ListEntriesResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	filter := req.GetFilter()
	if parent := filter.GetByParentId(); parent != nil &&
		(parent.GetTrustDomain() != s.td.Name() || parent.GetPath() == "") {
		return nil, status.Errorf(
			codes.InvalidArgument,
			"malformed parent ID filter: %q is not a member of trust domain %q",
			parent,
			s.td.Name(),
		)
	}
	if rest := proto.CloneOf(filter); rest != nil {
		if rest.ByParentId = nil; rest.GetBySelectors().GetMatch() == types.SelectorMatch_MATCH_SUPERSET {
			rest.BySelectors = nil
		}
		if proto.Size(rest) > 0 {
			return nil, status.Error(codes.Unimplemented, "this stand-in filters by parent ID and a superset of selectors only")
		}
	}
	page, next, err := s.entries.page(req.GetPageSize(), req.GetPageToken(), func(e *types.Entry) bool {
		for _, selector := range filter.GetBySelectors().GetSelectors() {
			if !slices.ContainsFunc(e.GetSelectors(), func(s *types.Selector) bool { return proto.Equal(s, selector) }) {
				return false
			}
		}
		return filter.GetByParentId() == nil || proto.Equal(e.GetParentId(), filter.GetByParentId())
	})
	if err != nil {
		return nil, err
	}
	return &entryv1.ListEntriesResponse{Entries: page, NextPageToken: next}, nil
}

// BatchDeleteEntry deletes each entry on its own.
func (s *Server) BatchDeleteEntry(
	_ context.Context,
	req *entryv1.BatchDeleteEntryRequest,
) (*entryv1.BatchDeleteEntryResponse, error) {
	return &entryv1.BatchDeleteEntryResponse{
		Results: each(s, req.GetIds(), func(id string) *entryv1.BatchDeleteEntryResponse_Result {
			st := result(codes.OK, "OK")
			switch {
			case id == "":
				st = result(codes.InvalidArgument, "missing entry ID")
			case !s.entries.delete(ofID(id)):
				st = result(codes.NotFound, "entry not found")
			}
			return &entryv1.BatchDeleteEntryResponse_Result{Status: st, Id: id}
		}),
	}, nil
}

func ofID(id string) func(*types.Entry) bool {
	return func(e *types.Entry) bool { return e.GetId() == id }
}

// key is what may exist only once.
func key(e *types.Entry) string {
	var selectors []string
	for _, s := range e.GetSelectors() {
		selectors = append(selectors, s.GetType()+":"+s.GetValue())
	}
	slices.Sort(selectors)
	id, parent := e.GetSpiffeId(), e.GetParentId()
	return strings.Join(
		append(
			[]string{id.GetTrustDomain() + id.GetPath(), parent.GetTrustDomain() + parent.GetPath()},
			slices.Compact(selectors)...),
		"\n",
	)
}

func clone(e *types.Entry) *types.Entry { return proto.CloneOf(e) }
