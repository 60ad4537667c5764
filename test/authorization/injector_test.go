package authorization

import (
	"context"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	agentv1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/agent/v1"
	bundlev1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/bundle/v1"
	entryv1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/entry/v1"
	localauthorityv1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/localauthority/v1"
	svidv1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/svid/v1"
	trustdomainv1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/trustdomain/v1"
	"github.com/spiffe/spire-api-sdk/proto/spire/api/types"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/testing/protocmp"
)

const (
	prefix    = "spire-injector.demo-cluster."
	oursID    = prefix + "aaaaaaaaaaaaaaaaaaaaaaaaaa"
	pathHash  = "abcdefghijklmnopqrstuvwxy2"
	aliasPath = "/spire-injector/demo-cluster/id/" + pathHash
	nodeAlias = "/spire-injector/demo-cluster/node"
	nodeUID   = "4f1c2d3e-0000-4000-8000-123456789abc"
	rowID     = prefix + "row-" + pathHash + "-" + nodeUID
	foreignID = "somebody-elses"
)

// row is one of a node.
func row() *types.Entry {
	return &types.Entry{
		Id: rowID, SpiffeId: pathID(aliasPath), ParentId: pathID("/spire/server"),
		Selectors: []*types.Selector{{Type: "k8s_psat", Value: "agent_node_uid:" + nodeUID}},
	}
}

// rowOfAll is one of all nodes.
func rowOfAll() *types.Entry {
	return changed(row(), func(e *types.Entry) {
		e.Id, e.Selectors = prefix+"row-"+pathHash, []*types.Selector{{Type: "k8s_psat", Value: "cluster:demo-cluster"}}
	})
}

// formerAlias is what an injector without rows has its workloads' entries below.
func formerAlias() *types.Entry {
	return changed(rowOfAll(), func(e *types.Entry) { e.Id, e.SpiffeId = prefix+"node", pathID(nodeAlias) })
}

// ours is an entry as the injector makes it.
func ours() *types.Entry { return workload(oursID, "/ns/demo/api") }

// hashed is an entry ID of a workload, which ends with a letter.
func hashed(letter string) string { return prefix + strings.Repeat("a", 25) + letter }

func workload(id, path string) *types.Entry {
	return &types.Entry{
		Id: id, SpiffeId: pathID(path), ParentId: pathID(aliasPath),
		Selectors: []*types.Selector{{Type: "k8s", Value: "ns:demo"}, {Type: "k8s", Value: "sa:" + path[1:]}},
	}
}

func foreign() *types.Entry {
	e := workload(foreignID, "/legacy")
	e.ParentId = pathID("/node")
	return e
}

// attempts are calls with a name.
type attempts []struct {
	name string
	call func(context.Context, grpc.ClientConnInterface) error
}

func creating(entries ...*types.Entry) func(context.Context, grpc.ClientConnInterface) error {
	return func(ctx context.Context, conn grpc.ClientConnInterface) error { return create(ctx, conn, entries...) }
}

func updating(mask *types.EntryMask, entries ...*types.Entry) func(context.Context, grpc.ClientConnInterface) error {
	return func(ctx context.Context, conn grpc.ClientConnInterface) error {
		return update(ctx, conn, mask, entries...)
	}
}

func removing(ids ...string) func(context.Context, grpc.ClientConnInterface) error {
	return func(ctx context.Context, conn grpc.ClientConnInterface) error { return remove(ctx, conn, ids...) }
}

// The attempts build on each other.
func TestInjectorMay(t *testing.T) {
	t.Parallel()
	s := narrowed(t, func(d *policyData) { d.Injectors[0].Federation = []string{"partner.test"} })
	must(t, create(t.Context(), s.API, foreign(), formerAlias()))
	relationship := &types.FederationRelationship{
		TrustDomain: "partner.test", BundleEndpointUrl: "https://127.0.0.1:1/", BundleEndpointProfile: &types.FederationRelationship_HttpsWeb{},
	}
	injector := s.as(t, injectorPath)
	for _, a := range (attempts{
		{"create a row", creating(row())},
		{"create a workload's entry", creating(ours(), workload(hashed("b"), "/api"))},
		{"create one with attributes", creating(changed(workload(hashed("c"), "/c"), func(e *types.Entry) {
			e.DnsNames, e.X509SvidTtl, e.JwtSvidTtl, e.Hint, e.ExpiresAt = []string{"c.test"}, 60, 60, "c", time.Now().Add(time.Hour).Unix()
		}))},
		{"update one field, all others empty", updating(&types.EntryMask{X509SvidTtl: true}, &types.Entry{Id: oursID, X509SvidTtl: 30})},
		{"update one field, the others given", updating(&types.EntryMask{X509SvidTtl: true}, changed(ours(), func(e *types.Entry) { e.X509SvidTtl = 20 }))},
		{"move to an alias path", updating(&types.EntryMask{ParentId: true}, &types.Entry{Id: oursID, ParentId: pathID(aliasPath)})},
		{"update selectors", updating(&types.EntryMask{Selectors: true}, ours())},
		{"lower flags", updating(&types.EntryMask{Admin: true, Downstream: true, StoreSvid: true}, &types.Entry{Id: oursID})},
		{"get an entry", func(ctx context.Context, conn grpc.ClientConnInterface) error {
			_, err := entryv1.NewEntryClient(conn).GetEntry(ctx, &entryv1.GetEntryRequest{Id: foreignID})
			return err
		}},
		{"list entries", func(ctx context.Context, conn grpc.ClientConnInterface) error {
			_, err := entryv1.NewEntryClient(conn).ListEntries(ctx, &entryv1.ListEntriesRequest{
				Filter: &entryv1.ListEntriesRequest_Filter{ByParentId: pathID(nodeAlias)}, PageSize: 2,
			})
			return err
		}},
		{"delete its entries", removing(oursID, hashed("b"), rowID)},
		{"delete what it made before it had rows", removing(prefix + "node")},
		{"get the bundle", func(ctx context.Context, conn grpc.ClientConnInterface) error {
			_, err := bundlev1.NewBundleClient(conn).GetBundle(ctx, &bundlev1.GetBundleRequest{})
			return err
		}},
		{"list federated bundles", func(ctx context.Context, conn grpc.ClientConnInterface) error {
			_, err := bundlev1.NewBundleClient(conn).ListFederatedBundles(ctx, &bundlev1.ListFederatedBundlesRequest{})
			return err
		}},
		{"federate with a listed domain", func(ctx context.Context, conn grpc.ClientConnInterface) error {
			return federate(ctx, conn, relationship)
		}},
		{"change that", func(ctx context.Context, conn grpc.ClientConnInterface) error {
			return refederate(ctx, conn, relationship)
		}},
		{"get that", func(ctx context.Context, conn grpc.ClientConnInterface) error {
			_, err := trustdomainv1.NewTrustDomainClient(conn).GetFederationRelationship(ctx,
				&trustdomainv1.GetFederationRelationshipRequest{TrustDomain: "partner.test"})
			return err
		}},
		{"list those", func(ctx context.Context, conn grpc.ClientConnInterface) error {
			_, err := trustdomainv1.NewTrustDomainClient(conn).ListFederationRelationships(ctx, &trustdomainv1.ListFederationRelationshipsRequest{})
			return err
		}},
		{"remove that", func(ctx context.Context, conn grpc.ClientConnInterface) error {
			return unfederate(ctx, conn, "partner.test")
		}},
	}) {
		if err := a.call(t.Context(), injector); err != nil {
			t.Errorf("%s: %v", a.name, err)
		}
	}
	// These find nothing that they could return, but not for want of the right.
	for _, a := range (attempts{
		{"get a federated bundle", func(ctx context.Context, conn grpc.ClientConnInterface) error {
			_, err := bundlev1.NewBundleClient(conn).GetFederatedBundle(ctx, &bundlev1.GetFederatedBundleRequest{TrustDomain: "partner.test"})
			return err
		}},
		{"refresh a bundle", func(ctx context.Context, conn grpc.ClientConnInterface) error {
			_, err := trustdomainv1.NewTrustDomainClient(conn).RefreshBundle(ctx, &trustdomainv1.RefreshBundleRequest{TrustDomain: "unknown.test"})
			return err
		}},
	}) {
		if err := a.call(t.Context(), injector); err == nil || denied(err) {
			t.Errorf("%s: expected an error, but no denial, got: %v", a.name, err)
		}
	}
}

// What the injector is denied, another admin may do: so it is the policy that denies it, and nothing else is wrong with
// it.
func TestInjectorMayNot(t *testing.T) {
	t.Parallel()
	s := narrowed(t, nil)
	must(t, create(t.Context(), s.API, row(), ours(), foreign()))
	before, err := all(t.Context(), s.API)
	must(t, err)
	injector, admin := s.as(t, injectorPath), s.as(t, adminPath)
	denials := injectorMayNot(t, s)
	for _, a := range denials {
		if err := a.call(t.Context(), injector); !denied(err) {
			t.Errorf("%s: expected a denial, got: %v", a.name, err)
		}
	}
	after, err := all(t.Context(), s.API)
	must(t, err)
	if diff := cmp.Diff(before, after, protocmp.Transform()); diff != "" {
		t.Errorf("entries before (-) and after (+) the attempts:\n%s", diff)
	}
	for _, a := range denials {
		if err := a.call(t.Context(), admin); denied(err) {
			t.Errorf("%s: another admin is denied it too: %v", a.name, err)
		}
	}
}

func injectorMayNot(t *testing.T, s server) attempts {
	t.Helper()
	fresh := hashed("d")
	another := func(change func(*types.Entry)) *types.Entry {
		return changed(row(), func(e *types.Entry) {
			e.Id, e.Selectors[0].Value = e.Id+"x", e.Selectors[0].Value+"x"
			change(e)
		})
	}
	entry := func(change func(*types.Entry)) *types.Entry { return changed(workload(fresh, "/d"), change) }
	_, csr := certificateRequest(t, &url.URL{Scheme: "spiffe", Host: domain, Path: "/api"})
	foreignTTL := &types.Entry{Id: foreignID, X509SvidTtl: 30}
	list := attempts{
		{"create an admin", creating(entry(func(e *types.Entry) { e.Admin = true }))},
		{"create a downstream server", creating(entry(func(e *types.Entry) { e.Downstream = true }))},
		{"create an entry for a store", creating(entry(func(e *types.Entry) { e.StoreSvid = true }))},
		{"create an admin behind a good entry", creating(ours(), entry(func(e *types.Entry) { e.Admin = true }))},
		{"create without an entry ID", creating(entry(func(e *types.Entry) { e.Id = "" }))},
		{"create with another prefix", creating(entry(func(e *types.Entry) { e.Id = "other.x" }))},
		{"create for another cluster", creating(entry(func(e *types.Entry) { e.Id = "spire-injector.other.x" }))},
		{"create for a cluster whose name begins alike", creating(entry(func(e *types.Entry) { e.Id = prefix + "b.x" }))},
		{"create with the bare prefix", creating(entry(func(e *types.Entry) { e.Id = prefix }))},
		{"create below the server", creating(entry(func(e *types.Entry) { e.ParentId = pathID("/spire/server") }))},
		{"create below an agent", creating(entry(func(e *types.Entry) { e.ParentId = pathID("/spire/agent/k8s_psat/demo-cluster/x") }))},
		{"create below another cluster's path", creating(entry(func(e *types.Entry) { e.ParentId = pathID("/spire-injector/other/id/" + pathHash) }))},
		{"create below the alias of all nodes", creating(entry(func(e *types.Entry) { e.ParentId = pathID(nodeAlias) }))},
		{"create below the root of alias paths", creating(entry(func(e *types.Entry) { e.ParentId = pathID("/spire-injector/demo-cluster/id") }))},
		{"create below something below an alias path", creating(entry(func(e *types.Entry) { e.ParentId = pathID(aliasPath + "/x") }))},
		{"create with an ID of no kind", creating(entry(func(e *types.Entry) { e.Id = prefix + "d" }))},
		{"create a workload with a row's ID", creating(entry(func(e *types.Entry) { e.Id = rowID + "x" }))},
		{"create without a parent", creating(entry(func(e *types.Entry) { e.ParentId = nil }))},
		{"create without a SPIFFE ID", creating(entry(func(e *types.Entry) { e.SpiffeId = nil }))},
		{"create in another trust domain", creating(entry(func(e *types.Entry) { e.SpiffeId.TrustDomain = "other.test" }))},
		{"create below a parent of another trust domain", creating(entry(func(e *types.Entry) { e.ParentId.TrustDomain = "other.test" }))},
		{"create a row of all nodes", creating(rowOfAll())},
		{"create the alias of all nodes", creating(formerAlias())},
		{"create a row of nodes by another selector", creating(another(func(e *types.Entry) { e.Selectors[0].Value = "agent_ns:spire" }))},
		{"create a row of nodes by another attestor", creating(another(func(e *types.Entry) { e.Selectors[0].Type = "x" }))},
		{"create a row with two selectors", creating(another(func(e *types.Entry) {
			e.Selectors = append(e.Selectors, &types.Selector{Type: "k8s_psat", Value: "cluster:demo-cluster"})
		}))},
		{"create a row with another node in its ID", creating(another(func(e *types.Entry) { e.Id = rowID + "y" }))},
		{"create a row with another path in its ID", creating(another(func(e *types.Entry) { e.SpiffeId = pathID(aliasPath[:len(aliasPath)-1] + "3") }))},
		{"create a row with a workload's ID", creating(another(func(e *types.Entry) { e.Id = fresh }))},
		{"create a row as an admin", creating(another(func(e *types.Entry) { e.Admin = true }))},
		{"create a row with a DNS name", creating(another(func(e *types.Entry) { e.DnsNames = []string{"a.test"} }))},
		{"create a row of a workload's SPIFFE ID", creating(another(func(e *types.Entry) { e.SpiffeId = pathID("/api") }))},
		{"create a row of the root of alias paths", creating(another(func(e *types.Entry) { e.SpiffeId = pathID("/spire-injector/demo-cluster/id") }))},
		{"create a row of another cluster's path", creating(another(func(e *types.Entry) { e.SpiffeId = pathID("/spire-injector/other/id/" + pathHash) }))},
		{"create a row below an agent", creating(another(func(e *types.Entry) { e.ParentId = pathID("/spire/agent/x") }))},
		{"create a row below a path", creating(another(func(e *types.Entry) { e.ParentId = pathID(aliasPath) }))},
		{"update a row", updating(nil, row())},
		{"update a row's nodes", updating(&types.EntryMask{Selectors: true}, changed(row(), func(e *types.Entry) { e.Selectors[0].Value = "cluster:demo-cluster" }))},
		{"update a row's expiry", updating(&types.EntryMask{ExpiresAt: true}, changed(row(), func(e *types.Entry) { e.ExpiresAt = time.Now().Add(time.Hour).Unix() }))},
		{"update a row's SPIFFE ID", updating(&types.EntryMask{SpiffeId: true}, changed(row(), func(e *types.Entry) { e.SpiffeId = pathID("/ns/demo/api") }))},
		{"update a row behind a workload's entry", updating(&types.EntryMask{X509SvidTtl: true}, ours(), row())},
		{"update all fields", updating(nil, changed(ours(), func(e *types.Entry) { e.X509SvidTtl = 60 }))},
		{"update the SPIFFE ID", updating(&types.EntryMask{SpiffeId: true}, &types.Entry{Id: oursID, SpiffeId: pathID("/ns/demo/web")})},
		{"move to the alias of all nodes", updating(&types.EntryMask{ParentId: true}, &types.Entry{Id: oursID, ParentId: pathID(nodeAlias)})},
		{"update another's entry", updating(nil, changed(foreign(), func(e *types.Entry) { e.X509SvidTtl = 30 }))},
		{"update a field of another's entry", updating(&types.EntryMask{X509SvidTtl: true}, foreignTTL)},
		{"update no field of another's entry", updating(&types.EntryMask{}, foreignTTL)},
		{"update another's entry to be ours", updating(nil, changed(ours(), func(e *types.Entry) { e.Id = foreignID }))},
		{"update another's entry behind an own", updating(&types.EntryMask{X509SvidTtl: true}, &types.Entry{Id: oursID, X509SvidTtl: 30}, foreignTTL)},
		{"update to an admin", updating(&types.EntryMask{Admin: true}, &types.Entry{Id: oursID, Admin: true})},
		{"update all fields to an admin", updating(nil, changed(ours(), func(e *types.Entry) { e.Admin = true }))},
		{"update to a downstream server", updating(&types.EntryMask{Downstream: true}, &types.Entry{Id: oursID, Downstream: true})},
		{"update to a store's entry", updating(&types.EntryMask{StoreSvid: true}, &types.Entry{Id: oursID, StoreSvid: true})},
		{"update to another parent", updating(&types.EntryMask{ParentId: true}, &types.Entry{Id: oursID, ParentId: pathID("/spire/server")})},
		{"update to a reserved SPIFFE ID", updating(&types.EntryMask{SpiffeId: true}, &types.Entry{Id: oursID, SpiffeId: pathID(aliasPath)})},
		{"update to no SPIFFE ID", updating(&types.EntryMask{SpiffeId: true}, &types.Entry{Id: oursID})},
		{"delete another's entry", removing(foreignID)},
		{"delete another's entry behind an own", removing(oursID, foreignID)},
		{"delete an entry of another cluster", removing("spire-injector.other.x")},
		{"delete an entry of a cluster whose name begins alike", removing(prefix + "b.x")},
		{"federate with a domain that is not listed", func(ctx context.Context, conn grpc.ClientConnInterface) error {
			return federate(ctx, conn, &types.FederationRelationship{
				TrustDomain: "partner.test", BundleEndpointUrl: "https://127.0.0.1:1/", BundleEndpointProfile: &types.FederationRelationship_HttpsWeb{},
			})
		}},
		{"change such a federation", func(ctx context.Context, conn grpc.ClientConnInterface) error {
			return refederate(ctx, conn, &types.FederationRelationship{TrustDomain: "partner.test"})
		}},
		{"remove such a federation", func(ctx context.Context, conn grpc.ClientConnInterface) error {
			return unfederate(ctx, conn, "partner.test")
		}},
		{"mint an X.509-SVID", func(ctx context.Context, conn grpc.ClientConnInterface) error {
			_, err := svidv1.NewSVIDClient(conn).MintX509SVID(ctx, &svidv1.MintX509SVIDRequest{Csr: csr})
			return err
		}},
		{"mint a JWT-SVID", func(ctx context.Context, conn grpc.ClientConnInterface) error {
			_, err := svidv1.NewSVIDClient(conn).MintJWTSVID(ctx, &svidv1.MintJWTSVIDRequest{Id: pathID("/api"), Audience: []string{"x"}})
			return err
		}},
		{"make a join token", func(ctx context.Context, conn grpc.ClientConnInterface) error {
			_, err := agentv1.NewAgentClient(conn).CreateJoinToken(ctx, &agentv1.CreateJoinTokenRequest{Ttl: 60})
			return err
		}},
		{"ban an agent", func(ctx context.Context, conn grpc.ClientConnInterface) error {
			_, err := agentv1.NewAgentClient(conn).BanAgent(ctx, &agentv1.BanAgentRequest{Id: pathID("/spire/agent/x")})
			return err
		}},
		{"evict an agent", func(ctx context.Context, conn grpc.ClientConnInterface) error {
			_, err := agentv1.NewAgentClient(conn).DeleteAgent(ctx, &agentv1.DeleteAgentRequest{Id: pathID("/spire/agent/x")})
			return err
		}},
		{"give the server a bundle's authorities", func(ctx context.Context, conn grpc.ClientConnInterface) error {
			_, err := bundlev1.NewBundleClient(conn).AppendBundle(ctx, &bundlev1.AppendBundleRequest{X509Authorities: []*types.X509Certificate{{Asn1: root(t, s)}}})
			return err
		}},
		{"set a federated bundle", func(ctx context.Context, conn grpc.ClientConnInterface) error {
			response, err := bundlev1.NewBundleClient(conn).BatchSetFederatedBundle(ctx, &bundlev1.BatchSetFederatedBundleRequest{
				Bundle: []*types.Bundle{{TrustDomain: "partner.test", X509Authorities: []*types.X509Certificate{{Asn1: root(t, s)}}}},
			})
			return join(err, response.GetResults())
		}},
		{"rotate the authority", func(ctx context.Context, conn grpc.ClientConnInterface) error {
			_, err := localauthorityv1.NewLocalAuthorityClient(conn).PrepareX509Authority(ctx, &localauthorityv1.PrepareX509AuthorityRequest{})
			return err
		}},
	}
	for _, path := range []string{
		"/spire", "/spire/agent/x", "/spire/server", "/spire-injector", "/spire-injector/x", aliasPath, nodeAlias, "/spire-injector/other/id/x",
		injectorPath, "/ns/spire-injector/x", "/ns/spire/x", "/bootstrap/demo-cluster/node",
	} {
		list = append(list, attempts{{"create " + path, creating(entry(func(e *types.Entry) { e.SpiffeId = pathID(path) }))}}...)
	}
	return slices.Concat(list, otherMethods(t))
}

// otherMethods are all that SPIRE lets an admin call and that the injector does not need, with empty requests.
func otherMethods(t *testing.T) attempts {
	t.Helper()
	needed := map[string]bool{}
	for _, name := range []string{
		"entry.v1.Entry.BatchCreateEntry", "entry.v1.Entry.BatchUpdateEntry", "entry.v1.Entry.BatchDeleteEntry", "entry.v1.Entry.GetEntry",
		"entry.v1.Entry.ListEntries", "bundle.v1.Bundle.GetBundle", "bundle.v1.Bundle.ListFederatedBundles", "bundle.v1.Bundle.GetFederatedBundle",
		"trustdomain.v1.TrustDomain.ListFederationRelationships", "trustdomain.v1.TrustDomain.GetFederationRelationship",
		"trustdomain.v1.TrustDomain.BatchCreateFederationRelationship", "trustdomain.v1.TrustDomain.BatchUpdateFederationRelationship",
		"trustdomain.v1.TrustDomain.BatchDeleteFederationRelationship", "trustdomain.v1.TrustDomain.RefreshBundle",
	} {
		needed["spire.api.server."+name] = true
	}
	s := plain(t)
	admin := s.as(t, adminPath)
	var list attempts
	for _, m := range methods() {
		if !needed[string(m.FullName())] && reached(attempt(t.Context(), admin, m)) {
			list = append(list, attempts{{string(m.FullName()), func(ctx context.Context, conn grpc.ClientConnInterface) error {
				return attempt(ctx, conn.(*grpc.ClientConn), m)
			}}}...)
		}
	}
	return list
}

func root(t *testing.T, s server) []byte {
	t.Helper()
	roots, err := s.Roots(t.Context())
	must(t, err)
	return roots[0].Raw
}
