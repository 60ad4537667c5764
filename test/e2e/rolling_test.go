package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/spire-injector/spire-injector/test/cluster/parts"
	"github.com/spire-injector/spire-injector/test/demo/scene"
	"github.com/spire-injector/spire-injector/test/images"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

// byDefault is an API that leaves to its namespace and the platform who may call it.
func byDefault(namespace string, replicas int32) workload {
	w := api(namespace, "")
	delete(w.annotations, "spiffe.io/allowed-peers")
	w.replicas = replicas
	return w
}

// rolled waits until the rules of all pods of an app have a text, and wants them to have got it one after the other, a
// second apart. The API server's clock tells, to the second: this one's looks may be late.
func rolled(t *testing.T, namespace, app, text string) {
	t.Helper()
	took := eventually(t, "rules with "+text+" in all pods", func() error {
		for _, pod := range podsOf(t, namespace, app) {
			if !strings.Contains(pod.Annotations[intent.AnnotationAuthorization], text) {
				return fmt.Errorf("%s does not have them", pod.Name)
			}
		}
		return nil
	})
	pods, err := clientset(t).CoreV1().Pods(namespace).List(t.Context(), metav1.ListOptions{LabelSelector: "app=" + app})
	must(t, err)
	var times []time.Time
	for _, pod := range pods.Items {
		for _, entry := range pod.ManagedFields {
			if entry.Manager == injectorName && entry.Time != nil {
				times = append(times, entry.Time.Time)
			}
		}
	}
	if len(times) != len(pods.Items) {
		t.Fatalf("of %d pods %d were changed by %s", len(pods.Items), len(times), injectorName)
	}
	slices.SortFunc(times, time.Time.Compare)
	span := times[len(times)-1].Sub(times[0])
	t.Logf("%d pods followed after %.1f s, the last one %s after the first", len(times), took.Seconds(), span)
	if least := time.Duration(len(times)-2) * time.Second; span < least { // whole seconds take one away
		t.Errorf("expected a second between two pods, so at least %s in all, got %s", least, span)
	}
}

// untouched wants the same pods as before, without a restart.
func untouched(t *testing.T, namespace, app string, before []corev1.Pod) {
	t.Helper()
	for _, was := range before {
		if !slices.ContainsFunc(podsOf(t, namespace, app), func(is corev1.Pod) bool {
			return is.UID == was.UID && scene.Restarts(is) == 0
		}) {
			t.Errorf("pod %s is gone, or has restarted", was.Name)
		}
	}
}

// answered waits until a client's request to the API is answered with a status.
func answered(t *testing.T, namespace, client, status string) {
	t.Helper()
	_, err := in(t, namespace, "deployment/"+client, "/sample", "watch", url, "--interval", "100ms", "--timeout", patience.String(), "--until-status", status)
	must(t, err)
}

// A namespace's list of peers changes, both ways: its running pods obey, one after the other and without a restart, and
// who stays on the list loses nothing.
func TestNamespaceDefaultsReachRunningPods(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	allow := func(peers ...string) {
		k(t, "", "annotate", "namespace", ns, "--overwrite", "spiffe.io/allowed-peers="+strings.Join(peers, ","))
	}
	valid, other := id(ns, "valid"), id(ns, "other")
	allow(valid)
	time.Sleep(time.Second) // until both replicas have seen it
	deploy(t, ns, byDefault(ns, 4), client(ns, "valid"), client(ns, "other"))
	before := podsOf(t, ns, "api")
	answered(t, ns, "other", "503")

	traffic := startLoad(t, ns, "deployment/valid")
	time.Sleep(2 * time.Second)
	allow(valid, other)
	rolled(t, ns, "api", "/other")
	answered(t, ns, "other", "200")
	allow(valid)
	eventually(t, "the removed peer gone from all rules", func() error {
		for _, pod := range podsOf(t, ns, "api") {
			if strings.Contains(pod.Annotations[intent.AnnotationAuthorization], "/other") {
				return fmt.Errorf("%s lets it in", pod.Name)
			}
		}
		return nil
	})
	answered(t, ns, "other", "503")
	traffic.report(t).wantNoFailure(t)
	untouched(t, ns, "api", before)

	// What another tool writes on the namespace, and what pods say themselves, moves nobody.
	generations := func() (all []string) {
		for _, pod := range podsOf(t, ns, "") {
			all = append(all, pod.Name+" "+pod.Annotations[intent.AnnotationRefresh])
		}
		return all
	}
	were := generations()
	k(t, "", "annotate", "namespace", ns, "example.org/a=b")
	time.Sleep(3 * time.Second)
	if got := generations(); !slices.Equal(were, got) {
		t.Errorf("pods were changed for nothing: before %v, after %v", were, got)
	}
}

// The same for the platform file. Not parallel: the platform is everybody's.
func TestDisruptivePlatformDefaultsReachRunningPods(t *testing.T) {
	ns := namespace(t)
	original := platformInForce(t)
	t.Cleanup(func() { setPlatform(context.Background(), t, original) })
	allowing := func(peers ...string) string {
		return changed(t, original, "defaults:\n", fmt.Sprintf("defaults:\n  allowedPeers: [%s]\n", strings.Join(peers, ", ")))
	}
	valid, other := id(ns, "valid"), id(ns, "other")
	setPlatform(t.Context(), t, allowing(valid))
	time.Sleep(2 * time.Second) // until both replicas have seen it
	deploy(t, ns, byDefault(ns, 3), client(ns, "valid"), client(ns, "other"))
	before := podsOf(t, ns, "api")
	answered(t, ns, "valid", "200")
	answered(t, ns, "other", "503")
	setPlatform(t.Context(), t, allowing(valid, other))
	rolled(t, ns, "api", "/other")
	answered(t, ns, "other", "200")
	untouched(t, ns, "api", before)
}

// An image that does not start is carried to one pod of a workload, is told there and at its owner, and goes no further.
// One that starts is carried to all, where Envoy alone restarts. Not parallel: the platform is everybody's.
func TestDisruptiveImageOfRunningPods(t *testing.T) {
	ns := namespace(t)
	original := platformInForce(t)
	t.Cleanup(func() { setPlatform(context.Background(), t, original) })
	server := api(ns, id(ns, "caller"))
	server.replicas = 3
	deploy(t, ns, server, client(ns, "caller"))
	image := podsOf(t, ns, "api")[0].Spec.InitContainers[0].Image
	using := func(other string) string {
		return changed(t, original, "  image: "+image+"\n", "  image: "+other+"\n  rollout: inPlace\n")
	}
	inUse := func() map[string]int {
		n := map[string]int{}
		for _, pod := range podsOf(t, ns, "") {
			n[pod.Spec.InitContainers[0].Image]++
		}
		return n
	}
	const broken = "Not/An/Image" // which the kubelet refuses at once
	setPlatform(t.Context(), t, using(broken))
	told := eventually(t, "an event", func() error { return eventOf(t, "", "Pod", "does not start with the image that it was given") })
	t.Logf("told after %.1f s", told.Seconds())
	if told > time.Minute {
		t.Errorf("expected it told within a minute, it took %s", told)
	}
	time.Sleep(5 * time.Second) // for others, if there were any
	for _, workload := range []string{"api", "caller"} {
		using := 0
		for _, pod := range podsOf(t, ns, workload) {
			if pod.Spec.InitContainers[0].Image == broken {
				using++
			}
		}
		if using > 1 {
			t.Errorf("expected at most one pod of %s with the broken image, got %d", workload, using)
		}
	}
	if got := clusterWide(t, broken); got[ns] == 0 || len(got) > 1 {
		t.Errorf("expected pods of %s alone with the broken image, got %v", ns, got)
	}
	eventually(t, "the metrics", func() error {
		for _, replica := range replicas(t) {
			if got := scrape(t, replica); got["spire_injector_rollout_paused"] == "1" && got[`spire_injector_rollout_pods{state="rejected"}`] != "0" {
				return nil
			}
		}
		return fmt.Errorf("no replica shows a pause and pods that reject")
	})

	setPlatform(t.Context(), t, using(image))
	eventually(t, "the broken image gone", func() error {
		if pods := clusterWide(t, broken); len(pods) > 0 {
			return fmt.Errorf("still in %v", pods)
		}
		return nil
	})
	rollout(t, ns, "deployment/api", "deployment/caller")

	cache, err := parts.UserCache()
	must(t, err)
	archives, err := images.ForEnvoyAgain(t.Context(), cache, progress{t})
	must(t, err)
	env, err := shared.env.With(t.Context(), archives, progress{t})
	must(t, err)
	another := env.Images[images.EnvoyAgain]
	before := podsOf(t, ns, "")
	traffic := startLoad(t, ns, "deployment/caller")
	time.Sleep(2 * time.Second)
	setPlatform(t.Context(), t, using(another))
	eventually(t, "the other image in all pods", func() error {
		if got := inUse(); got[another] != 4 {
			return fmt.Errorf("got %v", got)
		}
		return nil
	})
	eventually(t, "each sidecar started again", func() error {
		after := podsOf(t, ns, "")
		for _, was := range before {
			i := slices.IndexFunc(after, func(is corev1.Pod) bool { return is.UID == was.UID })
			if i < 0 || scene.Restarts(after[i]) != envoyStarts(after[i]) {
				t.Fatalf("pod %s is gone, or its app has restarted", was.Name)
			}
			if n := envoyStarts(after[i]) - envoyStarts(was); n > 1 {
				t.Fatalf("the sidecar of pod %s was started again %d times", was.Name, n)
			} else if n == 0 {
				return fmt.Errorf("that of pod %s is the one before", was.Name)
			}
		}
		return nil
	})
	rollout(t, ns, "deployment/api", "deployment/caller")
	// What is under way in an Envoy that restarts is lost: how much, is for the reader to know.
	report := traffic.report(t)
	t.Logf("%d of %d requests failed while every Envoy restarted", report.Failed, report.Total)
	if report.Total < enough {
		t.Error("that is no traffic")
	}
	setPlatform(t.Context(), t, using(image))
	eventually(t, "the first image in all pods", func() error {
		if got := inUse(); got[image] != 4 {
			return fmt.Errorf("got %v", got)
		}
		return nil
	})
	rollout(t, ns, "deployment/api", "deployment/caller")
}

// envoyStarts is how often a pod's sidecar has been started again.
func envoyStarts(pod corev1.Pod) int32 { return pod.Status.InitContainerStatuses[0].RestartCount }

// A change that the first pod's Envoy refuses, and the generator cannot know of, goes no further: here somebody has
// taken the port away from that Envoy. The next change of the namespace is tried again.
func TestRejectedChangeStopsAfterOnePod(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	allow := func(peers ...string) {
		k(t, "", "annotate", "namespace", ns, "--overwrite", "spiffe.io/allowed-peers="+strings.Join(peers, ","))
	}
	valid, other := id(ns, "valid"), id(ns, "other")
	allow(valid)
	time.Sleep(time.Second) // until both replicas have seen it
	deploy(t, ns, byDefault(ns, 3), client(ns, "valid"))
	names := podNames(t, ns, "api")
	first := slices.Min(names)
	pastInjector(t, ns, first, intent.AnnotationListeners, `{"resources":[]}`)
	taker, end := context.WithCancel(t.Context())
	defer end()
	go func() {
		for taker.Err() == nil { // the port is free when Envoy has read that it has no listener
			_, _ = shared.k.Run(taker, "--namespace", ns, "exec", first, "--container", "app", "--", "/podtool", "api", "--listen", "0.0.0.0:8443")
			time.Sleep(200 * time.Millisecond)
		}
	}()
	_, err := in(t, ns, "pod/"+first, "/sample", "watch", "http://127.0.0.1:8443/api", "--interval", "100ms", "--timeout", patience.String(), "--until-status", "200")
	must(t, err)

	following := func(peer string) (have []string) {
		for _, pod := range podsOf(t, ns, "api") {
			if strings.Contains(pod.Annotations[intent.AnnotationAuthorization], peer) {
				have = append(have, pod.Name)
			}
		}
		slices.Sort(have)
		return have
	}
	allow(valid, other)
	told := eventually(t, "an event", func() error { return eventOf(t, ns, "Pod", "no further pod of Deployment/api is changed") })
	t.Logf("told after %.1f s", told.Seconds())
	if told > time.Minute {
		t.Errorf("expected it told within a minute, it took %s", told)
	}
	time.Sleep(10 * time.Second) // time for all others, if they were changed
	if got := following("/other"); !slices.Equal(got, []string{first}) {
		t.Errorf("expected %s alone changed, got %v", first, got)
	}
	eventually(t, "the metrics", func() error {
		for _, replica := range replicas(t) {
			if got := scrape(t, replica); got["spire_injector_rollout_paused"] == "1" && got[`spire_injector_rollout_pods{state="rejected"}`] != "0" {
				return nil
			}
		}
		return fmt.Errorf("no replica shows a pause and pods that reject")
	})
	answered(t, ns, "valid", "200") // by the others

	// The same Envoy is the only one that has something to follow: it is tried again, and the others are as they should
	// be.
	allow(valid)
	eventually(t, "nobody with the new peer", func() error {
		if got := following("/other"); len(got) > 0 {
			return fmt.Errorf("still in %v", got)
		}
		return nil
	})
}

// What a running Envoy refuses is told on its pod and on the owner within a minute, whoever wrote it. Nothing that the
// injector generates is refused, so this is written past it.
func TestRejectedConfigurationIsTold(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	deploy(t, ns, api(ns, id(ns, "valid")), client(ns, "valid"))
	pod := apiPod(t, ns)
	answered(t, ns, "valid", "200")
	broken := strings.Replace(pod.Annotations[intent.AnnotationListeners], "statPrefix: ", "noSuchField: ", 1)
	if broken == pod.Annotations[intent.AnnotationListeners] {
		t.Fatalf("the listeners have no statPrefix: %s", broken)
	}
	pastInjector(t, ns, pod.Name, intent.AnnotationListeners, broken)
	told := eventually(t, "events", func() error {
		if err := eventOf(t, ns, "Pod", "(listeners.yaml)"); err != nil {
			return err
		}
		return eventOf(t, ns, "ReplicaSet", pod.Name)
	})
	t.Logf("told after %.1f s", told.Seconds())
	if told > time.Minute {
		t.Errorf("expected it told within a minute, it took %s", told)
	}
	answered(t, ns, "valid", "200") // by the configuration before

	// Whoever may annotate the pod can have it made anew.
	eventually(t, "the API server asking us again", func() error {
		_, err := shared.k.Run(t.Context(), "--namespace", ns, "annotate", "pod", pod.Name, "--overwrite", "spiffe.io/refresh=by-hand-"+fmt.Sprint(time.Now().UnixMilli()))
		must(t, err)
		if got := apiPod(t, ns).Annotations[intent.AnnotationListeners]; got != pod.Annotations[intent.AnnotationListeners] {
			return fmt.Errorf("the listeners are still %s", got)
		}
		return nil
	})
}

// pastInjector writes an annotation of a pod without the injector and its policy being asked.
func pastInjector(t *testing.T, namespace, pod, annotation, value string) {
	t.Helper()
	k(t, "", "label", "namespace", namespace, "injector.spiffe.io/release=nobody")
	time.Sleep(time.Second) // the API server matches namespaces as its cache has them
	k(t, namespace, "annotate", "pod", pod, "--overwrite", annotation+"="+value)
	k(t, "", "label", "namespace", namespace, "injector.spiffe.io/release-")
}

// eventOf finds the event of a rejection about a kind of object, with a part of its text; in all namespaces, if none is
// named.
func eventOf(t *testing.T, namespace, kind, part string) error {
	t.Helper()
	where := []string{"events", "--namespace", namespace}
	if namespace == "" {
		where = []string{"events", "--all-namespaces"}
	}
	var events corev1.EventList
	must(t, shared.k.Get(t.Context(), &events, where...))
	for _, e := range events.Items {
		if e.Type == corev1.EventTypeWarning && e.Reason == "ConfigurationRejected" && e.InvolvedObject.Kind == kind && strings.Contains(e.Message, part) {
			return nil
		}
	}
	return fmt.Errorf("not among %d events", len(events.Items))
}

// clusterWide counts pods whose Envoy has an image, by their namespace.
func clusterWide(t *testing.T, image string) map[string]int {
	t.Helper()
	var pods corev1.PodList
	must(t, shared.k.Get(t.Context(), &pods, "pods", "--all-namespaces", "--selector", intent.LabelIdentity))
	n := map[string]int{}
	for _, pod := range pods.Items {
		if slices.ContainsFunc(slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers), func(c corev1.Container) bool { return c.Image == image }) {
			n[pod.Namespace]++
		}
	}
	return n
}

func platformInForce(t *testing.T) string {
	t.Helper()
	var m corev1.ConfigMap
	must(t, shared.k.Get(t.Context(), &m, "configmap", platformMap, "--namespace", "spire-injector"))
	return m.Data["config.yaml"]
}

// changed replaces a part that has to be there.
func changed(t *testing.T, text, old, replacement string) string {
	t.Helper()
	if !strings.Contains(text, old) {
		t.Fatalf("expected %q in\n%s", old, text)
	}
	return strings.Replace(text, old, replacement, 1)
}
