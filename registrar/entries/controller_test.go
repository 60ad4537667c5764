package entries

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"
)

func deployment(namespace, name, id string) *appsv1.Deployment {
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec:       appsv1.DeploymentSpec{Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{"id": id}}}},
	}
}

// What was there before, comes, changes and goes is what SPIRE holds.
func TestControllerKeepsEntriesAtWhatObjectsNeed(t *testing.T) {
	inCluster(t, []client.Object{
		configuration("", 1), namespace("a"), namespace("b"), pod("a", "before", "/before"), deployment("b", "template", "/template"),
	}, func(t *testing.T, c *cluster) {
		c.start()
		c.wantIDs("at first", "/before", "/template")
		c.wantLogged("at first", "every object was evaluated")
		c.wantEvents("at first", "Pod a/before Normal EntryMissing: registered spiffe://example.org/before, which admission could not")

		c.source(&corev1.Pod{}).Add(pod("b", "later", "/later"))
		after(soon)
		c.wantIDs("after a pod came", "/before", "/later", "/template")
		c.wantEvents("after a pod came", "Pod b/later Normal EntryMissing: registered spiffe://example.org/later")
		c.source(&corev1.Pod{}).Modify(pod("b", "later", "/renamed"))
		c.source(&corev1.Pod{}).Delete(pod("a", "before", "/before"))
		after(soon)
		c.wantIDs("within the grace period", "/before", "/later", "/renamed", "/template")
		after(grace + time.Second)
		c.wantIDs("after the grace period", "/renamed", "/template")
	})
}

// Kubelets write a pod's status again and again; its needs do not follow from that.
func TestPodsAreEvaluatedWhenTheirNeedsMayHaveChanged(t *testing.T) {
	inCluster(t, []client.Object{
		configuration("", 1), namespace("a"), pod("a", "p", "/p"), deployment("a", "d", "/d"),
	}, func(t *testing.T, c *cluster) {
		c.start()
		c.wantEvaluated("at first", "a/", "a/p") // a template has no name
		c.source(&corev1.Pod{}).Modify(pod("a", "p", "/p"))
		scaled := deployment("a", "d", "/d")
		scaled.Spec.Replicas = new(int32(3))
		c.source(&appsv1.Deployment{}).Modify(scaled)
		after(soon)
		c.wantEvaluated("when nothing changes that is of interest")

		ended := bound(pod("a", "p", "/other"), "one")
		ended.Labels["more"], ended.Status.Phase = "yes", corev1.PodFailed
		for what, change := range map[string]func(*corev1.Pod){
			"annotation": func(p *corev1.Pod) { p.Annotations = ended.Annotations },
			"label":      func(p *corev1.Pod) { p.Labels = ended.Labels },
			"node":       func(p *corev1.Pod) { p.Spec = ended.Spec },
			"phase":      func(p *corev1.Pod) { p.Status = ended.Status },
		} {
			changed := pod("a", "p", "/p")
			change(changed)
			c.source(&corev1.Pod{}).Modify(changed)
			after(soon)
			c.wantEvaluated("with another "+what, "a/p")
			c.source(&corev1.Pod{}).Modify(pod("a", "p", "/p"))
			after(soon)
			c.wantEvaluated("with the "+what+" as before", "a/p")
		}
		c.source(&appsv1.Deployment{}).Modify(deployment("a", "d", "/other"))
		after(soon)
		c.wantEvaluated("with another template", "a/")
	})
}

// What is evaluated again may have changed, or gone, since all objects were listed for that.
func TestEvaluatedAgainIsTheObjectAsItIsNow(t *testing.T) {
	inCluster(t, []client.Object{configuration("", 1), namespace("a"), pod("a", "p", "/now")}, func(t *testing.T, c *cluster) {
		c.start()
		all := func(map[string]string) bool { return true }
		for _, listed := range []*corev1.Pod{pod("a", "p", "/before"), pod("a", "gone", "/gone")} {
			c.watcher.reset(t.Context(), kinds[0], listed, all)
		}
		after(soon)
		c.wantIDs("after objects that were listed earlier", "/now")
	})
}

// A pod whose end was missed by the watch is found gone by the next list.
func TestTombstonesAreForgotten(t *testing.T) {
	inCluster(t, []client.Object{configuration("", 1), namespace("a"), pod("a", "p", "/p")}, func(t *testing.T, c *cluster) {
		c.start()
		for _, k := range kinds {
			if k.name == "Pod" {
				c.watcher.forget(k, toolscache.DeletedFinalStateUnknown{Key: "a/p", Obj: pod("a", "p", "/p")})
				c.watcher.forget(k, "no object")
			}
		}
		after(grace + time.Second)
		c.wantIDs("after the grace period")
	})
}

func TestConfirmedFollowsThePodsThatRun(t *testing.T) {
	inCluster(t, []client.Object{configuration("", 1), namespace("a"), pod("a", "p", "/p")}, func(t *testing.T, c *cluster) {
		entry := c.config.Cluster.WorkloadEntry(c.config.Rules.NeedsOfPod(namespace("a"), pod("a", "p", "/p")).Workloads[0]).ID
		if c.Confirmed(entry) {
			t.Error("an entry is confirmed before anything was watched")
		}
		c.start()
		if !c.Confirmed(entry) {
			t.Error("the entry of a pod that runs is not confirmed")
		}
		c.source(&corev1.Pod{}).Delete(pod("a", "p", "/p"))
		after(soon)
		if c.Confirmed(entry) {
			t.Error("the entry of a pod that is gone is confirmed")
		}
	})
}

// A namespace that is not served needs nothing, and what changes of one has its own objects evaluated again, and no
// others.
func TestNamespaces(t *testing.T) {
	inCluster(t, []client.Object{
		configuration("red", 1), namespace("a", "team=red"), namespace("b", "team=blue"), pod("a", "p", "/a"), pod("b", "p", "/b"),
	}, func(t *testing.T, c *cluster) {
		c.start()
		c.wantIDs("at first", "/a")
		c.wantEvaluated("at first", "a/p")
		c.source(&corev1.Namespace{}).Modify(namespace("b", "team=red"))
		after(soon)
		c.wantIDs("when b is served", "/a", "/b")
		c.wantEvaluated("when b is served", "b/p")

		annotated := namespace("a", "team=red")
		annotated.Annotations = map[string]string{"spiffe.io/allowed-peers": "/web"}
		c.source(&corev1.Namespace{}).Modify(annotated)
		after(soon)
		c.wantEvaluated("when a's annotations change", "a/p")
		annotated = annotated.DeepCopy()
		annotated.Status.Phase = corev1.NamespaceTerminating
		c.source(&corev1.Namespace{}).Modify(annotated)
		after(soon)
		c.wantEvaluated("when nothing changes that is of interest")
		c.source(&corev1.Namespace{}).Modify(namespace("b", "team=blue"))
		after(grace + time.Second)
		c.wantIDs("when b is not served any more", "/a")
	})
}

// A pod may be seen before its namespace: it is evaluated when that comes.
func TestAPodBeforeItsNamespace(t *testing.T) {
	inCluster(t, []client.Object{configuration("", 1), pod("late", "p", "/p")}, func(t *testing.T, c *cluster) {
		c.start()
		c.wantIDs("without its namespace")
		c.wantLogged("without its namespace", "what the object needs is not evaluated")
		c.source(&corev1.Namespace{}).Add(namespace("late"))
		after(soon)
		c.wantIDs("with its namespace", "/p")
	})
}

func TestAChangedWebhookConfigurationIsAResync(t *testing.T) {
	inCluster(t, []client.Object{
		configuration("red", 1), namespace("a", "team=red"), namespace("b", "team=blue"), pod("a", "p", "/a"), pod("b", "p", "/b"),
	}, func(t *testing.T, c *cluster) {
		c.start()
		c.taken(&c.evaluated)
		c.source(configuration("", 0)).Modify(configuration("red", 1)) // as every status or annotation change
		after(soon)
		c.wantEvaluated("when its generation is the same")
		c.source(configuration("", 0)).Modify(configuration("", 2))
		after(soon)
		c.wantEvaluated("when all are served", "a/p", "b/p")
		c.wantIDs("when all are served", "/a", "/b")
	})
}

// While nobody knows which pods are ours, nothing is added or removed; what happened meanwhile is made up for.
func TestWithoutWebhookConfigurationNothingIsChanged(t *testing.T) {
	inCluster(t, []client.Object{configuration("", 1), namespace("a"), pod("a", "stays", "/stays"), pod("a", "goes", "/goes")}, func(t *testing.T, c *cluster) {
		c.start()
		c.taken(&c.log)
		c.source(configuration("", 0)).Delete(configuration("", 1))
		after(soon)
		c.wantLogged("without the configuration", "no entry is added or removed until it is known")
		c.source(&corev1.Pod{}).Delete(pod("a", "goes", "/goes"))
		c.source(&corev1.Pod{}).Add(pod("a", "new", "/new"))
		c.RulesChanged()
		c.source(&corev1.Namespace{}).Modify(namespace("a", "team=red"))
		after(2 * grace)
		c.wantIDs("without the configuration", "/goes", "/stays")
		if _, err := c.Plan(t.Context()); err == nil {
			t.Error("there is a plan, want an error: nobody knows what the cluster needs")
		}
		c.source(configuration("", 0)).Add(configuration("", 3))
		after(soon)
		c.wantIDs("when it is back", "/goes", "/new", "/stays")
		after(grace + time.Second)
		c.wantIDs("after the grace period", "/new", "/stays")
	})
	// So it is from the first moment.
	inCluster(t, []client.Object{namespace("a"), pod("a", "p", "/p")}, func(t *testing.T, c *cluster) {
		c.start()
		after(time.Hour)
		if got := c.server.Calls("ListEntries"); got != 0 {
			t.Errorf("SPIRE was asked %d times, want not at all", got)
		}
		c.source(configuration("", 0)).Add(configuration("", 1))
		after(soon)
		c.wantIDs("with the configuration", "/p")
	})
}

// A changed platform file has everything evaluated again.
func TestRulesChanged(t *testing.T) {
	inCluster(t, []client.Object{configuration("", 1), namespace("a"), pod("a", "p", "/p")}, func(t *testing.T, c *cluster) {
		c.start()
		c.mu.Lock()
		c.prefix = "/under"
		c.mu.Unlock()
		c.RulesChanged()
		c.RulesChanged()
		after(soon)
		c.wantIDs("by the new rules", "/p", "/under/p")
		after(grace + time.Second)
		c.wantIDs("after the grace period", "/under/p")
	})
}

// Before every kind was listed it is not known what nobody needs: nothing is removed, and nothing is added.
func TestNothingIsDoneBeforeEverythingWasListed(t *testing.T) {
	inCluster(t, []client.Object{configuration("", 1), namespace("a"), deployment("a", "d", "/d")}, func(t *testing.T, c *cluster) {
		c.source(&corev1.Pod{}).slow.Store(int64(time.Minute))
		c.start()
		after(30 * time.Second)
		if got := c.server.Calls("ListEntries") + c.server.Calls("BatchCreateEntry"); got != 0 {
			t.Errorf("%d calls, want none before pods are known", got)
		}
		after(time.Minute)
		c.wantIDs("when all is known", "/d")
	})
}

func TestResyncBringsBackWhatSPIRELost(t *testing.T) {
	inCluster(t, []client.Object{configuration("", 1), namespace("a"), pod("a", "p", "/p")}, func(t *testing.T, c *cluster) {
		c.start()
		c.taken(&c.events)
		for _, e := range c.server.Entries() {
			c.server.Delete(e.GetId())
		}
		c.Resync()
		after(soon)
		c.wantIDs("after a resync", "/p")
		c.wantEvents("after a resync", "Pod a/p Warning EntryDeletedByOthers: entry spire-injector.demo-cluster.")
	})
}

// Owners get the event, all of them, each about itself.
func TestEventsAreAboutTheOwners(t *testing.T) {
	inCluster(t, []client.Object{configuration("", 1), namespace("a"), pod("a", "same", "/p"), deployment("a", "same", "/p")}, func(t *testing.T, c *cluster) {
		c.server.Before(func(_ context.Context, method string) error {
			if method == "BatchCreateEntry" {
				return status.Error(codes.PermissionDenied, "denied by policy")
			}
			return nil
		})
		c.start()
		const what = " Warning EntryMissing: the SPIRE server at unix:///in/memory denies BatchCreateEntry"
		c.wantEvents("when SPIRE denies it", "Deployment a/same"+what, "Pod a/same"+what)
	})
}

func TestPlanOfACluster(t *testing.T) {
	inCluster(t, []client.Object{configuration("", 1), namespace("a"), pod("a", "p", "/p")}, func(t *testing.T, c *cluster) {
		steps, err := c.Plan(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var table strings.Builder
		if err := WritePlan(&table, steps); err != nil {
			t.Fatal(err)
		}
		if len(steps) != 1 || !strings.Contains(table.String(), "pod/a/p") || len(c.server.Entries()) != 0 {
			t.Errorf("plan:\n%s\nand %d entries; want the pod's entry, and nothing done", table.String(), len(c.server.Entries()))
		}
	})
}

func TestWhichReplicaRunsWhat(t *testing.T) {
	c := New(Config{})
	for want, part := range map[bool]manager.Runnable{false: c.Watching(), true: c.Reconciling()} {
		if got := part.(manager.LeaderElectionRunnable).NeedLeaderElection(); got != want {
			t.Errorf("needs leader election: %t, want %t", got, want)
		}
	}
}

func TestMetricsOfTheController(t *testing.T) {
	inCluster(t, []client.Object{configuration("", 1), namespace("a"), pod("a", "p", "/p")}, func(t *testing.T, c *cluster) {
		c.start()
		const want = `
# HELP spire_injector_entry_changes_total Changes of registration entries by the reconciler, by action (create, update, refuse, remove), its reason and result (success, failure).
# TYPE spire_injector_entry_changes_total counter
spire_injector_entry_changes_total{action="create",reason="EntryDeletedByOthers",result="success"} 0
spire_injector_entry_changes_total{action="create",reason="EntryMissing",result="success"} 1
spire_injector_entry_changes_total{action="create",reason="RowDeletedByOthers",result="success"} 0
`
		if err := testutil.GatherAndCompare(c.registry, strings.NewReader(want), "spire_injector_entry_changes_total"); err != nil {
			t.Error(err)
		}
	})
}
