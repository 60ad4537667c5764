package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/spire-injector/spire-injector/test/install"
	"github.com/spire-injector/spire-injector/webhook/inject"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

// The tests of this file disturb what all tests share, so none of them is parallel.

// One of two replicas is killed while 200 pods are created.
func TestDisruptiveReplicaKilledWhilePodsAreCreated(t *testing.T) {
	const pods, identities = 200, 20
	ns := namespace(t)
	signal := onTheNode(t)
	victim := replicas(t)[0]
	t.Cleanup(func() { injectorIsBack(t) })
	config, err := clientcmd.BuildConfigFromFlags("", shared.env.Kubeconfig)
	must(t, err)
	config.QPS = -1
	client, err := kubernetes.NewForConfig(config)
	must(t, err)

	var created, retried atomic.Int32
	var firstError atomic.Pointer[error]
	var creators sync.WaitGroup
	next := make(chan int)
	for range 20 {
		creators.Go(func() {
			for i := range next {
				w := api(ns, id(ns, "valid"))
				w.name = fmt.Sprintf("pod-%d", i)
				w.annotations["spiffe.io/spiffe-id"] = id(ns, fmt.Sprintf("api-%d", i%identities))
				if err := create(t.Context(), client, neverScheduled(w.pod(ns)), &retried); err != nil {
					firstError.CompareAndSwap(nil, &err)
					continue
				}
				created.Add(1)
			}
		})
	}
	for i := range pods {
		if i == pods/4 {
			kill(t, signal, "spire-injector", victim, "spire-injector")
			t.Logf("replica killed after %d of %d pods", created.Load(), pods)
		}
		next <- i
	}
	close(next)
	creators.Wait()
	if err := firstError.Load(); err != nil {
		t.Errorf("%d of %d pods were not created, the first because: %v", pods-created.Load(), pods, *err)
	}
	t.Logf("%d pods created, %d creations had to be tried again", created.Load(), retried.Load())
	wantKilled(t, "spire-injector", victim)

	list, err := client.CoreV1().Pods(ns).List(t.Context(), metav1.ListOptions{})
	must(t, err)
	if len(list.Items) != pods {
		t.Errorf("expected %d pods, got %d", pods, len(list.Items))
	}
	for _, pod := range list.Items {
		if len(pod.Spec.InitContainers) != 1 || pod.Spec.InitContainers[0].Name != "envoy" || pod.Annotations["spiffe.io/status"] == "" || pod.Labels["spiffe.io/identity"] == "" {
			t.Errorf("pod %s is not injected", pod.Name)
		}
	}
	for i := range identities {
		want := statusOf(t, list.Items, id(ns, fmt.Sprintf("api-%d", i))).EntryIDs
		if got := entries(t, id(ns, fmt.Sprintf("api-%d", i))); len(got) != 1 || !slices.Equal(want, []string{got[0].ID}) {
			t.Errorf("expected the one entry %s of identity %d, got %+v", want, i, got)
		}
	}
}

// statusOf is what the pods of an identity say of themselves.
func statusOf(t *testing.T, pods []corev1.Pod, path string) inject.Status {
	t.Helper()
	for _, pod := range pods {
		var status inject.Status
		must(t, json.Unmarshal([]byte(pod.Annotations[intent.AnnotationStatus]), &status))
		if status.SPIFFEID == "spiffe://example.org"+path {
			return status
		}
	}
	t.Fatalf("no pod has the identity %s", path)
	return inject.Status{}
}

// takeInjectorAway ends all replicas of the injector until the test is over.
func takeInjectorAway(t *testing.T) {
	t.Helper()
	scale := func(replicas int) {
		_, err := shared.k.Run(context.Background(), "--namespace", "spire-injector", "scale", "deployment/spire-injector", fmt.Sprintf("--replicas=%d", replicas))
		if err != nil {
			t.Error(err)
		}
	}
	before := replicas(t)
	t.Cleanup(func() {
		scale(2)
		injectorIsBack(t)
	})
	scale(0)
	awaitGone(t, before)
}

// Without the injector a pod that asked for mTLS does not start without it, and nobody else notices.
func TestDisruptiveInjectorAway(t *testing.T) {
	ns := namespace(t)
	takeInjectorAway(t)
	apply(t, neverScheduled(workload{name: "plain", command: []string{"/podtool", "api"}}.pod(ns)))
	message := refused(t, neverScheduled(api(ns, id(ns, "valid")).pod(ns)))
	if !strings.Contains(message, "pod.injector.spiffe.io") {
		t.Errorf("expected the webhook's name in %s", message)
	}
}

// replicas are the names of the injector's two pods.
func replicas(t *testing.T) []string {
	t.Helper()
	var names []string
	eventually(t, "two replicas", func() error {
		var pods corev1.PodList
		if err := shared.k.Get(t.Context(), &pods, "pods", "--namespace", "spire-injector"); err != nil {
			return err
		}
		names = nil
		for _, pod := range pods.Items {
			names = append(names, pod.Name)
		}
		if len(names) != 2 {
			return fmt.Errorf("there are %v", names)
		}
		return nil
	})
	return names
}

// create tries again what a controller would try again: answers that are about the server and not about the pod.
func create(ctx context.Context, client kubernetes.Interface, pod *corev1.Pod, retried *atomic.Int32) error {
	for deadline := time.Now().Add(patience); ; {
		_, err := client.CoreV1().Pods(pod.Namespace).Create(ctx, pod, metav1.CreateOptions{})
		if err == nil || !(apierrors.IsInternalError(err) || apierrors.IsServiceUnavailable(err) || apierrors.IsTimeout(err) || apierrors.IsServerTimeout(err)) || time.Now().After(deadline) {
			return err
		}
		retried.Add(1)
		time.Sleep(100 * time.Millisecond)
	}
}

// rolloutAfter waits in a clean-up, where the test's own context has ended.
func rolloutAfter(t *testing.T, namespace, workload string) {
	t.Helper()
	if _, err := shared.k.Run(context.Background(), "--namespace", namespace, "rollout", "status", workload, "--timeout", patience.String()); err != nil {
		t.Error(err)
	}
}

// injectorIsBack waits in a clean-up until pods can be injected again.
func injectorIsBack(t *testing.T) {
	t.Helper()
	rolloutAfter(t, "spire-injector", "deployment/spire-injector")
	if err := install.AwaitWebhook(context.Background(), shared.k); err != nil {
		t.Error(err)
	}
}

// Without SPIRE a new identity is refused, with what to do, and nothing is left behind; pods that run go on.
func TestDisruptiveSPIREServerAway(t *testing.T) {
	ns := namespace(t)
	deploy(t, ns, api(ns, id(ns, "valid")), client(ns, "valid"))
	awaitOK(t, ns, "deployment/valid")
	scale := func(replicas int) {
		_, err := shared.k.Run(context.Background(), "--namespace", "spire", "scale", "statefulset/spire-server", fmt.Sprintf("--replicas=%d", replicas))
		if err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(func() {
		scale(1)
		rolloutAfter(t, "spire", "statefulset/spire-server")
	})
	scale(0)
	_, err := shared.k.Run(t.Context(), "--namespace", "spire", "wait", "--for=delete", "pod/spire-server-0", "--timeout", patience.String())
	must(t, err)

	w := api(ns, id(ns, "valid"))
	w.name = "late"
	w.annotations["spiffe.io/spiffe-id"] = id(ns, "late")
	start := time.Now()
	message := refused(t, neverScheduled(w.pod(ns)))
	t.Logf("refused after %.1f s: %s", time.Since(start).Seconds(), message)
	for _, part := range []string{"SPIREUnavailable", id(ns, "late"), "nothing was changed", "spire-server.spire:8081"} {
		if !strings.Contains(message, part) {
			t.Errorf("expected %q in %s", part, message)
		}
	}
	if out, err := in(t, ns, "deployment/valid", "/sample", "get", url); err != nil {
		t.Errorf("running pods are not served any more: %s (%v)", out, err)
	}

	scale(1)
	rollout(t, "spire", "statefulset/spire-server")
	took := eventually(t, "creation after SPIRE is back", func() error {
		_, err := shared.k.With(t.Context(), manifest(t, neverScheduled(w.pod(ns))), "apply", "-f", "-")
		return err
	})
	t.Logf("created %.1f s after the server was ready again", took.Seconds())
	if got := entries(t, id(ns, "late")); len(got) != 1 {
		t.Errorf("expected one entry, got %+v", got)
	}
}

// The injector also registers over the server's Unix socket.
func TestDisruptiveRegistrationOverUnixSocket(t *testing.T) {
	ns := namespace(t)
	before := replicas(t)
	var with []string
	t.Cleanup(func() {
		if err := install.Platform(context.Background(), shared.env, platform(), progress{t}); err != nil {
			t.Error(err)
		}
		awaitGone(t, with)
	})
	for _, overlay := range []string{"spire/overlays/unix-socket", "injector/overlays/unix-socket"} {
		must(t, install.Apply(t.Context(), shared.env, manifests(overlay)))
	}
	rollout(t, "spire", "statefulset/spire-server")
	rollout(t, "spire-injector", "deployment/spire-injector")
	awaitGone(t, before)
	with = replicas(t)
	logs, err := shared.k.Run(t.Context(), "--namespace", "spire-injector", "logs", "deployment/spire-injector")
	must(t, err)
	if !strings.Contains(logs, `"spireServer":"unix:///`) {
		t.Errorf("the injector does not use a Unix socket:\n%s", logs)
	}
	eventually(t, "creation", func() error {
		_, err := shared.k.With(t.Context(), manifest(t, neverScheduled(api(ns, id(ns, "valid")).pod(ns))), "apply", "-f", "-")
		return err
	})
	if got := entries(t, id(ns, "api")); len(got) != 1 {
		t.Errorf("expected one entry, got %+v", got)
	}

	// The server, which runs as root with this overlay, cannot end well, and the next one has to write on.
	signal := onTheNode(t)
	send(t, signal, "STOP", "spire", "spire-server-0", "spire-server")
	backAfter(t, "spire", "spire-server-0", func() {
		must(t, install.Apply(t.Context(), shared.env, platform()))
		k(t, "spire", "delete", "pod", "spire-server-0", "--wait=false") // its StatefulSet may wait until it is ready, in vain
		kill(t, signal, "spire", "spire-server-0", "spire-server")
	})
	injectorIsBack(t)
	must(t, awaitRegistration(t.Context(), ns, "back"))
}

// awaitGone waits until replaced replicas are gone: until then they answer, by their old configuration.
func awaitGone(t *testing.T, pods []string) {
	t.Helper()
	args := append([]string{"--namespace", "spire-injector", "wait", "--for=delete", "--timeout", patience.String(), "pod"}, pods...)
	if _, err := shared.k.Run(context.Background(), args...); err != nil && !strings.Contains(err.Error(), "not found") {
		t.Error(err)
	}
}

// progress writes to a test's log.
type progress struct{ t *testing.T }

func (p progress) Write(b []byte) (int, error) {
	p.t.Log(strings.TrimSuffix(string(b), "\n"))
	return len(b), nil
}
