package entries

import (
	"reflect"
	"sync/atomic"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/spire-injector/spire-injector/registrar"
)

// aliasPath is what the rows of /api are called.
func aliasPath() string {
	return "/spire-injector/demo-cluster/id/" + registrar.IdentityHash(spiffeid.RequireFromPath(exampleOrg, "/api"))
}

// wantRows fails the test unless SPIRE holds rows of /api for just the nodes with these UIDs, made in this order.
func (c *cluster) wantRows(when string, want ...string) {
	c.t.Helper()
	var got []string
	for _, e := range c.server.Entries() {
		if e.GetSpiffeId().GetPath() == aliasPath() {
			got = append(got, e.GetSelectors()[0].GetValue())
		}
	}
	if len(got) != len(want) {
		c.t.Fatalf("%s: rows of %v, want of %v", when, got, want)
	}
	for i := range want {
		if got[i] != "agent_node_uid:"+want[i] {
			c.t.Errorf("%s: rows of %v, want of %v", when, got, want)
		}
	}
}

// The agents of the nodes that an identity's pods run on are authorized for it, from the binding of the first pod to the
// end of the last one.
func TestRowsFollowPodsAndNodes(t *testing.T) {
	inCluster(t, []client.Object{
		configuration("", 1), namespace("a"), node("one", "uid-1"), node("two", "uid-2"),
		bound(pod("a", "before", "/api"), "one"), pod("a", "pending", "/api"),
	}, func(t *testing.T, c *cluster) {
		c.start()
		c.wantRows("at first", "uid-1")
		c.source(&corev1.Pod{}).Modify(bound(pod("a", "pending", "/api"), "two"))
		after(soon)
		c.wantRows("when it is bound", "uid-1", "uid-2")

		c.source(&corev1.Pod{}).Delete(bound(pod("a", "before", "/api"), "one"))
		after(grace - time.Second)
		c.wantRows("within the grace period", "uid-1", "uid-2")
		after(2 * time.Second)
		c.wantRows("after the grace period", "uid-2")

		c.source(nodeMetadata()).Modify(node("two", "uid-3"))
		after(soon)
		c.wantRows("when the node is another one of its name", "uid-3")
		c.source(nodeMetadata()).Delete(node("two", "uid-3"))
		after(soon)
		c.wantRows("when it is gone")
		c.source(&corev1.Pod{}).Add(bound(pod("a", "early", "/api"), "three"))
		after(soon)
		c.wantRows("before the node is known")
		c.source(nodeMetadata()).Add(node("three", "uid-4"))
		after(soon)
		c.wantRows("when it is", "uid-4")
	})
}

// Before nodes were listed no row is taken for one of a node that is gone.
func TestNoRowIsRemovedBeforeNodesWereListed(t *testing.T) {
	inCluster(t, []client.Object{
		configuration("", 1), namespace("a"), node("one", "uid-1"), bound(pod("a", "p", "/api"), "one"),
	}, func(t *testing.T, c *cluster) {
		c.source(nodeMetadata()).slow.Store(int64(time.Minute))
		c.start()
		after(30 * time.Second)
		if got := c.server.Calls("ListEntries") + c.server.Calls("BatchDeleteEntry"); got != 0 {
			t.Errorf("%d calls, want none before nodes are known", got)
		}
		after(time.Minute)
		c.wantRows("when all is known", "uid-1")
	})
}

// One row of all nodes needs no node to be known.
func TestRowsOfAllNodes(t *testing.T) {
	inClusterWith(t, func(config *Config) { config.Cluster.Scope = registrar.ScopeCluster }, []client.Object{
		configuration("", 1), namespace("a"), bound(pod("a", "p", "/api"), "one"),
	}, func(t *testing.T, c *cluster) {
		c.start()
		c.wantIDs("at first", "/api", aliasPath())
		c.mu.Lock()
		defer c.mu.Unlock()
		if _, watched := c.sources[reflect.TypeOf(nodeMetadata())]; watched {
			t.Error("nodes are watched, want that they are not: their rights may be missing")
		}
	})
}

// Without prewarm a template needs nothing until it has pods, and nobody watches it.
func TestTemplatesNeedNothingUnlessPrewarmed(t *testing.T) {
	inClusterWith(t, func(config *Config) { config.Prewarm = false }, []client.Object{
		configuration("", 1), namespace("a"), pod("a", "p", "/api"),
	}, func(t *testing.T, c *cluster) {
		c.start()
		d := deployment("a", "d", "/template")
		c.mu.Lock()
		_, watched := c.sources[reflect.TypeOf(d)]
		c.mu.Unlock()
		if watched {
			t.Error("Deployments are watched")
		}
		c.source(d).Add(d)
		after(soon)
		c.wantIDs("with a Deployment", "/api")
	})
	inCluster(t, []client.Object{configuration("", 1), namespace("a"), deployment("a", "d", "/template")}, func(t *testing.T, c *cluster) {
		c.start()
		c.wantIDs("prewarmed: parked", "/template")
	})
}

// When the rules say that an identity is quarantined, its rows go at once, also of a node that has no pod of it any more.
func TestRowsOfQuarantinedIdentities(t *testing.T) {
	var quarantined atomic.Bool
	inClusterWith(t, func(config *Config) {
		needs := config.Rules.NeedsOfPod
		config.Rules.NeedsOfPod = func(ns *corev1.Namespace, p *corev1.Pod) registrar.Needs {
			n := needs(ns, p)
			if quarantined.Load() {
				return registrar.Needs{Held: []string{config.Cluster.WorkloadEntry(n.Workloads[0]).ID}}
			}
			return n
		}
		config.Rules.Quarantined = func(spiffeid.ID) bool { return quarantined.Load() }
	}, []client.Object{
		configuration("", 1), namespace("a"), node("one", "uid-1"), node("two", "uid-2"),
		bound(pod("a", "stays", "/api"), "one"),
	}, func(t *testing.T, c *cluster) {
		c.start()
		c.source(&corev1.Pod{}).Add(bound(pod("a", "goes", "/api"), "two"))
		after(soon)
		c.source(&corev1.Pod{}).Delete(bound(pod("a", "goes", "/api"), "two"))
		after(soon)
		c.wantRows("before", "uid-1", "uid-2")

		quarantined.Store(true)
		c.RulesChanged()
		after(soon)
		c.wantIDs("at once", "/api")

		quarantined.Store(false)
		c.RulesChanged()
		after(soon)
		c.wantRows("when it is over", "uid-1")
	})
}

// What a node leaves behind is removed by what is known of SPIRE: a list of all entries for each node that goes would be
// dear in a cluster whose nodes come and go.
func TestNodeThatGoesTakesRowsWithoutOwnersAlong(t *testing.T) {
	inCluster(t, []client.Object{
		configuration("", 1), namespace("a"), node("one", "uid-1"), node("two", "uid-2"),
		bound(pod("a", "p", "/api"), "one"), bound(pod("a", "q", "/api"), "two"),
	}, func(t *testing.T, c *cluster) {
		c.start()
		c.source(&corev1.Pod{}).Delete(bound(pod("a", "p", "/api"), "one"))
		after(soon)
		c.wantRows("within the grace period", "uid-1", "uid-2")
		lists := c.server.Calls("ListEntries")
		c.source(nodeMetadata()).Delete(node("one", "uid-1"))
		after(soon)
		c.wantRows("when the node is gone", "uid-2")
		c.source(nodeMetadata()).Modify(node("two", "uid-3"))
		after(soon)
		c.wantRows("when the other is another one of its name", "uid-3")
		if got := c.server.Calls("ListEntries"); got != lists {
			t.Errorf("SPIRE was asked for all entries %d times, want 0", got-lists)
		}
	})
}
