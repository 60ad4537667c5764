package spireapi

import (
	"cmp"
	"context"
	"fmt"

	entryv1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/entry/v1"
	"github.com/spiffe/spire-api-sdk/proto/spire/api/types"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/spire-injector/spire-injector/registrar"
)

// CreateEntries implements [registrar.EntryCreator].
func (c *Client) CreateEntries(ctx context.Context, entries []registrar.Entry) ([]registrar.CreateResult, error) {
	results := make([]registrar.CreateResult, len(entries))
	valid := convert(entries, toProto, func(i int, err error) { results[i].Err = err })
	err := inBatches(valid, entrySize, func(batch []entryItem) error {
		call := c.call("BatchCreateEntry", asked(batch)...)
		if err := call.prepare(ctx); err != nil {
			return err
		}
		resp, err := c.entries.BatchCreateEntry(ctx, &entryv1.BatchCreateEntryRequest{Entries: sent(batch)})
		if err != nil {
			return call.failed(ctx, err)
		}
		if got, want := len(resp.GetResults()), len(batch); got != want {
			return call.nonsense("%d results for %d entries", got, want)
		}
		for i, it := range batch {
			results[it.index] = call.created(it.asked, resp.GetResults()[i])
		}
		return nil
	}, func(it entryItem, err error) { results[it.index].Err = err })
	if err != nil {
		return nil, err
	}
	return results, nil
}

type entryItem = item[registrar.Entry, *types.Entry]

func entrySize(it entryItem) int { return proto.Size(it.sent) }

func (c *call) created(asked registrar.Entry, r *entryv1.BatchCreateEntryResponse_Result) registrar.CreateResult {
	st := resultStatus(r.GetStatus())
	existed := st.Code() == codes.AlreadyExists
	switch {
	case st.Code() != codes.OK && !existed:
		return registrar.CreateResult{Err: c.rejectedEntry(asked, st)}
	case r.GetEntry() == nil && existed:
		return registrar.CreateResult{Existed: true}
	}
	e, err := c.stored(r.GetEntry())
	if err != nil {
		return registrar.CreateResult{Err: err}
	}
	return registrar.CreateResult{Existed: existed, Entry: &e}
}

// UpdateEntries implements [registrar.EntryUpdater].
func (c *Client) UpdateEntries(
	ctx context.Context,
	entries []registrar.Entry,
	fields registrar.Fields,
) ([]registrar.UpdateResult, error) {
	results := make([]registrar.UpdateResult, len(entries))
	valid := convert(entries, toProto, func(i int, err error) { results[i].Err = err })
	err := inBatches(valid, entrySize, func(batch []entryItem) error {
		call := c.call("BatchUpdateEntry", asked(batch)...)
		if err := call.prepare(ctx); err != nil {
			return err
		}
		resp, err := c.entries.BatchUpdateEntry(
			ctx,
			&entryv1.BatchUpdateEntryRequest{Entries: sent(batch), InputMask: toMask(fields)},
		)
		if err != nil {
			return call.failed(ctx, err)
		}
		if got, want := len(resp.GetResults()), len(batch); got != want {
			return call.nonsense("%d results for %d entries", got, want)
		}
		for i, it := range batch {
			results[it.index] = call.updated(it.asked, resp.GetResults()[i])
		}
		return nil
	}, func(it entryItem, err error) { results[it.index].Err = err })
	if err != nil {
		return nil, err
	}
	return results, nil
}

func (c *call) updated(asked registrar.Entry, r *entryv1.BatchUpdateEntryResponse_Result) registrar.UpdateResult {
	switch st := resultStatus(r.GetStatus()); st.Code() {
	case codes.OK:
		e, err := c.storedUnder(asked.ID, r.GetEntry())
		return registrar.UpdateResult{Entry: e, Err: err}
	case codes.NotFound:
		return registrar.UpdateResult{Err: fmt.Errorf("update entry %q: %w", asked.ID, registrar.ErrNotFound)}
	default:
		return registrar.UpdateResult{Err: c.rejectedEntry(asked, st)}
	}
}

func (c *call) rejectedEntry(asked registrar.Entry, st *status.Status) error {
	return c.rejected(fmt.Sprintf("take entry %q (%s)", asked.ID, asked.SPIFFEID), st)
}

// DeleteEntries implements [registrar.EntryDeleter].
func (c *Client) DeleteEntries(ctx context.Context, ids []string) ([]error, error) {
	results := make([]error, len(ids))
	type one = item[string, string]
	all := convert(ids, func(id string) (string, error) { return id, nil }, nil)
	err := inBatches(all, func(it one) int { return len(it.sent) }, func(batch []one) error {
		call := c.call("BatchDeleteEntry")
		if err := call.prepare(ctx); err != nil {
			return err
		}
		resp, err := c.entries.BatchDeleteEntry(ctx, &entryv1.BatchDeleteEntryRequest{Ids: sent(batch)})
		if err != nil {
			return call.failed(ctx, err)
		}
		if got, want := len(resp.GetResults()), len(batch); got != want {
			return call.nonsense("%d results for %d entries", got, want)
		}
		for i, it := range batch {
			results[it.index] = call.deleted(it.asked, resp.GetResults()[i])
		}
		return nil
	}, func(it one, err error) { results[it.index] = err })
	if err != nil {
		return nil, err
	}
	return results, nil
}

func (c *call) deleted(id string, r *entryv1.BatchDeleteEntryResponse_Result) error {
	switch st := resultStatus(r.GetStatus()); {
	case r.GetId() != id:
		return c.nonsense("a result about entry %q when asked about %q", r.GetId(), id)
	case st.Code() == codes.OK || st.Code() == codes.NotFound:
		return nil
	default:
		return c.rejected(fmt.Sprintf("delete entry %q", id), st)
	}
}

// ListEntries implements [registrar.EntryLister]. SPIRE has no filter by the beginning of an ID, so it is asked for
// all entries; those of others, which may be anything, are dropped page by page.
func (c *Client) ListEntries(ctx context.Context, of registrar.Cluster) ([]registrar.Entry, error) {
	var entries []registrar.Entry
	var unreadable error
	call := c.call("ListEntries")
	err := call.pages(ctx, func(token string) (string, error) {
		resp, err := c.entries.ListEntries(ctx, &entryv1.ListEntriesRequest{PageSize: PageSize, PageToken: token})
		for _, pb := range resp.GetEntries() {
			if e, err := fromProto(pb); err == nil && of.Concerns(e) {
				entries = append(entries, e)
			} else if err != nil && of.Concerns(registrar.Entry{ID: pb.GetId()}) {
				unreadable = call.nonsense("entry %q, which cannot be read: %v", pb.GetId(), err)
			}
		}
		return resp.GetNextPageToken(), err
	})
	if err := cmp.Or(err, unreadable); err != nil {
		return nil, err
	}
	return entries, nil
}

// EntriesInNamespace implements [registrar.NamespaceLister].
func (c *Client) EntriesInNamespace(ctx context.Context, of registrar.Cluster, namespace string) ([]string, error) {
	var ids []string
	filter := &entryv1.ListEntriesRequest_Filter{BySelectors: &types.SelectorMatch{
		Selectors: []*types.Selector{{Type: "k8s", Value: "ns:" + namespace}},
		Match:     types.SelectorMatch_MATCH_SUPERSET,
	}}
	err := c.call("ListEntries").pages(ctx, func(token string) (string, error) {
		resp, err := c.entries.ListEntries(ctx, &entryv1.ListEntriesRequest{
			Filter:     filter,
			OutputMask: &types.EntryMask{SpiffeId: true, ParentId: true},
			PageSize:   PageSize,
			PageToken:  token,
		})
		for _, pb := range resp.GetEntries() {
			if e, err := fromProto(pb); err == nil && of.KindOf(e) == registrar.KindWorkload {
				ids = append(ids, e.ID)
			}
		}
		return resp.GetNextPageToken(), err
	})
	return ids, err
}

// GetEntry implements [registrar.EntryReader].
func (c *Client) GetEntry(ctx context.Context, id string) (registrar.Entry, error) {
	call := c.call("GetEntry")
	if err := call.prepare(ctx); err != nil {
		return registrar.Entry{}, err
	}
	pb, err := c.entries.GetEntry(ctx, &entryv1.GetEntryRequest{Id: id})
	switch {
	case status.Code(err) == codes.NotFound:
		return registrar.Entry{}, fmt.Errorf("get entry %q: %w", id, registrar.ErrNotFound)
	case err != nil:
		return registrar.Entry{}, call.failed(ctx, err)
	}
	return call.storedUnder(id, pb)
}

// stored converts an entry that the server returned.
func (c *call) stored(pb *types.Entry) (registrar.Entry, error) {
	e, err := fromProto(pb)
	if err != nil {
		return registrar.Entry{}, c.nonsense("an entry that cannot be read: %v", err)
	}
	return e, nil
}

func (c *call) storedUnder(id string, pb *types.Entry) (registrar.Entry, error) {
	e, err := c.stored(pb)
	if err == nil && e.ID != id {
		return registrar.Entry{}, c.nonsense("entry %q when asked about %q", e.ID, id)
	}
	return e, err
}

// resultStatus never takes a missing or impossible status for OK.
func resultStatus(st *types.Status) *status.Status {
	code := st.GetCode()
	if st == nil || code < 0 {
		return status.Newf(codes.Unknown, "no valid status but %v", st)
	}
	return status.New(codes.Code(code), st.GetMessage())
}
