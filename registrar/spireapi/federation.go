package spireapi

import (
	"context"
	"fmt"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	trustdomainv1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/trustdomain/v1"
	"github.com/spiffe/spire-api-sdk/proto/spire/api/types"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/spire-injector/spire-injector/registrar"
)

// ListFederationRelationships implements [registrar.RelationshipLister].
func (c *Client) ListFederationRelationships(ctx context.Context) ([]registrar.Relationship, error) {
	var found []*types.FederationRelationship
	call := c.call("ListFederationRelationships")
	err := call.pages(ctx, func(token string) (string, error) {
		resp, err := c.trustDomains.ListFederationRelationships(ctx, &trustdomainv1.ListFederationRelationshipsRequest{
			OutputMask: endpointMask(), PageSize: PageSize, PageToken: token,
		})
		found = append(found, resp.GetFederationRelationships()...)
		return resp.GetNextPageToken(), err
	})
	if err != nil {
		return nil, err
	}
	all := make([]registrar.Relationship, len(found))
	for i, pb := range found {
		if all[i], err = relationshipFromProto(pb); err != nil {
			return nil, call.nonsense("a federation relationship that cannot be read: %v", err)
		}
	}
	return all, nil
}

// CreateFederationRelationships implements [registrar.RelationshipWriter].
func (c *Client) CreateFederationRelationships(
	ctx context.Context,
	relationships []registrar.Relationship,
) ([]error, error) {
	return c.setRelationships(
		ctx,
		"BatchCreateFederationRelationship",
		relationships,
		func(pbs []*types.FederationRelationship) ([]hasStatus, error) {
			resp, err := c.trustDomains.BatchCreateFederationRelationship(
				ctx,
				&trustdomainv1.BatchCreateFederationRelationshipRequest{
					FederationRelationships: pbs, OutputMask: &types.FederationRelationshipMask{},
				},
			)
			return statuses(resp.GetResults()), err
		},
	)
}

// UpdateFederationRelationships implements [registrar.RelationshipWriter].
func (c *Client) UpdateFederationRelationships(
	ctx context.Context,
	relationships []registrar.Relationship,
) ([]error, error) {
	return c.setRelationships(
		ctx,
		"BatchUpdateFederationRelationship",
		relationships,
		func(pbs []*types.FederationRelationship) ([]hasStatus, error) {
			resp, err := c.trustDomains.BatchUpdateFederationRelationship(
				ctx,
				&trustdomainv1.BatchUpdateFederationRelationshipRequest{
					FederationRelationships: pbs, InputMask: endpointMask(), OutputMask: &types.FederationRelationshipMask{},
				},
			)
			return statuses(resp.GetResults()), err
		},
	)
}

// DeleteFederationRelationships implements [registrar.RelationshipDeleter].
func (c *Client) DeleteFederationRelationships(ctx context.Context, tds []spiffeid.TrustDomain) ([]error, error) {
	call := c.call("BatchDeleteFederationRelationship")
	if err := call.prepare(ctx); err != nil {
		return nil, err
	}
	names := make([]string, len(tds))
	for i, td := range tds {
		names[i] = td.Name()
	}
	resp, err := c.trustDomains.BatchDeleteFederationRelationship(ctx,
		&trustdomainv1.BatchDeleteFederationRelationshipRequest{TrustDomains: names})
	if err != nil {
		return nil, call.failed(ctx, err)
	}
	if got, want := len(resp.GetResults()), len(tds); got != want {
		return nil, call.nonsense("%d results for %d federation relationships", got, want)
	}
	results := make([]error, len(tds))
	for i, r := range resp.GetResults() {
		if st := resultStatus(r.GetStatus()); st.Code() != codes.OK && st.Code() != codes.NotFound {
			results[i] = call.rejected(fmt.Sprintf("remove the federation relationship with %q", tds[i]), st)
		}
	}
	return results, nil
}

// RefreshBundle implements [registrar.BundleRefresher].
func (c *Client) RefreshBundle(ctx context.Context, td spiffeid.TrustDomain) error {
	call := c.call("RefreshBundle")
	if err := call.prepare(ctx); err != nil {
		return err
	}
	_, err := c.trustDomains.RefreshBundle(ctx, &trustdomainv1.RefreshBundleRequest{TrustDomain: td.Name()})
	switch {
	case status.Code(err) == codes.NotFound:
		return fmt.Errorf("refresh bundle of %q: %w", td, registrar.ErrNoRelationship)
	case err != nil:
		return call.failed(ctx, err)
	}
	return nil
}

func (c *Client) setRelationships(ctx context.Context, method string, relationships []registrar.Relationship,
	send func([]*types.FederationRelationship) ([]hasStatus, error),
) ([]error, error) {
	results := make([]error, len(relationships))
	type one = item[registrar.Relationship, *types.FederationRelationship]
	valid := convert(relationships, relationshipToProto, func(i int, err error) { results[i] = err })
	err := inBatches(valid, func(it one) int { return proto.Size(it.sent) }, func(batch []one) error {
		call := c.call(method)
		if err := call.prepare(ctx); err != nil {
			return err
		}
		answers, err := send(sent(batch))
		if err != nil {
			return call.failed(ctx, err)
		}
		if got, want := len(answers), len(batch); got != want {
			return call.nonsense("%d results for %d federation relationships", got, want)
		}
		for i, it := range batch {
			if st := resultStatus(answers[i].GetStatus()); st.Code() != codes.OK {
				results[it.index] = call.rejected(fmt.Sprintf("take the federation relationship with %q", it.asked.TrustDomain), st)
			}
		}
		return nil
	}, func(it one, err error) { results[it.index] = err })
	if err != nil {
		return nil, err
	}
	return results, nil
}

type hasStatus interface{ GetStatus() *types.Status }

func statuses[T hasStatus](results []T) []hasStatus {
	all := make([]hasStatus, len(results))
	for i, r := range results {
		all[i] = r
	}
	return all
}

// endpointMask leaves the bundle, which SPIRE fetches itself, alone.
func endpointMask() *types.FederationRelationshipMask {
	return &types.FederationRelationshipMask{BundleEndpointUrl: true, BundleEndpointProfile: true}
}
