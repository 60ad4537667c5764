package spiretest

import (
	"context"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	bundlev1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/bundle/v1"
	"github.com/spiffe/spire-api-sdk/proto/spire/api/types"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// PutBundle stores a bundle unchecked, in the place of one of its trust domain, as `spire-server bundle set` does.
func (s *Server) PutBundle(b *types.Bundle) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.putBundle(b)
}

func (s *Server) putBundle(b *types.Bundle) {
	s.bundles.delete(ofTrustDomain[*types.Bundle](b.GetTrustDomain()))
	s.bundles.add(b)
}

// DeleteBundle removes the bundle of a trust domain and takes the domain out of all entries, as
// `spire-server bundle delete -mode dissociate` does.
func (s *Server) DeleteBundle(td spiffeid.TrustDomain) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bundles.delete(ofTrustDomain[*types.Bundle](td.Name()))
	for _, r := range s.entries.rows {
		r.value.FederatesWith = without(r.value.GetFederatesWith(), td.Name())
	}
}

func without(names []string, name string) []string {
	var rest []string
	for _, n := range names {
		if n != name {
			rest = append(rest, n)
		}
	}
	return rest
}

// ListFederatedBundles pages through all bundles and then leaves the server's own out, so that a page may be short.
func (s *Server) ListFederatedBundles(
	_ context.Context,
	req *bundlev1.ListFederatedBundlesRequest,
) (*bundlev1.ListFederatedBundlesResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	page, next, err := s.bundles.page(req.GetPageSize(), req.GetPageToken(), func(*types.Bundle) bool { return true })
	if err != nil {
		return nil, err
	}
	resp := &bundlev1.ListFederatedBundlesResponse{NextPageToken: next}
	for _, b := range page {
		if b.GetTrustDomain() != s.td.Name() {
			resp.Bundles = append(resp.Bundles, masked(b, req.GetOutputMask()))
		}
	}
	return resp, nil
}

// GetFederatedBundle returns the bundle of a foreign trust domain.
func (s *Server) GetFederatedBundle(_ context.Context, req *bundlev1.GetFederatedBundleRequest) (*types.Bundle, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := spiffeid.TrustDomainFromString(req.GetTrustDomain()); err != nil {
		return nil, status.Errorf(codes.InvalidArgument, "trust domain argument is not valid: %v", err)
	}
	if req.GetTrustDomain() == s.td.Name() {
		return nil, status.Error(
			codes.InvalidArgument,
			"getting a federated bundle for the server's own trust domain is not allowed",
		)
	}
	i := s.bundles.find(ofTrustDomain[*types.Bundle](req.GetTrustDomain()))
	if i < 0 {
		return nil, status.Error(codes.NotFound, "bundle not found")
	}
	return masked(s.bundles.rows[i].value, req.GetOutputMask()), nil
}

func masked(b *types.Bundle, mask *types.BundleMask) *types.Bundle {
	if mask == nil {
		mask = &types.BundleMask{
			X509Authorities: true,
			JwtAuthorities:  true,
			RefreshHint:     true,
			SequenceNumber:  true,
			WitAuthorities:  true,
		}
	}
	out := &types.Bundle{TrustDomain: b.GetTrustDomain()}
	keep(mask, b, out)
	return out
}

// ofTrustDomain matches what belongs to a trust domain.
func ofTrustDomain[M interface{ GetTrustDomain() string }](td string) func(M) bool {
	return func(m M) bool { return m.GetTrustDomain() == td }
}
