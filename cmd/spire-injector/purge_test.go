package main

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/spire-api-sdk/proto/spire/api/types"

	"github.com/spire-injector/spire-injector/registrar"
	"github.com/spire-injector/spire-injector/registrar/spireapi"
	"github.com/spire-injector/spire-injector/registrar/spireapi/spiretest"
)

// callingSPIRE is a client of a server of its own, which ends when stop is called, or the test ends.
func callingSPIRE(t *testing.T, td spiffeid.TrustDomain) (server *spiretest.Server, client *spireapi.Client, stop func()) {
	t.Helper()
	server = spiretest.NewServer(td)
	address, stop := server.ServeUnix(t)
	t.Cleanup(stop)
	client, err := spireapi.Dial(spireapi.Config{ServerAddress: address, TrustDomain: td})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return server, client, stop
}

// Only what is ours goes, and nothing in a dry run.
func TestPurge(t *testing.T) {
	t.Parallel()
	td := spiffeid.RequireTrustDomainFromString("example.org")
	cluster := registrar.Cluster{Name: "demo-cluster", TrustDomain: td}
	server, spire, _ := callingSPIRE(t, td)
	ids := func() string {
		var out []string
		for _, e := range server.Entries() {
			out = append(out, e.GetId())
		}
		return strings.Join(out, " ")
	}
	put := func(e registrar.Entry) {
		t.Helper()
		if results, err := spire.CreateEntries(t.Context(), []registrar.Entry{e}); err != nil || results[0].Err != nil {
			t.Fatal(err, results)
		}
	}
	workload := cluster.WorkloadEntry(registrar.Workload{
		ID: spiffeid.RequireFromString("spiffe://example.org/ns/shop/api"), Namespace: "shop", ServiceAccount: "api", Container: "envoy",
	})
	put(workload)
	put(cluster.NodeRow("abc", "0f6e3ab0-0000-4000-8000-000000000001"))
	for _, id := range []string{"bootstrap.demo-cluster.node", "spire-injector.demo-cluster.theirs"} {
		server.Put(&types.Entry{
			Id:        id,
			SpiffeId:  &types.SPIFFEID{TrustDomain: "example.org", Path: "/" + strings.ReplaceAll(id, ".", "/")},
			ParentId:  &types.SPIFFEID{TrustDomain: "example.org", Path: "/spire/server"},
			Selectors: []*types.Selector{{Type: "k8s_psat", Value: "cluster:demo-cluster"}},
		})
	}
	before := ids()
	for _, step := range []struct {
		dryRun     bool
		said, left string
	}{
		{true, "would remove 2 entries of cluster demo-cluster\n", before},
		{false, "removed 2 of 2 entries of cluster demo-cluster\n", "bootstrap.demo-cluster.node spire-injector.demo-cluster.theirs"},
		{false, "removed 0 of 0 entries of cluster demo-cluster\n", "bootstrap.demo-cluster.node spire-injector.demo-cluster.theirs"},
	} {
		var out strings.Builder
		if err := purge(t.Context(), &out, spire, cluster, step.dryRun); err != nil {
			t.Fatal(err)
		}
		if got := ids(); got != step.left || !strings.HasSuffix(out.String(), step.said) {
			t.Errorf("expected %s and %q, got %s and %q", step.left, step.said, got, out.String())
		}
		if step.dryRun && !strings.Contains(out.String(), workload.ID+" (spiffe://example.org/ns/shop/api)") {
			t.Errorf("got %s", out.String())
		}
	}
}

// Of federation relationships those go that are as the platform file has them; bundles stay.
func TestPurgeFederation(t *testing.T) {
	t.Parallel()
	td := spiffeid.RequireTrustDomainFromString("example.org")
	server, spire, _ := callingSPIRE(t, td)
	relationship := func(domain, url string) registrar.Relationship {
		return registrar.Relationship{
			TrustDomain: spiffeid.RequireTrustDomainFromString(domain), BundleEndpointURL: url, Profile: registrar.HTTPSWeb,
		}
	}
	var wanted []registrar.Federated
	for _, r := range []registrar.Relationship{
		relationship("ours.org", "https://ours.org"), relationship("changed.org", "https://changed.org"), relationship("gone.org", "https://gone.org"),
		relationship("otherwise.org", "https://otherwise.org"),
	} {
		wanted = append(wanted, registrar.Federated{Relationship: r, Refresh: time.Minute})
	}
	otherwise := wanted[3].Relationship // asked by another profile
	otherwise.Profile, otherwise.EndpointSPIFFEID = registrar.HTTPSSPIFFE, spiffeid.RequireFromString("spiffe://otherwise.org/spire/server")
	results, err := spire.CreateFederationRelationships(t.Context(), []registrar.Relationship{
		wanted[0].Relationship, otherwise, relationship("changed.org", "https://elsewhere.org"), relationship("theirs.org", "https://theirs.org"),
	})
	if err := errors.Join(append(results, err)...); err != nil {
		t.Fatal(err)
	}
	server.PutBundle(&types.Bundle{TrustDomain: "ours.org", SequenceNumber: 1})
	const left = "left alone, because they are not as the platform file has them: 2 federation relationships\n"
	for _, step := range []struct {
		dryRun      bool
		said, there string
	}{
		{true, left + "federation with ours.org (https://ours.org)\nwould remove 1 federation relationships\n", "ours.org otherwise.org changed.org theirs.org"},
		{false, left + "removed 1 of 1 federation relationships\n", "otherwise.org changed.org theirs.org"},
		{false, left + "removed 0 of 0 federation relationships\n", "otherwise.org changed.org theirs.org"},
	} {
		var out strings.Builder
		if err := purgeFederation(t.Context(), &out, spire, wanted, step.dryRun); err != nil {
			t.Fatal(err)
		}
		var there []string
		for _, r := range server.Relationships() {
			there = append(there, r.GetTrustDomain())
		}
		if got := strings.Join(there, " "); got != step.there || out.String() != step.said {
			t.Errorf("expected %s and %q, got %s and %q", step.there, step.said, got, out.String())
		}
	}
	if b, err := spire.FederatedBundle(t.Context(), wanted[0].TrustDomain); err != nil || b.SequenceNumber != 1 {
		t.Errorf("the bundle: %+v, %v", b, err)
	}
}
