package e2e

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/spire-injector/spire-injector/registrar/reason"
)

// newcomers creates pods without end, each with an identity that SPIRE does not know yet, and tries those that are
// refused again until they are not, as a controller does.
type newcomers struct {
	namespace string
	client    kubernetes.Interface
	cancel    context.CancelFunc
	workers   sync.WaitGroup

	mu       sync.Mutex
	begun    int
	accepted []time.Time
	refused  []refusal
}

// refusal is one answer of the API server's.
type refusal struct {
	at  time.Time
	err error
}

func startNewcomers(t *testing.T, namespace string) *newcomers {
	t.Helper()
	n := &newcomers{namespace: namespace, client: clientset(t)}
	var ctx context.Context
	ctx, n.cancel = context.WithCancel(t.Context())
	for range 4 {
		n.workers.Go(func() {
			for ctx.Err() == nil {
				n.one(t.Context())
				pause(ctx, 200*time.Millisecond)
			}
		})
	}
	t.Cleanup(func() { n.cancel(); n.workers.Wait() })
	return n
}

// one pod is created, unless that takes too long.
func (n *newcomers) one(ctx context.Context) {
	n.mu.Lock()
	pod := n.pod(n.begun)
	n.begun++
	n.mu.Unlock()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		_, err := n.client.CoreV1().Pods(n.namespace).Create(ctx, pod, metav1.CreateOptions{})
		if ctx.Err() != nil {
			return
		}
		n.mu.Lock()
		if err == nil {
			n.accepted = append(n.accepted, time.Now())
			n.mu.Unlock()
			return
		}
		n.refused = append(n.refused, refusal{time.Now(), err})
		n.mu.Unlock()
		pause(ctx, 200*time.Millisecond)
	}
}

func (n *newcomers) path(i int) string { return id(n.namespace, fmt.Sprintf("newcomer-%d", i)) }

func (n *newcomers) pod(i int) *corev1.Pod {
	w := api(n.namespace, id(n.namespace, "valid"))
	w.name = fmt.Sprintf("newcomer-%d", i)
	w.annotations["spiffe.io/spiffe-id"] = n.path(i)
	return neverScheduled(w.pod(n.namespace))
}

// more waits until so many more have been accepted, whatever happened before.
func (n *newcomers) more(t *testing.T, count int) {
	t.Helper()
	since := time.Now()
	took := eventually(t, "newcomers", func() error {
		if got := n.since(since).accepted; got < count {
			return fmt.Errorf("%d of %d", got, count)
		}
		return nil
	})
	t.Logf("%d newcomers were accepted %.1f s later", count, took.Seconds())
}

// period is what happened in a while.
type period struct {
	accepted int
	refused  map[reason.Reason]int
	longest  time.Duration // without any that was accepted
	strange  error         // a refusal for no reason of SPIRE's
}

func (n *newcomers) since(start time.Time) period {
	n.mu.Lock()
	defer n.mu.Unlock()
	return newPeriod(start, time.Now(), n.accepted, n.refused)
}

// newPeriod sums up, from times in their order.
func newPeriod(start, end time.Time, accepted []time.Time, refused []refusal) period {
	p := period{refused: map[reason.Reason]int{}}
	last := start
	for _, at := range accepted {
		if at.Before(start) || at.After(end) {
			continue
		}
		p.accepted++
		p.longest, last = max(p.longest, at.Sub(last)), at
	}
	p.longest = max(p.longest, end.Sub(last))
	for _, r := range refused {
		if r.at.Before(start) || r.at.After(end) {
			continue
		}
		why := reason.SPIREUnavailable
		if strings.Contains(r.err.Error(), string(reason.SPIRERejected)+": ") {
			why = reason.SPIRERejected
		} else if !strings.Contains(r.err.Error(), string(why)+": ") {
			p.strange = r.err
			continue
		}
		p.refused[why]++
	}
	return p
}

func (p period) String() string {
	var reasons []string
	for _, reason := range slices.Sorted(maps.Keys(p.refused)) {
		reasons = append(reasons, fmt.Sprintf("%d times %s", p.refused[reason], reason))
	}
	return fmt.Sprintf("%d newcomers accepted, refused %q; at the longest none for %.1f s", p.accepted, reasons, p.longest.Seconds())
}

// wantAll ends the stream, and wants each of the newcomers accepted and registered exactly once.
func (n *newcomers) wantAll(t *testing.T) {
	t.Helper()
	n.cancel()
	n.workers.Wait()
	if p := n.since(time.Time{}); p.strange != nil {
		t.Errorf("a refusal that is not about SPIRE: %v", p.strange)
	} else if p.accepted != n.begun {
		t.Errorf("of %d newcomers %d were accepted", n.begun, p.accepted)
	}
	have := map[string]int{}
	for _, e := range allEntries(t) {
		have[e.SPIFFEID.Path]++
	}
	for i := range n.begun {
		if got := have[n.path(i)]; got != 1 {
			t.Errorf("expected one entry of %s, got %d", n.path(i), got)
		}
	}
	t.Logf("each of %d newcomers has its one entry", n.begun)
}
