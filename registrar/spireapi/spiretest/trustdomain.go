package spiretest

import (
	"context"
	"errors"
	"fmt"
	"net/url"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	trustdomainv1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/trustdomain/v1"
	"github.com/spiffe/spire-api-sdk/proto/spire/api/types"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"
)

// Publish sets what the bundle endpoint of the bundle's trust domain serves to this server. The server fetches it when
// the relationship is made or changed, and when it is told to refresh it.
func (s *Server) Publish(b *types.Bundle) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.published[b.GetTrustDomain()] = proto.CloneOf(b)
}

// Relationships returns copies of the federation relationships, in the order of creation.
func (s *Server) Relationships() []*types.FederationRelationship {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.relationships.all()
}

// DeleteRelationship removes the federation relationship with a trust domain and leaves its bundle, as
// `spire-server federation delete` does.
func (s *Server) DeleteRelationship(td spiffeid.TrustDomain) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.relationships.delete(ofTrustDomain[*types.FederationRelationship](td.Name()))
}

// ListFederationRelationships pages through all of them.
func (s *Server) ListFederationRelationships(
	_ context.Context,
	req *trustdomainv1.ListFederationRelationshipsRequest,
) (*trustdomainv1.ListFederationRelationshipsResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	page, next, err := s.relationships.page(
		req.GetPageSize(),
		req.GetPageToken(),
		func(*types.FederationRelationship) bool { return true },
	)
	if err != nil {
		return nil, err
	}
	resp := &trustdomainv1.ListFederationRelationshipsResponse{NextPageToken: next}
	for _, r := range page {
		resp.FederationRelationships = append(resp.FederationRelationships, s.relationship(r, req.GetOutputMask()))
	}
	return resp, nil
}

// BatchCreateFederationRelationship creates each on its own. One that exists already is INTERNAL.
func (s *Server) BatchCreateFederationRelationship(
	_ context.Context,
	req *trustdomainv1.BatchCreateFederationRelationshipRequest,
) (*trustdomainv1.BatchCreateFederationRelationshipResponse, error) {
	one := func(r *types.FederationRelationship) *trustdomainv1.BatchCreateFederationRelationshipResponse_Result {
		st, stored := s.createRelationship(r, req.GetOutputMask())
		return &trustdomainv1.BatchCreateFederationRelationshipResponse_Result{Status: st, FederationRelationship: stored}
	}
	return &trustdomainv1.BatchCreateFederationRelationshipResponse{
		Results: each(s, req.GetFederationRelationships(), one),
	}, nil
}

func (s *Server) createRelationship(
	r *types.FederationRelationship,
	output *types.FederationRelationshipMask,
) (*types.Status, *types.FederationRelationship) {
	if err := checkRelationship(r); err != nil {
		return result(codes.InvalidArgument, fmt.Sprintf("failed to convert federation relationship: %v", err)), nil
	}
	if r.GetTrustDomain() == s.td.Name() {
		return result(codes.InvalidArgument, "unable to create federation relationship for server trust domain"), nil
	}
	if s.relationships.find(ofTrustDomain[*types.FederationRelationship](r.GetTrustDomain())) >= 0 {
		return result(
			codes.Internal,
			"failed to create federation relationship: datastore-sql: UNIQUE constraint failed: federated_trust_domains.trust_domain",
		), nil
	}
	s.keepBundle(r.GetTrustDomainBundle())
	s.relationships.add(withoutBundle(r))
	s.keepBundle(s.published[r.GetTrustDomain()])
	return result(codes.OK, "OK"), s.relationship(r, output)
}

// BatchUpdateFederationRelationship changes what the mask names. One that does not exist is INTERNAL.
func (s *Server) BatchUpdateFederationRelationship(
	_ context.Context,
	req *trustdomainv1.BatchUpdateFederationRelationshipRequest,
) (*trustdomainv1.BatchUpdateFederationRelationshipResponse, error) {
	one := func(r *types.FederationRelationship) *trustdomainv1.BatchUpdateFederationRelationshipResponse_Result {
		st, stored := s.updateRelationship(r, req.GetInputMask(), req.GetOutputMask())
		return &trustdomainv1.BatchUpdateFederationRelationshipResponse_Result{Status: st, FederationRelationship: stored}
	}
	return &trustdomainv1.BatchUpdateFederationRelationshipResponse{
		Results: each(s, req.GetFederationRelationships(), one),
	}, nil
}

func (s *Server) updateRelationship(
	r *types.FederationRelationship,
	input, output *types.FederationRelationshipMask,
) (*types.Status, *types.FederationRelationship) {
	if err := checkRelationship(r); err != nil {
		return result(codes.InvalidArgument, fmt.Sprintf("failed to convert federation relationship: %v", err)), nil
	}
	i := s.relationships.find(ofTrustDomain[*types.FederationRelationship](r.GetTrustDomain()))
	if i < 0 {
		return result(
			codes.Internal,
			"failed to update federation relationship: unable to fetch federation relationship: record not found",
		), nil
	}
	if input == nil {
		input = allOfRelationship()
	}
	stored := s.relationships.rows[i].value
	if input.GetBundleEndpointUrl() {
		stored.BundleEndpointUrl = r.GetBundleEndpointUrl()
	}
	if input.GetBundleEndpointProfile() {
		stored.BundleEndpointProfile = r.GetBundleEndpointProfile()
	}
	if input.GetTrustDomainBundle() {
		s.keepBundle(r.GetTrustDomainBundle())
	}
	s.keepBundle(s.published[r.GetTrustDomain()])
	return result(codes.OK, "OK"), s.relationship(stored, output)
}

// BatchDeleteFederationRelationship removes each on its own, and leaves its bundle. One that does not exist is NOT_FOUND.
func (s *Server) BatchDeleteFederationRelationship(
	_ context.Context,
	req *trustdomainv1.BatchDeleteFederationRelationshipRequest,
) (*trustdomainv1.BatchDeleteFederationRelationshipResponse, error) {
	one := func(td string) *trustdomainv1.BatchDeleteFederationRelationshipResponse_Result {
		st := result(codes.OK, "OK")
		if !s.relationships.delete(ofTrustDomain[*types.FederationRelationship](td)) {
			st = result(codes.NotFound, "federation relationship not found")
		}
		return &trustdomainv1.BatchDeleteFederationRelationshipResponse_Result{Status: st, TrustDomain: td}
	}
	return &trustdomainv1.BatchDeleteFederationRelationshipResponse{Results: each(s, req.GetTrustDomains(), one)}, nil
}

// RefreshBundle fetches the bundle that was published, if there is a relationship.
func (s *Server) RefreshBundle(_ context.Context, req *trustdomainv1.RefreshBundleRequest) (*emptypb.Empty, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	td, err := spiffeid.TrustDomainFromString(req.GetTrustDomain())
	if err != nil {
		return nil, status.Errorf(codes.InvalidArgument, "failed to parse trust domain: %v", err)
	}
	i := s.relationships.find(ofTrustDomain[*types.FederationRelationship](td.Name()))
	if i < 0 {
		return nil, status.Errorf(codes.NotFound, "no relationship with trust domain %q", td)
	}
	b := s.published[td.Name()]
	if b == nil {
		return nil, status.Errorf(
			codes.Internal,
			"failed to refresh bundle: failed to fetch federated bundle from endpoint: failed to fetch bundle: Get %q: dial tcp: connect: connection refused",
			s.relationships.rows[i].value.GetBundleEndpointUrl(),
		)
	}
	s.keepBundle(b)
	return &emptypb.Empty{}, nil
}

func (s *Server) keepBundle(b *types.Bundle) {
	if b != nil {
		s.putBundle(b)
	}
}

// relationship is what the server returns of one: with the bundle of its trust domain, wherever that came from.
func (s *Server) relationship(
	r *types.FederationRelationship,
	mask *types.FederationRelationshipMask,
) *types.FederationRelationship {
	if mask == nil {
		mask = allOfRelationship()
	}
	out := &types.FederationRelationship{TrustDomain: r.GetTrustDomain()}
	if mask.GetBundleEndpointUrl() {
		out.BundleEndpointUrl = r.GetBundleEndpointUrl()
	}
	if mask.GetBundleEndpointProfile() {
		out.BundleEndpointProfile = r.GetBundleEndpointProfile()
	}
	if i := s.bundles.find(ofTrustDomain[*types.Bundle](r.GetTrustDomain())); i >= 0 && mask.GetTrustDomainBundle() {
		out.TrustDomainBundle = proto.CloneOf(s.bundles.rows[i].value)
	}
	return out
}

func allOfRelationship() *types.FederationRelationshipMask {
	return &types.FederationRelationshipMask{BundleEndpointUrl: true, BundleEndpointProfile: true, TrustDomainBundle: true}
}

func withoutBundle(r *types.FederationRelationship) *types.FederationRelationship {
	r = proto.CloneOf(r)
	r.TrustDomainBundle = nil
	return r
}

func checkRelationship(r *types.FederationRelationship) error {
	if _, err := spiffeid.TrustDomainFromString(r.GetTrustDomain()); err != nil {
		return fmt.Errorf("failed to parse trust domain: %w", err)
	}
	endpoint, err := url.Parse(r.GetBundleEndpointUrl())
	switch {
	case err != nil:
		return fmt.Errorf("failed to parse bundle endpoint URL: %w", err)
	case endpoint.Scheme != "https":
		return errors.New("bundle endpoint URL must use the https scheme")
	case endpoint.Host == "":
		return errors.New("bundle endpoint URL must specify the host")
	case endpoint.User != nil:
		return errors.New("bundle endpoint URL must not contain user info")
	}
	switch profile := r.GetBundleEndpointProfile().(type) {
	case *types.FederationRelationship_HttpsWeb:
		return nil
	case *types.FederationRelationship_HttpsSpiffe:
		if _, err := spiffeid.FromString(profile.HttpsSpiffe.GetEndpointSpiffeId()); err != nil {
			return fmt.Errorf("failed to parse endpoint SPIFFE ID: %w", err)
		}
		return nil
	default:
		return fmt.Errorf("unsupported bundle endpoint profile type: %T", profile)
	}
}
