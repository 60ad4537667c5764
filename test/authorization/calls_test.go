package authorization

import (
	"context"
	"errors"
	"slices"
	"strings"

	entryv1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/entry/v1"
	trustdomainv1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/trustdomain/v1"
	"github.com/spiffe/spire-api-sdk/proto/spire/api/types"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// These calls return an error also for what the server answers about a single item.

func create(ctx context.Context, conn grpc.ClientConnInterface, entries ...*types.Entry) error {
	response, err := entryv1.NewEntryClient(conn).BatchCreateEntry(ctx, &entryv1.BatchCreateEntryRequest{Entries: entries})
	return join(err, response.GetResults())
}

// update writes the fields of the mask, or all without one.
func update(ctx context.Context, conn grpc.ClientConnInterface, mask *types.EntryMask, entries ...*types.Entry) error {
	response, err := entryv1.NewEntryClient(conn).BatchUpdateEntry(ctx, &entryv1.BatchUpdateEntryRequest{Entries: entries, InputMask: mask})
	return join(err, response.GetResults())
}

func remove(ctx context.Context, conn grpc.ClientConnInterface, ids ...string) error {
	response, err := entryv1.NewEntryClient(conn).BatchDeleteEntry(ctx, &entryv1.BatchDeleteEntryRequest{Ids: ids})
	return join(err, response.GetResults())
}

func federate(ctx context.Context, conn grpc.ClientConnInterface, relationships ...*types.FederationRelationship) error {
	response, err := trustdomainv1.NewTrustDomainClient(conn).BatchCreateFederationRelationship(ctx,
		&trustdomainv1.BatchCreateFederationRelationshipRequest{FederationRelationships: relationships})
	return join(err, response.GetResults())
}

func refederate(ctx context.Context, conn grpc.ClientConnInterface, relationships ...*types.FederationRelationship) error {
	response, err := trustdomainv1.NewTrustDomainClient(conn).BatchUpdateFederationRelationship(ctx,
		&trustdomainv1.BatchUpdateFederationRelationshipRequest{FederationRelationships: relationships})
	return join(err, response.GetResults())
}

func unfederate(ctx context.Context, conn grpc.ClientConnInterface, domains ...string) error {
	response, err := trustdomainv1.NewTrustDomainClient(conn).BatchDeleteFederationRelationship(ctx,
		&trustdomainv1.BatchDeleteFederationRelationshipRequest{TrustDomains: domains})
	return join(err, response.GetResults())
}

func join[T interface{ GetStatus() *types.Status }](err error, results []T) error {
	errs := []error{err}
	for _, result := range results {
		if st := result.GetStatus(); st.GetCode() != 0 {
			errs = append(errs, status.Error(codes.Code(st.GetCode()), st.GetMessage())) //nolint:gosec // never negative
		}
	}
	return errors.Join(errs...)
}

// all lists the entries of a server, by ID.
func all(ctx context.Context, conn grpc.ClientConnInterface) ([]*types.Entry, error) {
	response, err := entryv1.NewEntryClient(conn).ListEntries(ctx, &entryv1.ListEntriesRequest{})
	entries := response.GetEntries()
	slices.SortFunc(entries, func(a, b *types.Entry) int { return strings.Compare(a.Id, b.Id) })
	return entries, err
}

func pathID(path string) *types.SPIFFEID { return &types.SPIFFEID{TrustDomain: domain, Path: path} }

// changed is a copy of an entry that change has been at.
func changed(e *types.Entry, change func(*types.Entry)) *types.Entry {
	e = proto.CloneOf(e)
	change(e)
	return e
}
