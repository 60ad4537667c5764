package authorization

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/spire-api-sdk/proto/spire/api/types"

	"github.com/spire-injector/spire-injector/registrar"
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
		if diff := cmp.Diff(want, got, cmpopts.EquateComparable(spiffeid.ID{}, spiffeid.TrustDomain{})); diff != "" {
			t.Errorf("entry wanted (-) and held (+):\n%s", diff)
		}
	}
	holds(entry)
	holds(cluster.NodeAlias())

	shorter := api
	shorter.X509SVIDTTL, shorter.DNSNames = time.Minute, []string{"api.test"}
	must(t, ensure(shorter))
	entry.X509SVIDTTL, entry.DNSNames = time.Minute, []string{"api.test"}
	holds(entry)

	for name, drift := range map[string]func() error{
		"SPIFFE ID": func() error {
			return update(t.Context(), s.API, &types.EntryMask{SpiffeId: true}, &types.Entry{Id: entry.ID, SpiffeId: pathID("/drifted")})
		},
		"selectors and flags": func() error {
			return update(t.Context(), s.API, &types.EntryMask{Selectors: true, Admin: true, Downstream: true, StoreSvid: true}, &types.Entry{
				Id: entry.ID, Selectors: []*types.Selector{{Type: "x", Value: "y"}}, Admin: true, Downstream: true, StoreSvid: true,
			})
		},
		"the alias' nodes": func() error {
			return update(t.Context(), s.API, &types.EntryMask{Selectors: true}, &types.Entry{
				Id: cluster.NodeAlias().ID, Selectors: []*types.Selector{{Type: "x", Value: "y"}},
			})
		},
		"deleted": func() error { return remove(t.Context(), s.API, entry.ID, cluster.NodeAlias().ID) },
	} {
		must(t, drift())
		if err := ensure(shorter); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		holds(entry)
		holds(cluster.NodeAlias())
	}

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
	agent, err := standalone.StartAgent(t.Context(), filepath.Join(s.dir, "agent"), shared.programs.SPIREAgent, s.Server, socket, token)
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
