package scale

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/spire-injector/spire-injector/registrar"
	"github.com/spire-injector/spire-injector/registrar/spireapi"
)

// spire stands in for a SPIRE server: it holds entries, answers at once, and counts the requests that the client would
// make. What it costs itself does not depend on how many entries it holds, but for a list.
type spire struct {
	mu      sync.Mutex
	entries map[string]registrar.Entry
	calls   int
}

var _ registrar.Entries = (*spire)(nil)

func newSPIRE() *spire { return &spire{entries: map[string]registrar.Entry{}} }

func (s *spire) counts() (entries, calls int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.entries), s.calls
}

// CreateEntries implements [registrar.EntryCreator].
func (s *spire) CreateEntries(_ context.Context, entries []registrar.Entry) ([]registrar.CreateResult, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
	results := make([]registrar.CreateResult, len(entries))
	for i, e := range entries {
		there, existed := s.entries[e.ID]
		if !existed {
			s.entries[e.ID], there = e, e
		}
		results[i] = registrar.CreateResult{Existed: existed, Entry: &there}
	}
	return results, nil
}

// UpdateEntries implements [registrar.EntryUpdater]. The only fields that change here are the expiry and the parent.
func (s *spire) UpdateEntries(_ context.Context, entries []registrar.Entry, fields registrar.Fields) ([]registrar.UpdateResult, error) {
	if fields&^(registrar.FieldExpiresAt|registrar.FieldParentID) != 0 {
		return nil, fmt.Errorf("expected an update of expiry or parent, got %s", fields)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
	results := make([]registrar.UpdateResult, len(entries))
	for i, e := range entries {
		if _, there := s.entries[e.ID]; !there {
			results[i].Err = registrar.ErrNotFound
			continue
		}
		s.entries[e.ID], results[i].Entry = e, e
	}
	return results, nil
}

// DeleteEntries implements [registrar.EntryDeleter].
func (s *spire) DeleteEntries(_ context.Context, ids []string) ([]error, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
	for _, id := range ids {
		delete(s.entries, id)
	}
	return make([]error, len(ids)), nil
}

// ListEntries implements [registrar.EntryLister]. After the last page SPIRE has an empty one.
func (s *spire) ListEntries(context.Context, registrar.Cluster) ([]registrar.Entry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls += pagesOf(len(s.entries), spireapi.PageSize)
	return slices.Collect(maps.Values(s.entries)), nil
}

// pagesOf is how many requests it takes to read so many entries.
func pagesOf(entries, page int) int { return (entries+page-1)/page + 1 }

// GetEntry implements [registrar.EntryReader].
func (s *spire) GetEntry(_ context.Context, id string) (registrar.Entry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
	if e, there := s.entries[id]; there {
		return e, nil
	}
	return registrar.Entry{}, registrar.ErrNotFound
}

// FederatedBundles implements [registrar.BundleLister]: there are none.
func (s *spire) FederatedBundles(context.Context) ([]spiffeid.TrustDomain, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
	return nil, nil
}
