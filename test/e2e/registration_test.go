package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/spire-injector/spire-injector/registrar"
	"github.com/spire-injector/spire-injector/registrar/reason"
	"github.com/spire-injector/spire-injector/test/install"
	"github.com/spire-injector/spire-injector/webhook/inject"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

// shortGrace is the grace time of the tests' injector: the shortest that it takes.
const shortGrace = time.Minute

// serveWith runs the injector with further arguments until the end of a test.
func serveWith(t *testing.T, args ...string) {
	t.Helper()
	patch := func(ctx context.Context, args []string) error {
		names, err := shared.k.Run(ctx, "--namespace", "spire-injector", "get", "pods", "-o", "jsonpath={.items[*].metadata.name}")
		if err != nil {
			return err
		}
		body, err := json.Marshal([]item{{"op": "replace", "path": "/spec/template/spec/containers/0/args", "value": args}})
		if err != nil {
			return err
		}
		if _, err := shared.k.Run(ctx, "--namespace", "spire-injector", "patch", "deployment", "spire-injector", "--type=json", "--patch", string(body)); err != nil {
			return err
		}
		awaitGone(t, strings.Fields(names))
		return nil
	}
	out, err := shared.k.Run(t.Context(), "--namespace", "spire-injector", "get", "deployment", "spire-injector", "-o", "jsonpath={.spec.template.spec.containers[0].args}")
	must(t, err)
	var standard []string
	must(t, json.Unmarshal([]byte(out), &standard))
	t.Cleanup(func() {
		if err := patch(context.Background(), standard); err != nil {
			t.Error(err)
		}
		injectorIsBack(t)
	})
	must(t, patch(t.Context(), append(slices.Clone(standard), args...)))
	injectorIsBack(t)
}

// server runs the SPIRE server's command line.
func server(t *testing.T, args ...string) string {
	t.Helper()
	out, err := install.Server(t.Context(), shared.k, args...)
	must(t, err)
	return out
}

// registeredIn are the IDs of the registration entries of all identities of a namespace, by the identity's path.
func registeredIn(t *testing.T, ns string) map[string][]string {
	t.Helper()
	ids := map[string][]string{}
	for _, e := range allEntries(t) {
		if strings.HasPrefix(e.SPIFFEID.Path, id(ns, "")) {
			ids[e.SPIFFEID.Path] = append(ids[e.SPIFFEID.Path], e.ID)
		}
	}
	return ids
}

// awaitEntries waits until an identity has a number of registration entries, and returns how long that took.
func awaitEntries(t *testing.T, path string, n int) time.Duration {
	t.Helper()
	return eventually(t, fmt.Sprintf("%d entries of %s", n, path), func() error {
		if got := entries(t, path); len(got) != n {
			return fmt.Errorf("there are %+v", got)
		}
		return nil
	})
}

// stays checks that an identity keeps its entries for a while.
func stays(t *testing.T, path string, n int, d time.Duration) {
	t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(5 * time.Second) {
		if got := entries(t, path); len(got) != n {
			t.Fatalf("expected %d entries of %s all the time, got %+v", n, path, got)
		}
	}
}

// wantEvent waits for an event about an object.
func wantEvent(t *testing.T, namespace, object, reason string) {
	t.Helper()
	kind, name, _ := strings.Cut(object, "/")
	eventually(t, "an event "+reason+" about "+object, func() error {
		out := k(t, namespace, "get", "events", "--field-selector", "involvedObject.kind="+kind+",involvedObject.name="+name, "-o", "jsonpath={range .items[*]}{.reason} {end}")
		if !slices.Contains(strings.Fields(out), reason) {
			return fmt.Errorf("there are %q", out)
		}
		return nil
	})
}

// asleep is a Deployment that has no pods.
func asleep(ns string, w workload) any {
	d := w.deployment(ns)
	d.Spec.Replicas = new(int32(0))
	return d
}

// pending is a pod that needs its identity, and nothing of the node.
func pending(ns string, w workload) any { return neverScheduled(w.pod(ns)) }

// aliasPath is what rows of an identity are called, and its workloads' parent.
func aliasPath(path string) string {
	return "/spire-injector/demo-cluster/id/" + registrar.IdentityHash(spiffeid.RequireFromString("spiffe://example.org"+path))
}

// rows are those of an identity.
func rows(t *testing.T, path string) []entry {
	t.Helper()
	return entries(t, aliasPath(path))
}

// What SPIRE holds follows from what the cluster needs, and from nothing that anybody may have missed.
func TestEntriesFollowFromWhatIsNeeded(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]func(*testing.T){
		"templates need nothing before their pods":          templatesNeedNothing,
		"a running pod has a row of its node":               rowsFollowPods,
		"pods that are rejected later leave no entry":       rejectedPodsLeaveNothing,
		"what nobody needs goes after the grace time":       orphanedEntriesGo,
		"drift is repaired in place":                        driftIsRepaired,
		"what others delete is created again":               deletedEntriesComeBack,
		"entries of others stay as they are":                foreignEntriesStay,
		"pods of one identity that disagree converge":       podsConverge,
		"StatefulSet pods that come again have their entry": statefulPodsComeAgain,
		"entries below one alias are moved under traffic":   entriesBelowOneAliasAreMoved,
		"two injectors of two clusters on one SPIRE server": clustersShareAServer,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t)
		})
	}
}

func templatesNeedNothing(t *testing.T) {
	ns := namespaceNamed(t, "templates")
	w := api(ns, id(ns, "valid"))
	cron := &batchv1.CronJob{
		TypeMeta: metav1.TypeMeta{APIVersion: "batch/v1", Kind: "CronJob"}, ObjectMeta: metav1.ObjectMeta{Name: "nightly", Namespace: ns},
		Spec: batchv1.CronJobSpec{Schedule: "0 0 1 1 *", JobTemplate: batchv1.JobTemplateSpec{Spec: batchv1.JobSpec{Template: corev1.PodTemplateSpec{
			ObjectMeta: metav1.ObjectMeta{Labels: client(ns, "nightly").labels(), Annotations: client(ns, "nightly").annotations},
			Spec:       client(ns, "nightly").podSpec(),
		}}}},
	}
	cron.Spec.JobTemplate.Spec.Template.Spec.RestartPolicy = corev1.RestartPolicyNever
	apply(t, asleep(ns, w), w.service(ns), cron)
	k(t, ns, "scale", "deployment/api", "--replicas=1")
	rollout(t, ns, "deployment/api")
	if got := entries(t, id(ns, "api")); len(got) != 1 {
		t.Errorf("expected one entry when there is a pod, got %+v", got)
	}
	if got := entries(t, id(ns, "nightly")); len(got) != 0 {
		t.Errorf("expected no entry of a CronJob that has not fired, got %+v", got)
	}
	k(t, ns, "create", "job", "--from=cronjob/nightly", "now")
	awaitEntries(t, id(ns, "nightly"), 1)
}

// Entries are parked until a pod has a node, whose agent then is authorized for the pod's identity. A row that something
// else deletes comes again, before the certificate ends, and that is told.
func rowsFollowPods(t *testing.T) {
	ns := namespaceNamed(t, "rows")
	apply(t, pending(ns, client(ns, "parked")))
	deploy(t, ns, api(ns, id(ns, "valid")))
	if got := entries(t, id(ns, "parked")); len(got) != 1 || got[0].ParentID.Path != aliasPath(id(ns, "parked")) {
		t.Errorf("expected one entry below %s, got %+v", aliasPath(id(ns, "parked")), got)
	}
	if got := rows(t, id(ns, "parked")); len(got) != 0 {
		t.Errorf("expected no row of a pod that has no node, got %+v", got)
	}
	pod := podsOf(t, ns, "api")[0]
	uid := strings.TrimSpace(k(t, ns, "get", "node", pod.Spec.NodeName, "-o", "jsonpath={.metadata.uid}"))
	awaitRow := func() {
		t.Helper()
		eventually(t, "the row of the pod's node", func() error {
			if got := rows(t, id(ns, "api")); len(got) != 1 || len(got[0].Selectors) != 1 || got[0].Selectors[0].Value != "agent_node_uid:"+uid {
				return fmt.Errorf("expected one row of node %s, got %+v", uid, got)
			}
			return nil
		})
	}
	awaitRow()
	server(t, "entry", "delete", "-entryID", rows(t, id(ns, "api"))[0].ID)
	awaitRow()
	wantEvent(t, ns, "Pod/"+pod.Name, reason.RowDeletedByOthers.String())
	k(t, ns, "delete", "deployment", "api")
	eventually(t, "the removal of the row", func() error {
		if got := rows(t, id(ns, "api")); len(got) > 0 {
			return fmt.Errorf("there are %+v", got)
		}
		return nil
	})
}

func rejectedPodsLeaveNothing(t *testing.T) {
	ns := namespaceNamed(t, "rejected")
	apply(t, &corev1.ResourceQuota{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ResourceQuota"}, ObjectMeta: metav1.ObjectMeta{Name: "none", Namespace: ns},
		Spec: corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{corev1.ResourcePods: resource.MustParse("0")}},
	})
	eventually(t, "the quota", func() error {
		if out := k(t, ns, "get", "resourcequota", "none", "-o", "jsonpath={.status.hard.pods}"); out != "0" {
			return fmt.Errorf("its status is %q", out)
		}
		return nil
	})
	message := refused(t, neverScheduled(api(ns, id(ns, "valid")).pod(ns)))
	if !strings.Contains(message, "exceeded quota") {
		t.Fatalf("expected a refusal by the quota, got %s", message)
	}
	if got := entries(t, id(ns, "api")); len(got) != 1 {
		t.Fatalf("expected that admission registered the pod before the quota refused it, got %+v", got)
	}
	t.Logf("its entry was gone %.0f s later", awaitEntries(t, id(ns, "api"), 0).Seconds())
}

func orphanedEntriesGo(t *testing.T) {
	ns := namespaceNamed(t, "orphaned")
	gone, back := api(ns, id(ns, "valid")), client(ns, "back")
	apply(t, pending(ns, gone), pending(ns, back))
	awaitEntries(t, id(ns, "api"), 1)
	awaitEntries(t, id(ns, "back"), 1)
	start := time.Now()
	k(t, ns, "delete", "pod", "api", "back")
	time.Sleep(shortGrace / 3)
	if got := entries(t, id(ns, "api")); len(got) != 1 {
		t.Errorf("the entry is gone after a third of the grace time: %+v", got)
	} else {
		wantPlanned(t, got[0])
	}
	apply(t, pending(ns, back))
	awaitEntries(t, id(ns, "api"), 0)
	if after := time.Since(start); after < shortGrace {
		t.Errorf("the entry was removed after %.0f s, before the grace period", after.Seconds())
	} else {
		t.Logf("the entry was removed after %.0f s", after.Seconds())
	}
	stays(t, id(ns, "back"), 1, shortGrace)
}

// wantPlanned wants a dry run beside a replica to say of an entry that it is to be removed, and to leave it as it is.
func wantPlanned(t *testing.T, orphaned entry) {
	t.Helper()
	plan := k(t, injectorName, "exec", "deploy/spire-injector", "--", "/spire-injector", "serve", "--entry-grace-time="+shortGrace.String(), "--dry-run")
	line := regexp.MustCompile(`(?m)^wait +` + regexp.QuoteMeta(orphaned.ID) + ` .*$`).FindString(plan)
	if !strings.Contains(line, string(reason.EntryOrphaned)) {
		t.Errorf("expected a line that %s waits, with the reason %s, in\n%s", orphaned.ID, reason.EntryOrphaned, plan)
	}
	if got := entries(t, orphaned.SPIFFEID.Path); len(got) != 1 || !reflect.DeepEqual(got[0], orphaned) {
		t.Errorf("after a dry run: expected %+v as before, got %+v", orphaned, got)
	}
}

func driftIsRepaired(t *testing.T) {
	ns := namespaceNamed(t, "drift")
	apply(t, pending(ns, api(ns, id(ns, "valid"))))
	awaitEntries(t, id(ns, "api"), 1)
	drifted := entries(t, id(ns, "api"))[0]
	server(t, "entry", "update", "-entryID", drifted.ID, "-spiffeID", "spiffe://example.org"+id(ns, "api"), "-parentID", "spiffe://example.org"+aliasPath(id(ns, "other")),
		"-selector", "k8s:ns:"+ns, "-x509SVIDTTL", "7777", "-dns", "evil.example.org")
	took := eventually(t, "the repair", func() error {
		out := server(t, "entry", "show", "-entryID", drifted.ID, "-output", "json")
		for _, wrong := range []string{"7777", "evil.example.org", aliasPath(id(ns, "other"))} {
			if strings.Contains(out, wrong) {
				return fmt.Errorf("it still has %s", wrong)
			}
		}
		if strings.Count(out, `"type"`) != 4 {
			return fmt.Errorf("expected four selectors, got %s", out)
		}
		return nil
	})
	t.Logf("repaired after %.1f s", took.Seconds())
}

func deletedEntriesComeBack(t *testing.T) {
	ns := namespaceNamed(t, "deleted")
	apply(t, pending(ns, api(ns, id(ns, "valid"))))
	awaitEntries(t, id(ns, "api"), 1)
	server(t, "entry", "delete", "-entryID", entries(t, id(ns, "api"))[0].ID)
	t.Logf("it was there again after %.1f s", awaitEntries(t, id(ns, "api"), 1).Seconds())
	wantEvent(t, ns, "Pod/api", "EntryDeletedByOthers")
}

func foreignEntriesStay(t *testing.T) {
	ns := namespaceNamed(t, "foreign")
	foreign := map[string][]string{
		"no prefix":        {"-entryID", ns},
		"another prefix":   {"-entryID", "demo-cluster." + ns},
		"another cluster":  {"-entryID", "spire-injector.demo-cluster-2." + ns},
		"our prefix alone": {"-entryID", "spire-injector." + ns},
	}
	for name, args := range foreign {
		path := id(ns, strings.ReplaceAll(name, " ", "-"))
		server(t, append([]string{"entry", "create", "-spiffeID", "spiffe://example.org" + path,
			"-parentID", "spiffe://example.org" + aliasPath(path), "-selector", "k8s:ns:" + ns}, args...)...)
		t.Cleanup(func() {
			if _, err := install.Server(context.Background(), shared.k, "entry", "delete", args[0], args[1]); err != nil {
				t.Error(err)
			}
		})
	}
	time.Sleep(shortGrace + 20*time.Second)
	for name := range foreign {
		if got := entries(t, id(ns, strings.ReplaceAll(name, " ", "-"))); len(got) != 1 {
			t.Errorf("%s: expected that the entry stays, got %+v", name, got)
		}
	}
}

func podsConverge(t *testing.T) {
	ns := namespaceNamed(t, "converge")
	long, short := api(ns, id(ns, "valid")), api(ns, id(ns, "valid"))
	long.name, short.name = "long", "short"
	long.annotations["spiffe.io/x509-svid-ttl"], short.annotations["spiffe.io/x509-svid-ttl"] = "2h", "10m"
	ttl := func(seconds string) {
		t.Helper()
		eventually(t, "a TTL of "+seconds+" s", func() error {
			if out := server(t, "entry", "show", "-spiffeID", "spiffe://example.org"+id(ns, "api"), "-output", "json"); !strings.Contains(out, `"x509_svid_ttl":`+seconds+"}") {
				return fmt.Errorf("the entry is %s", out)
			}
			return nil
		})
	}
	apply(t, neverScheduled(long.pod(ns)))
	ttl("7200")
	apply(t, neverScheduled(short.pod(ns)))
	ttl("600")
	k(t, ns, "delete", "pod", "short")
	ttl("7200")
}

// Each of a StatefulSet's pods has the name of the one before it.
func statefulPodsComeAgain(t *testing.T) {
	const times = 100
	ns := namespaceNamed(t, "stateful")
	w := api(ns, id(ns, "valid"))
	template := neverScheduled(w.pod(ns))
	apply(t, w.service(ns), &appsv1.StatefulSet{
		TypeMeta: metav1.TypeMeta{APIVersion: "apps/v1", Kind: "StatefulSet"}, ObjectMeta: metav1.ObjectMeta{Name: "api", Namespace: ns},
		Spec: appsv1.StatefulSetSpec{
			ServiceName: "api", Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "api"}},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: template.Labels, Annotations: template.Annotations}, Spec: template.Spec},
		},
	})
	var pod corev1.Pod
	for n := range times {
		before := pod.UID
		eventually(t, "the next pod", func() error {
			pod = corev1.Pod{}
			if err := shared.k.Get(t.Context(), &pod, "pod", "api-0", "--namespace", ns); err != nil || pod.UID == before {
				return fmt.Errorf("it is not there: %w", err)
			}
			return nil
		})
		var status inject.Status
		must(t, json.Unmarshal([]byte(pod.Annotations[intent.AnnotationStatus]), &status))
		got := entries(t, id(ns, "api"))
		if len(got) != 1 || !slices.Equal(status.EntryIDs, []string{got[0].ID}) {
			t.Fatalf("pod %d is registered as %v, and SPIRE holds %+v", n, status.EntryIDs, got)
		}
		k(t, ns, "delete", "pod", "api-0", "--grace-period=0", "--force", "--wait=false")
	}
	t.Logf("%d pods of one name had the right entry", times)
}
