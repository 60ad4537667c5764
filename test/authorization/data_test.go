package authorization

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/spiffe/spire-api-sdk/proto/spire/api/types"
)

// What the data grants, the injector may; what they take away, it may not.
func TestData(t *testing.T) {
	t.Parallel()
	const otherPath = "/ns/spire-injector-two/sa/spire-injector"
	s := narrowed(t, func(d *policyData) {
		first := d.Injectors[0]
		first.Paths, first.Except = []string{"/ns/*", "/nested", "/tool"}, []string{"/ns/kube-system/*"}
		first.Downstream, first.Admin, first.StoreSVID = []string{"/nested"}, []string{"/tool"}, []string{"/ns/stored/*"}
		second := *first
		second.Cluster, second.NodeSelectors = "second", []string{"k8s_psat:cluster:second", "k8s_psat:agent_ns:spire"}
		third := second
		third.SPIFFEID, third.Cluster = spiffeID(otherPath), "third"
		d.Injectors = append(d.Injectors, &second, &third)
	})
	// Its configuration knows the third as no admin, so an entry has to.
	must(t, create(t.Context(), s.API, &types.Entry{
		SpiffeId: pathID(otherPath), ParentId: pathID("/node"), Selectors: []*types.Selector{{Type: "x", Value: "y"}}, Admin: true,
	}))
	time.Sleep(2 * time.Second) // until the server's cache has the entry
	injector, third := s.as(t, injectorPath), s.as(t, otherPath)
	in := func(cluster string, e *types.Entry) *types.Entry {
		return changed(e, func(e *types.Entry) {
			e.Id = strings.Replace(e.Id, "demo-cluster", cluster, 1)
			e.ParentId.Path = strings.Replace(e.ParentId.Path, "demo-cluster", cluster, 1)
			e.SpiffeId.Path = strings.Replace(e.SpiffeId.Path, "demo-cluster", cluster, 1)
		})
	}
	twoNodes := func(e *types.Entry) {
		e.Selectors = []*types.Selector{{Type: "k8s_psat", Value: "cluster:second"}, {Type: "k8s_psat", Value: "agent_ns:spire"}}
	}
	flagged := func(id, path string, change func(*types.Entry)) *types.Entry {
		return changed(workload(hashed(id), path), change)
	}
	downstream, admin := func(e *types.Entry) { e.Downstream = true }, func(e *types.Entry) { e.Admin = true }
	stored := func(e *types.Entry) { e.StoreSvid = true }
	for _, a := range (attempts{
		{"a listed path", creating(workload(hashed("a"), "/ns/demo/a"))},
		{"a listed downstream server", creating(flagged("b", "/nested", downstream))},
		{"a listed admin", creating(flagged("c", "/tool", admin))},
		{"below a path listed for stores", creating(flagged("d", "/ns/stored/x", stored))},
		{"the second cluster's row of a node", creating(in("second", row()))},
		{"the second cluster's row of all nodes", creating(changed(in("second", rowOfAll()), twoNodes))},
		{"the alias that the second cluster has had", creating(changed(in("second", formerAlias()), twoNodes))},
		{"a workload below that", creating(changed(in("second", workload(hashed("b"), "/ns/demo/b")), func(e *types.Entry) {
			e.ParentId = pathID("/spire-injector/second/node")
		}))},
		{"the second cluster's workload", creating(in("second", workload(hashed("a"), "/ns/demo/a")))},
	}) {
		if err := a.call(t.Context(), injector); err != nil {
			t.Errorf("%s: %v", a.name, err)
		}
	}
	must(t, create(t.Context(), third, in("third", workload(hashed("a"), "/ns/demo/a"))))
	for _, a := range (attempts{
		{"a path that is not listed", creating(workload(hashed("x"), "/demo"))},
		{"a path that begins like a listed one", creating(workload(hashed("x"), "/nested/x"))},
		{"an exception", creating(workload(hashed("x"), "/ns/kube-system/x"))},
		{"another flag than the listed", creating(flagged("x", "/nested", admin))},
		{"a flag for another path", creating(flagged("x", "/ns/demo/x", downstream))},
		{"raise a flag of an entry whose SPIFFE ID is only said to be listed",
			updating(&types.EntryMask{Downstream: true}, flagged("a", "/nested", downstream))},
		{"rename within what is listed", updating(&types.EntryMask{SpiffeId: true, Admin: true, Downstream: true, StoreSvid: true},
			workload(hashed("a"), "/ns/demo/b"))},
		{"the other injector's SPIFFE ID", creating(workload(hashed("x"), otherPath))},
		{"the other injector's cluster", creating(in("third", workload(hashed("x"), "/ns/demo/x")))},
		{"a mixture of two clusters", creating(changed(workload(hashed("x"), "/ns/demo/x"), func(e *types.Entry) {
			e.ParentId = pathID("/spire-injector/second/id/" + pathHash)
		}))},
		{"a row of two clusters", creating(changed(row(), func(e *types.Entry) {
			e.Id, e.SpiffeId = e.Id+"x", pathID("/spire-injector/second/id/"+pathHash)
		}))},
		{"some of the second cluster's nodes", creating(changed(in("second", rowOfAll()), func(e *types.Entry) {
			twoNodes(e)
			e.Id, e.Selectors = e.Id[:len(e.Id)-1]+"3", e.Selectors[:1]
			e.SpiffeId.Path = e.SpiffeId.Path[:len(e.SpiffeId.Path)-1] + "3"
		}))},
	}) {
		if err := a.call(t.Context(), injector); !denied(err) {
			t.Errorf("%s: expected a denial, got: %v", a.name, err)
		}
	}
	if err := create(t.Context(), third, workload(hashed("x"), "/ns/demo/x")); !denied(err) {
		t.Errorf("the third's attempt on the first's cluster: expected a denial, got: %v", err)
	}
}

// misconfigured is what the server says then; policy.rego tells people to look for it.
const misconfigured = "no matching policies found"

// A server does not start with data that it could misunderstand.
func TestMalformedData(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(data, injector map[string]any){
		"a field too many":           func(_, i map[string]any) { i["path"] = []string{"/*"} },
		"a field too few":            func(_, i map[string]any) { delete(i, "except") },
		"no list":                    func(_, i map[string]any) { i["except"] = "/ns/*" },
		"an object for a list":       func(_, i map[string]any) { i["except"] = map[string]string{} },
		"another type in a list":     func(_, i map[string]any) { i["except"] = []int{1} },
		"a pattern that is no path":  func(_, i map[string]any) { i["except"] = []string{"ns/*"} },
		"a path for a SPIFFE ID":     func(_, i map[string]any) { i["spiffe_id"] = injectorPath },
		"no cluster":                 func(_, i map[string]any) { i["cluster"] = "" },
		"a cluster that is no name":  func(_, i map[string]any) { i["cluster"] = "a/b" },
		"another name for injectors": func(d, i map[string]any) { delete(d, "injectors"); d["injector"] = []any{i} },
		"injectors that are no list": func(d, i map[string]any) { d["injectors"] = map[string]any{"a": i} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var data map[string]any
			must(t, json.Unmarshal(marshal(t, shippedData(t, nil)), &data))
			change(data, data["injectors"].([]any)[0].(map[string]any))
			s := startServer(t, policyFiles(t, marshal(t, data)))
			deadline := time.Now().Add(time.Minute)
			for s.Running() {
				if time.Now().After(deadline) {
					t.Fatal("the server runs with it")
				}
				time.Sleep(20 * time.Millisecond)
			}
			if said := s.Out.String(); !strings.Contains(said, misconfigured) {
				t.Errorf("expected the server to say %q, got:\n%s", misconfigured, said)
			}
		})
	}
}
