package e2e

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/spire-injector/spire-injector/webhook/inject"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

// Of a thousand creations, fifty at a time and none tried again, none fails; each of their identities is registered
// once. Not parallel: it takes the whole machine, and tells figures.
func TestDisruptiveThousandCreations(t *testing.T) {
	const (
		pods, atOnce, identities = 1000, 50, 100
		// An identity takes a call at each of the two replicas, if both are asked at once, and one of the reconciler's; the
		// rest is for what goes on besides. A call for each pod would be far more.
		mostCalls = 4 * identities
	)
	ns := namespace(t)
	client := clientset(t)
	name := func(n int) string { return fmt.Sprintf("api-%d", n%identities) }
	const calls = "spire_injector_spire_requests_total"
	callsBefore := total(t, calls)

	var mu sync.Mutex
	var latencies []time.Duration
	var errs []error
	var creators sync.WaitGroup
	next := make(chan int)
	start := time.Now()
	for range atOnce {
		creators.Go(func() {
			for n := range next {
				w := api(ns, id(ns, "valid"))
				w.name = fmt.Sprintf("pod-%d", n)
				w.annotations["spiffe.io/spiffe-id"] = id(ns, name(n))
				asked := time.Now()
				_, err := client.CoreV1().Pods(ns).Create(t.Context(), neverScheduled(w.pod(ns)), metav1.CreateOptions{})
				took := time.Since(asked)
				mu.Lock()
				if latencies = append(latencies, took); err != nil {
					errs = append(errs, fmt.Errorf("%s after %.1f s: %w", w.name, took.Seconds(), err))
				}
				mu.Unlock()
			}
		})
	}
	for n := range pods {
		next <- n
	}
	close(next)
	creators.Wait()
	took := time.Since(start)
	made := total(t, calls) - callsBefore

	slices.Sort(latencies)
	t.Logf("%d pods of %d identities, %d at once: %.0f a second, p50 %s, p99 %s, most %s, %.0f calls to SPIRE", pods, identities, atOnce,
		pods/took.Seconds(), latencies[pods/2-1], latencies[pods*99/100-1], latencies[pods-1], made)
	if len(errs) > 0 {
		t.Errorf("%d of %d creations failed, the first: %v", len(errs), pods, errs[0])
	}
	if made == 0 || made > mostCalls {
		t.Errorf("expected some calls to SPIRE, up to %d, got %.0f", mostCalls, made)
	}
	// The pods' entries are there before the pods are.
	registered := registeredIn(t, ns)
	all, err := client.CoreV1().Pods(ns).List(t.Context(), metav1.ListOptions{})
	must(t, err)
	if len(all.Items) != pods {
		t.Errorf("expected %d pods, got %d", pods, len(all.Items))
	}
	for _, pod := range all.Items {
		var status inject.Status
		if err := json.Unmarshal([]byte(pod.Annotations[intent.AnnotationStatus]), &status); err != nil || len(pod.Spec.InitContainers) != 1 {
			t.Errorf("pod %s is not injected: %v", pod.Name, err)
			continue
		}
		if got := registered[strings.TrimPrefix(status.SPIFFEID, "spiffe://example.org")]; len(got) != 1 || !slices.Equal(got, status.EntryIDs) {
			t.Errorf("expected one entry of %s, %v, got %v", status.SPIFFEID, status.EntryIDs, got)
		}
	}
	if len(registered) != identities {
		t.Errorf("expected entries of %d identities, got %d", identities, len(registered))
	}
	// Their end is not to take the machine from what comes next. The API server gives up after a minute.
	eventuallyWithin(t, 5*time.Minute, "the end of all pods", func() error {
		return client.CoreV1().Pods(ns).DeleteCollection(t.Context(), metav1.DeleteOptions{GracePeriodSeconds: new(int64(0))}, metav1.ListOptions{})
	})
}
