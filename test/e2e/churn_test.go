package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/spire-injector/spire-injector/test/monitoring"
)

// churnVariable is how long the churn lasts, a Go duration. For a long one:
//
//	CHURN=30m go test -count=1 -timeout 1h -run TestDisruptiveChurn -v ./test/e2e
const churnVariable = "CHURN"

// steady are a replica's metrics that must not grow with what has been, and what is allowed between two halves of the
// churn: a heap is a saw, and what is in its time of grace is remembered.
var steady = map[string]monitoring.Allowance{
	"go_goroutines":                 {Share: 0.1, Extra: 20},
	"go_memstats_heap_inuse_bytes":  {Share: 0.25, Extra: 8 << 20},
	"process_resident_memory_bytes": {Share: 0.25, Extra: 16 << 20},
}

// Pods of ever other identities come and go: what they leave behind, in SPIRE and in the replicas, is nothing. Not
// parallel: what others do would be taken for growth.
func TestDisruptiveChurn(t *testing.T) {
	duration := 30 * time.Second
	if text := os.Getenv(churnVariable); text != "" {
		d, err := time.ParseDuration(text)
		if err != nil || d < duration {
			t.Fatalf("%s: expected a duration such as 30m, of %s or more, got %q", churnVariable, duration, text)
		}
		duration = d
	}
	ns := namespace(t)
	apply(t, pending(ns, client(ns, "stays")))
	awaitEntries(t, id(ns, "stays"), 1)
	before := registered(t)
	names := replicas(t)
	restartsBefore := injectorRestarts(t)

	c := startChurn(t, ns)
	// Until then the replicas, which have just started, fill their caches.
	time.Sleep(duration / 4)
	series := map[string][]float64{} // by replica and metric
	end := time.Now().Add(duration - duration/4)
	// A slow machine measures less often, so it goes on for longer.
	for round := 0; round < monitoring.Fewest || time.Now().Before(end); round++ {
		for _, replica := range names {
			values := scrape(t, replica)
			for metric := range steady {
				v, err := strconv.ParseFloat(values[metric], 64)
				if err != nil {
					t.Fatalf("replica %s, %s: %v", replica, metric, err)
				}
				series[replica+" "+metric] = append(series[replica+" "+metric], v)
			}
		}
		time.Sleep(time.Second)
	}
	most := len(registeredIn(t, ns))
	c.wantNoFailure(t)
	t.Logf("%d pods came and went in %s; %d identities of theirs were registered at the end of that", c.pods.Load(), duration, most-1)
	for _, replica := range names {
		for _, metric := range slices.Sorted(maps.Keys(steady)) {
			values := series[replica+" "+metric]
			first, second, err := monitoring.Flat(values, steady[metric])
			t.Logf("%s %s: medians %.4g and %.4g of two halves, at most %.4g", replica, metric, first, second, slices.Max(values))
			if err != nil {
				t.Errorf("%s %s %v", replica, metric, err)
			}
		}
	}
	if got := replicas(t); !slices.Equal(names, got) || injectorRestarts(t) != restartsBefore {
		t.Errorf("expected the replicas %v without restarts, got %v with %d", names, got, injectorRestarts(t)-restartsBefore)
	}
	for _, replica := range names {
		for line := range strings.Lines(k(t, injectorName, "logs", replica)) {
			if !json.Valid([]byte(line)) {
				t.Errorf("replica %s logs a line that is not JSON: a library complains: %s", replica, line)
			}
		}
	}

	took := eventually(t, "the removal of all that came and went", func() error {
		if got := registeredIn(t, ns); len(got) != 1 || len(got[id(ns, "stays")]) != 1 {
			time.Sleep(2 * time.Second) // listing takes the server's time
			return fmt.Errorf("entries of %d identities are there", len(got))
		}
		return nil
	})
	t.Logf("their entries were gone %.0f s later", took.Seconds())
	for entryID := range registered(t) {
		if !before[entryID] {
			t.Errorf("entry %s was not there before the churn", entryID)
		}
	}
}

// churn creates pods, which it deletes some seconds later, until it is stopped.
type churn struct {
	pods  atomic.Int64
	first atomic.Pointer[error]
	stop  func()
}

// startChurn has ten pods a second come, and as many go. Two of them after each other are of one identity, which then
// never comes again.
func startChurn(t *testing.T, ns string) *churn {
	t.Helper()
	const workers, life = 40, 4 * time.Second
	client := clientset(t)
	ctx, cancel := context.WithCancel(t.Context())
	c := &churn{}
	var working sync.WaitGroup
	c.stop = func() { cancel(); working.Wait() }
	t.Cleanup(c.stop)
	for worker := range workers {
		working.Go(func() {
			pause(ctx, life/workers*time.Duration(worker))
			for round := 0; ctx.Err() == nil; round++ {
				w := api(ns, id(ns, "valid"))
				w.name = fmt.Sprintf("pod-%d-%d", worker, round)
				w.annotations["spiffe.io/spiffe-id"] = id(ns, fmt.Sprintf("api-%d-%d", worker/2, round))
				if err := c.live(ctx, client, w, ns, life); err != nil {
					c.first.CompareAndSwap(nil, &err)
				}
			}
		})
	}
	return c
}

// live is the life of one pod. It goes also when the churn has been stopped meanwhile.
func (c *churn) live(ctx context.Context, client kubernetes.Interface, w workload, ns string, life time.Duration) error {
	always := context.WithoutCancel(ctx)
	if _, err := client.CoreV1().Pods(ns).Create(always, neverScheduled(w.pod(ns)), metav1.CreateOptions{}); err != nil {
		pause(ctx, life)
		return fmt.Errorf("creating %s: %w", w.name, err)
	}
	c.pods.Add(1)
	pause(ctx, life)
	if err := client.CoreV1().Pods(ns).Delete(always, w.name, metav1.DeleteOptions{GracePeriodSeconds: new(int64(0))}); err != nil {
		return fmt.Errorf("deleting %s: %w", w.name, err)
	}
	return nil
}

// wantNoFailure ends the churn.
func (c *churn) wantNoFailure(t *testing.T) {
	t.Helper()
	c.stop()
	if first := c.first.Load(); first != nil {
		t.Errorf("expected that all pods come and go, got %v", *first)
	}
	if c.pods.Load() < fewest {
		t.Errorf("expected %d pods and more, got %d: that is no churn", fewest, c.pods.Load())
	}
}
