package spireapi

import (
	"context"
	"fmt"

	entryv1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/entry/v1"
	"github.com/spiffe/spire-api-sdk/proto/spire/api/types"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/spire-injector/spire-injector/registrar"
)

// CreateEntries implements [registrar.EntryCreator].
func (c *Client) CreateEntries(ctx context.Context, entries []registrar.Entry) ([]registrar.CreateResult, error) {
	req := &entryv1.BatchCreateEntryRequest{}
	for _, e := range entries {
		pb, err := toProto(e)
		if err != nil {
			return nil, err
		}
		req.Entries = append(req.Entries, pb)
	}
	call := c.call("BatchCreateEntry", entries...)
	if err := call.prepare(ctx); err != nil {
		return nil, err
	}
	resp, err := c.entries.BatchCreateEntry(ctx, req)
	if err != nil {
		return nil, call.failed(ctx, err)
	}
	if got, want := len(resp.GetResults()), len(entries); got != want {
		return nil, call.nonsense("%d results for %d entries", got, want)
	}
	results := make([]registrar.CreateResult, len(entries))
	for i, r := range resp.GetResults() {
		results[i] = call.created(entries[i], r)
	}
	return results, nil
}

func (c *call) created(asked registrar.Entry, r *entryv1.BatchCreateEntryResponse_Result) registrar.CreateResult {
	st := resultStatus(r.GetStatus())
	existed := st.Code() == codes.AlreadyExists
	switch {
	case st.Code() != codes.OK && !existed:
		return registrar.CreateResult{Err: c.refused(asked, st)}
	case r.GetEntry() == nil && existed:
		return registrar.CreateResult{Existed: true}
	}
	e, err := c.stored(r.GetEntry())
	if err != nil {
		return registrar.CreateResult{Err: err}
	}
	return registrar.CreateResult{Existed: existed, Entry: &e}
}

// UpdateEntry implements [registrar.EntryUpdater].
func (c *Client) UpdateEntry(ctx context.Context, e registrar.Entry, fields registrar.Fields) (registrar.Entry, error) {
	pb, err := toProto(e)
	if err != nil {
		return registrar.Entry{}, err
	}
	call := c.call("BatchUpdateEntry", e)
	if err := call.prepare(ctx); err != nil {
		return registrar.Entry{}, err
	}
	resp, err := c.entries.BatchUpdateEntry(ctx, &entryv1.BatchUpdateEntryRequest{Entries: []*types.Entry{pb}, InputMask: toMask(fields)})
	if err != nil {
		return registrar.Entry{}, call.failed(ctx, err)
	}
	if got := len(resp.GetResults()); got != 1 {
		return registrar.Entry{}, call.nonsense("%d results for 1 entry", got)
	}
	result := resp.GetResults()[0]
	switch st := resultStatus(result.GetStatus()); st.Code() {
	case codes.OK:
		return call.storedUnder(e.ID, result.GetEntry())
	case codes.NotFound:
		return registrar.Entry{}, fmt.Errorf("update entry %q: %w", e.ID, registrar.ErrNotFound)
	default:
		return registrar.Entry{}, call.refused(e, st)
	}
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
