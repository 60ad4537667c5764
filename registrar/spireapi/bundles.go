package spireapi

import (
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	bundlev1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/bundle/v1"
	"github.com/spiffe/spire-api-sdk/proto/spire/api/types"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/spire-injector/spire-injector/registrar"
)

// FederatedBundles implements [registrar.BundleLister].
func (c *Client) FederatedBundles(ctx context.Context) ([]spiffeid.TrustDomain, error) {
	var names []string
	call := c.call("ListFederatedBundles")
	err := call.pages(ctx, func(token string) (string, error) {
		// The empty mask leaves the names of the trust domains, so few bytes that SPIRE's own page size, all of them,
		// is the best: whoever waits for an admission waits for one call.
		resp, err := c.bundles.ListFederatedBundles(
			ctx,
			&bundlev1.ListFederatedBundlesRequest{OutputMask: &types.BundleMask{}, PageToken: token},
		)
		for _, b := range resp.GetBundles() {
			names = append(names, b.GetTrustDomain())
		}
		return resp.GetNextPageToken(), err
	})
	if err != nil {
		return nil, err
	}
	domains := make([]spiffeid.TrustDomain, len(names))
	for i, name := range names {
		if domains[i], err = spiffeid.TrustDomainFromString(name); err != nil {
			return nil, call.nonsense("a bundle of a trust domain that cannot be read: %v", err)
		}
	}
	return domains, nil
}

// FederatedBundle implements [registrar.BundleReader].
func (c *Client) FederatedBundle(ctx context.Context, td spiffeid.TrustDomain) (registrar.Bundle, error) {
	call := c.call("GetFederatedBundle")
	if err := call.prepare(ctx); err != nil {
		return registrar.Bundle{}, err
	}
	b, err := c.bundles.GetFederatedBundle(ctx, &bundlev1.GetFederatedBundleRequest{
		TrustDomain: td.Name(), OutputMask: &types.BundleMask{SequenceNumber: true, RefreshHint: true, X509Authorities: true, JwtAuthorities: true},
	})
	switch {
	case status.Code(err) == codes.NotFound:
		return registrar.Bundle{}, fmt.Errorf("get bundle of %q: %w", td, registrar.ErrNoBundle)
	case err != nil:
		return registrar.Bundle{}, call.failed(ctx, err)
	case b.GetTrustDomain() != td.Name():
		return registrar.Bundle{}, call.nonsense("the bundle of %q when asked about %q", b.GetTrustDomain(), td)
	}
	return registrar.Bundle{
		TrustDomain: td, SequenceNumber: b.GetSequenceNumber(), RefreshHint: time.Duration(b.GetRefreshHint()) * time.Second, Keys: digest(b),
	}, nil
}

// digest is one of the bundle's authorities, in whatever order they come.
func digest(b *types.Bundle) string {
	var all []string
	for _, a := range b.GetX509Authorities() {
		all = append(all, fmt.Sprintf("x509 %x", a.GetAsn1()))
	}
	for _, a := range b.GetJwtAuthorities() {
		all = append(all, fmt.Sprintf("jwt %q %x", a.GetKeyId(), a.GetPublicKey()))
	}
	slices.Sort(all)
	return fmt.Sprintf("%x", sha256.Sum256([]byte(strings.Join(all, "\n"))))
}
