package spireapi_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	bundlev1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/bundle/v1"
	trustdomainv1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/trustdomain/v1"
	"github.com/spiffe/spire-api-sdk/proto/spire/api/types"
	"google.golang.org/grpc/codes"

	"github.com/spire-injector/spire-injector/registrar"
)

func webRelationship(td spiffeid.TrustDomain) registrar.Relationship {
	return registrar.Relationship{TrustDomain: td, BundleEndpointURL: "https://" + td.Name() + ":8443", Profile: registrar.HTTPSWeb}
}

func TestFederatedBundles(t *testing.T) {
	server, client := serve(t)
	if got, err := client.FederatedBundles(t.Context()); err != nil || len(got) != 0 {
		t.Errorf("%v, %v; want none, not the server's own either", got, err)
	}
	for i := range 501 {
		server.PutBundle(&types.Bundle{TrustDomain: fmt.Sprintf("d%d.org", i), X509Authorities: []*types.X509Certificate{{Asn1: []byte("certificate")}}})
	}
	got, err := client.FederatedBundles(t.Context())
	if err != nil || len(got) != 501 || got[500].Name() != "d500.org" {
		t.Errorf("%d bundles, %v; want all 501", len(got), err)
	}
	if calls := server.Calls("ListFederatedBundles"); calls != 2 {
		t.Errorf("%d calls for two lists, want 2", calls)
	}

	server.PutBundle(&types.Bundle{TrustDomain: "other.org", SequenceNumber: 7, RefreshHint: 300})
	bundle, err := client.FederatedBundle(t.Context(), otherOrg)
	bundle.Keys = "" // see TestKeysOfABundle
	if want := (registrar.Bundle{TrustDomain: otherOrg, SequenceNumber: 7, RefreshHint: 5 * time.Minute}); err != nil || bundle != want {
		t.Errorf("%+v, %v; want %+v", bundle, err, want)
	}
	server.DeleteBundle(otherOrg)
	if _, err := client.FederatedBundle(t.Context(), otherOrg); !errors.Is(err, registrar.ErrNoBundle) {
		t.Errorf("%v, want ErrNoBundle", err)
	}
}

func TestKeysOfABundle(t *testing.T) {
	server, client := serve(t)
	keys := func(b *types.Bundle) string {
		b.TrustDomain = "other.org"
		server.PutBundle(b)
		bundle, err := client.FederatedBundle(t.Context(), otherOrg)
		if err != nil || bundle.Keys == "" {
			t.Fatalf("%+v, %v; want a digest of the keys", bundle, err)
		}
		return bundle.Keys
	}
	root := func(asn1 string) *types.X509Certificate { return &types.X509Certificate{Asn1: []byte(asn1)} }
	key := func(id, public string) *types.JWTKey { return &types.JWTKey{KeyId: id, PublicKey: []byte(public)} }
	a, b, k, l := root("a"), root("b"), key("k", "1"), key("l", "2")
	first := keys(&types.Bundle{X509Authorities: []*types.X509Certificate{a, b}, JwtAuthorities: []*types.JWTKey{k, l}})
	same := keys(&types.Bundle{X509Authorities: []*types.X509Certificate{b, a}, JwtAuthorities: []*types.JWTKey{l, k}, SequenceNumber: 9, RefreshHint: 9})
	if first != same {
		t.Error("another order, sequence number and hint are other keys, want the same")
	}
	for name, other := range map[string]*types.Bundle{
		"no root":      {JwtAuthorities: []*types.JWTKey{k, l}},
		"another root": {X509Authorities: []*types.X509Certificate{a, root("c")}, JwtAuthorities: []*types.JWTKey{k, l}},
		"one key":      {X509Authorities: []*types.X509Certificate{a, b}, JwtAuthorities: []*types.JWTKey{k}},
		"another key":  {X509Authorities: []*types.X509Certificate{a, b}, JwtAuthorities: []*types.JWTKey{k, key("l", "3")}},
	} {
		if keys(other) == first {
			t.Errorf("%s: the same digest", name)
		}
	}
}

// SPIRE gives all that is asked for without a page size; others may not.
func TestFederatedBundlesInPages(t *testing.T) {
	server, client := serve(t)
	tokens := 0
	server.Tamper(func(resp any) {
		if list, ok := resp.(*bundlev1.ListFederatedBundlesResponse); ok {
			if list.Bundles = []*types.Bundle{{TrustDomain: fmt.Sprintf("d%d.org", tokens)}}; tokens < 2 {
				tokens++
				list.NextPageToken = fmt.Sprint(tokens)
			}
		}
	})
	if got, err := client.FederatedBundles(t.Context()); err != nil || len(got) != 3 || got[2].Name() != "d2.org" {
		t.Errorf("%v, %v; want one of each of three pages", got, err)
	}
}

func TestOnlyNamesOfBundlesAreAsked(t *testing.T) {
	server, client := serve(t)
	server.PutBundle(&types.Bundle{TrustDomain: "other.org", X509Authorities: []*types.X509Certificate{{Asn1: []byte("certificate")}}, SequenceNumber: 1})
	server.Tamper(func(resp any) {
		if list, ok := resp.(interface{ GetBundles() []*types.Bundle }); ok {
			for _, b := range list.GetBundles() {
				if len(b.GetX509Authorities()) > 0 || b.GetSequenceNumber() != 0 {
					t.Error("keys are sent that nobody needs")
				}
			}
		}
	})
	if got, err := client.FederatedBundles(t.Context()); err != nil || len(got) != 1 || got[0] != otherOrg {
		t.Errorf("%v, %v", got, err)
	}
}

func TestFederationRelationships(t *testing.T) {
	server, client := serve(t)
	third := spiffeid.RequireTrustDomainFromString("third.org")
	web, spiffe, own := webRelationship(otherOrg), webRelationship(third), webRelationship(exampleOrg)
	spiffe.Profile, spiffe.EndpointSPIFFEID = registrar.HTTPSSPIFFE, spiffeid.RequireFromPath(third, "/spire/server")
	plain := webRelationship(spiffeid.RequireTrustDomainFromString("plain.org"))
	plain.BundleEndpointURL = "http://plain.org"

	results, err := client.CreateFederationRelationships(t.Context(), []registrar.Relationship{web, plain, spiffe, own, web})
	if err != nil || results[0] != nil || results[2] != nil {
		t.Fatalf("%v, %v; want the first and third created", results, err)
	}
	wantKind(t, results[1], registrar.Invalid, `federation relationship with "plain.org"`, "expected an https URL")
	wantKind(t, results[3], registrar.Invalid, `does not take the federation relationship with "example.org"`)
	wantKind(t, results[4], registrar.Failed, "UNIQUE constraint failed")

	current, err := client.ListFederationRelationships(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]registrar.Relationship{web, spiffe}, current, comparer); diff != "" {
		t.Errorf("listed (-want +got):\n%s", diff)
	}

	spiffe, web.BundleEndpointURL = webRelationship(third), "https://elsewhere.org/bundle"
	server.PutBundle(&types.Bundle{TrustDomain: "other.org", SequenceNumber: 3})
	absent := webRelationship(spiffeid.RequireTrustDomainFromString("absent.org"))
	results, err = client.UpdateFederationRelationships(t.Context(), []registrar.Relationship{web, spiffe, absent})
	if err != nil || results[0] != nil || results[1] != nil {
		t.Fatalf("%v, %v; want two updated", results, err)
	}
	wantKind(t, results[2], registrar.Failed, `does not take the federation relationship with "absent.org"`, "record not found")
	current, err = client.ListFederationRelationships(t.Context())
	if diff := cmp.Diff([]registrar.Relationship{web, spiffe}, current, comparer); diff != "" || err != nil {
		t.Errorf("after the update: %v (-want +got):\n%s", err, diff)
	}
	if b, err := client.FederatedBundle(t.Context(), otherOrg); err != nil || b.SequenceNumber != 3 {
		t.Errorf("bundle %+v, %v; want it untouched by the update", b, err)
	}
}

func TestRefreshBundle(t *testing.T) {
	server, client := serve(t)
	if err := client.RefreshBundle(t.Context(), otherOrg); !errors.Is(err, registrar.ErrNoRelationship) {
		t.Errorf("%v, want ErrNoRelationship", err)
	}
	if _, err := client.CreateFederationRelationships(t.Context(), []registrar.Relationship{webRelationship(otherOrg)}); err != nil {
		t.Fatal(err)
	}
	wantKind(t, client.RefreshBundle(t.Context(), otherOrg), registrar.Failed, "fails on RefreshBundle", "connection refused")
	server.Publish(&types.Bundle{TrustDomain: "other.org", SequenceNumber: 9})
	if err := client.RefreshBundle(t.Context(), otherOrg); err != nil {
		t.Error(err)
	}
	if b, err := client.FederatedBundle(t.Context(), otherOrg); err != nil || b.SequenceNumber != 9 {
		t.Errorf("bundle %+v, %v; want what is published", b, err)
	}
}

func TestDeleteFederationRelationships(t *testing.T) {
	server, client := serve(t)
	results, err := client.CreateFederationRelationships(t.Context(), []registrar.Relationship{webRelationship(otherOrg)})
	if err != nil || results[0] != nil {
		t.Fatal(results, err)
	}
	absent := spiffeid.RequireTrustDomainFromString("absent.org")
	results, err = client.DeleteFederationRelationships(t.Context(), []spiffeid.TrustDomain{otherOrg, absent})
	if err != nil || results[0] != nil || results[1] != nil {
		t.Errorf("%v, %v; want both removed", results, err)
	}
	if left := server.Relationships(); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
	server.Tamper(func(resp any) {
		if r, ok := resp.(*trustdomainv1.BatchDeleteFederationRelationshipResponse); ok {
			r.Results[0].Status = &types.Status{Code: int32(codes.PermissionDenied), Message: "no"}
		}
	})
	results, err = client.DeleteFederationRelationships(t.Context(), []spiffeid.TrustDomain{otherOrg})
	if err != nil {
		t.Fatal(err)
	}
	wantKind(t, results[0], registrar.Denied, "denies BatchDeleteFederationRelationship")
	server.Tamper(func(resp any) {
		if r, ok := resp.(*trustdomainv1.BatchDeleteFederationRelationshipResponse); ok {
			r.Results = nil
		}
	})
	if _, err := client.DeleteFederationRelationships(t.Context(), []spiffeid.TrustDomain{otherOrg}); err == nil {
		t.Error("no result for one relationship is taken")
	}
}
