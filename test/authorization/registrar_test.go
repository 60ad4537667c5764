package authorization

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/spire-api-sdk/proto/spire/api/types"

	"github.com/spire-injector/spire-injector/registrar"
	"github.com/spire-injector/spire-injector/registrar/reason"
	"github.com/spire-injector/spire-injector/registrar/spireapi"
	"github.com/spire-injector/spire-injector/test/standalone"
)

// The injector's own code does under the policy all that it does without, with the SVID that a real agent gives it.
func TestRegistrar(t *testing.T) {
	t.Parallel()
	s := narrowed(t, nil)
	client := s.client(t)
	cluster, err := registrar.NewCluster("demo-cluster", s.Domain)
	must(t, err)
	api := registrar.Workload{
		ID:             spiffeid.RequireFromPath(s.Domain, "/ns/demo/api"),
		Namespace:      "demo",
		ServiceAccount: "api",
		Attributes:     registrar.Attributes{X509SVIDTTL: time.Hour},
	}
	ensure := func(w registrar.Workload) error {
		// One that remembers nothing, and so looks at what there is.
		_, err := registrar.New(cluster, client, registrar.Options{}).Ensure(t.Context(), []registrar.Workload{w})
		return err
	}
	must(t, ensure(api))
	entry := cluster.WorkloadEntry(api)
	holds := func(want registrar.Entry) {
		t.Helper()
		got, err := client.GetEntry(t.Context(), want.ID)
		must(t, err)
		ignored := cmpopts.IgnoreFields(registrar.Entry{}, "CreatedAt") // SPIRE says when
		if diff := cmp.Diff(want, got, ignored, cmpopts.EquateComparable(spiffeid.ID{}, spiffeid.TrustDomain{})); diff != "" {
			t.Errorf("entry wanted (-) and held (+):\n%s", diff)
		}
	}
	holds(entry)
	for namespace, want := range map[string][]string{"demo": {entry.ID}, "elsewhere": nil} {
		got, err := client.EntriesInNamespace(t.Context(), cluster, namespace)
		must(t, err)
		if !slices.Equal(got, want) {
			t.Errorf("entries in namespace %s: expected %v, got %v", namespace, want, got)
		}
	}

	// A pod of that identity on a node, which asks for more than the one that was admitted.
	shorter := api
	shorter.X509SVIDTTL, shorter.DNSNames = time.Minute, []string{"api.test"}
	demand := registrar.NewDemand(cluster)
	demand.SetNode("node", nodeUID)
	demand.Set(registrar.Owner{Kind: registrar.KindPod, Namespace: "demo", Name: "api"}, registrar.Needs{
		Workloads: []registrar.Workload{shorter}, Identity: registrar.IdentityHash(api.ID), Node: "node",
	})
	var quarantined bool
	reconcile := func() (refused []registrar.Outcome) {
		// One that remembers nothing, as the one of another leader.
		r := registrar.NewReconciler(cluster, client, demand, registrar.ReconcilerOptions{
			Quarantined: func(spiffeid.ID) bool { return quarantined },
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		r.OnOutcome(func(o registrar.Outcome) {
			if o.Err != nil {
				refused = append(refused, o)
			}
		})
		passes := 0
		r.OnPass(func(p registrar.Pass) {
			must(t, p.Err)
			redone := slices.ContainsFunc(p.Steps, func(s registrar.Step) bool { return s.Why == reason.RowDrifted })
			if passes++; !redone {
				cancel()
			}
		})
		if r.Run(ctx); passes == 0 {
			t.Fatal("there was no pass")
		}
		return refused
	}
	row := cluster.NodeRow(registrar.IdentityHash(api.ID), nodeUID)
	entry.X509SVIDTTL, entry.DNSNames = time.Minute, []string{"api.test"}
	for _, tc := range []struct {
		what  string
		drift func() error
	}{
		{"nothing", func() error { return nil }},
		{"selectors and flags", func() error {
			return update(t.Context(), s.API, &types.EntryMask{Selectors: true, Admin: true, Downstream: true, StoreSvid: true}, &types.Entry{
				Id: entry.ID, Selectors: []*types.Selector{{Type: "x", Value: "y"}}, Admin: true, Downstream: true, StoreSvid: true,
			})
		}},
		{"the row's nodes", func() error {
			return update(t.Context(), s.API, &types.EntryMask{Selectors: true}, &types.Entry{
				Id: row.ID, Selectors: []*types.Selector{{Type: "x", Value: "y"}},
			})
		}},
		{"another identity's path", func() error {
			return update(t.Context(), s.API, &types.EntryMask{ParentId: true}, &types.Entry{Id: entry.ID, ParentId: pathID(aliasPath)})
		}},
		{"deleted", func() error { return remove(t.Context(), s.API, entry.ID, row.ID) }},
	} {
		must(t, tc.drift())
		for _, o := range reconcile() {
			t.Errorf("%s: %v", tc.what, o.Err)
		}
		holds(entry)
		holds(row)
	}
	quarantined = true
	for _, o := range reconcile() {
		t.Errorf("quarantined: %v", o.Err)
	}
	holds(entry)
	if _, err := client.GetEntry(t.Context(), row.ID); !errors.Is(err, registrar.ErrNotFound) {
		t.Errorf("the row of a quarantined identity: expected that there is none, got %v", err)
	}
	quarantined = false
	for _, o := range reconcile() {
		t.Errorf("taken off the list: %v", o.Err)
	}
	holds(row)
	// A SPIFFE ID is not changed back: that would be the right to give any identity to any entry.
	must(t, update(t.Context(), s.API, &types.EntryMask{SpiffeId: true}, &types.Entry{Id: entry.ID, SpiffeId: pathID("/drifted")}))
	if refused := reconcile(); len(refused) != 1 || registrar.KindOf(refused[0].Err) != registrar.Denied {
		t.Errorf("a SPIFFE ID that others changed: expected one denial, got %v", refused)
	}
	must(t, remove(t.Context(), s.API, entry.ID))

	// What an injector without rows left is moved, and removed.
	below := cluster.WorkloadEntry(api)
	below.ParentID = cluster.NodeAlias().SPIFFEID
	must(t, create(t.Context(), s.API, changed(formerAlias(), func(*types.Entry) {}), &types.Entry{
		Id: below.ID, SpiffeId: pathID(api.ID.Path()), ParentId: pathID(nodeAlias), Selectors: ours().Selectors,
	}))
	moved, err := client.UpdateEntries(t.Context(), []registrar.Entry{cluster.WorkloadEntry(api)}, registrar.FieldParentID)
	must(t, err)
	must(t, moved[0].Err)
	gone, err := client.DeleteEntries(t.Context(), []string{cluster.NodeAlias().ID})
	must(t, err)
	must(t, gone[0])

	for flag, w := range map[string]registrar.Workload{
		"admin":      {ID: spiffeid.RequireFromPath(s.Domain, "/tool"), Namespace: "demo", ServiceAccount: "tool", Attributes: registrar.Attributes{Admin: true}},
		"downstream": {ID: spiffeid.RequireFromPath(s.Domain, "/nested"), Namespace: "demo", ServiceAccount: "nested", Attributes: registrar.Attributes{Downstream: true}},
	} {
		err := ensure(w)
		if registrar.KindOf(err) != registrar.Denied {
			t.Errorf("%s: expected a denial, got: %v", flag, err)
			continue
		}
		for _, want := range []string{
			"what denies this is its authorization policy",
			fmt.Sprintf("policy-data.json, beside the server's configuration, lists its path: add %q under %q", w.ID.Path(), flag),
		} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: expected the message to have %q, got: %v", flag, want, err)
			}
		}
	}
}

// client is the injector's client of the server, with an agent that gives this process the injector's identity.
func (s server) client(t *testing.T) *spireapi.Client {
	t.Helper()
	token, err := s.JoinToken(t.Context())
	must(t, err)
	must(t, create(t.Context(), s.API, &types.Entry{
		SpiffeId: pathID(injectorPath), ParentId: pathID("/spire/agent/join_token/" + token),
		Selectors: []*types.Selector{{Type: "unix", Value: fmt.Sprintf("uid:%d", os.Getuid())}},
	}))
	socket := filepath.Join(s.dir, "agent.sock")
	agent, err := standalone.StartAgent(t.Context(), filepath.Join(s.dir, "agent"), shared.programs.SPIREAgent, s.Server, standalone.AgentConfig{Socket: socket, JoinToken: token})
	must(t, err)
	t.Cleanup(agent.Stop)
	client, err := spireapi.Dial(spireapi.Config{
		ServerAddress: fmt.Sprintf("127.0.0.1:%d", s.Port), AgentSocket: "unix://" + socket, TrustDomain: s.Domain,
	})
	must(t, err)
	t.Cleanup(func() { _ = client.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for client.Ready(ctx) != nil {
		if ctx.Err() != nil {
			t.Fatalf("no identity for the injector: %v\n%s", client.Ready(ctx), agent.Out)
		}
		time.Sleep(100 * time.Millisecond)
	}
	return client
}
