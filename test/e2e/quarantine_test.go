package e2e

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spire-injector/spire-injector/registrar/reason"
)

// An identity on the list quarantine is cut off: all who call it or are called by it refuse it, no new pod gets it, its
// node's agent loses it at once, and the command, events and SPIRE say so. Everybody else goes on, and when it is off
// the list, all is as it was. Not parallel: the platform is everybody's.
func TestDisruptiveQuarantine(t *testing.T) {
	program := buildCommand(t)
	ns := namespace(t)
	s := newQuarantineScene(t, ns, 5)
	original := platformInForce(t)
	t.Cleanup(func() { setPlatform(context.Background(), t, original) })
	entriesBefore, nodes := entries(t, s.path), rowsOf(t, s.path)
	if len(entriesBefore) != 2 || len(nodes) == 0 {
		t.Fatalf("expected an entry of Envoy and one of the app, placed on a node, got %+v on %v", entriesBefore, nodes)
	}
	honest, stolen := startLoad(t, ns, "deployment/honest", s.peers...), startLoad(t, ns, "deployment/stolen", s.peers...)
	time.Sleep(2 * time.Second) // of traffic before

	began := time.Now()
	setPlatform(t.Context(), t, strings.TrimSuffix(original, "\n")+"\nquarantine: ["+s.path+"]\n")
	gone := s.awaitRows(t, began)
	t.Logf("rows gone after %.1f s", gone.Seconds())
	if gone >= shortGrace {
		t.Errorf("the rows went after %s: expected that they do not wait for the grace time of %s", gone, shortGrace)
	}
	eventually(t, "the agent without the identity", func() error {
		out, err := in(t, ns, "deployment/stolen", "/sample", "svid")
		if err == nil {
			return fmt.Errorf("it gives %s", out)
		}
		if !strings.Contains(out+err.Error(), "no identity issued") {
			return fmt.Errorf("expected %q, got %s, %w", "no identity issued", out, err)
		}
		return nil
	})
	t.Logf("the agent had given it up %.1f s after the change at the latest", time.Since(began).Seconds())
	s.awaitAnswers(t, "503")
	if after := entries(t, s.path); !slices.EqualFunc(entriesBefore, after, func(a, b entry) bool { return a.ID == b.ID && b.ExpiresAt == a.ExpiresAt }) {
		t.Errorf("entries that should stay, parked: before %+v, after %+v", entriesBefore, after)
	}
	if said := refused(t, neverScheduled(client(ns, "stolen").pod(ns))); !strings.Contains(said, "quarantined") || !strings.Contains(said, s.path) {
		t.Errorf("a new pod is refused with %s", said)
	}
	wantEvent(t, ns, "Pod/"+podNames(t, ns, "stolen")[0], reason.QuarantineHeld.String())
	wantEvent(t, "spire-injector", "ConfigMap/"+platformMap, reason.QuarantineChanged.String())
	eventually(t, "the check's word", func() error {
		report, _ := checked(t, program)
		return saysQuarantined(report)
	})
	s.wantRefusedSince(t, began, stolen.report(t))

	began = time.Now()
	setPlatform(t.Context(), t, original)
	s.awaitAnswers(t, "200")
	s.awaitRows(t, began, nodes...)
	t.Logf("all was as before after %.1f s", time.Since(began).Seconds())
	eventually(t, "the app's SVID again", func() error {
		_, err := in(t, ns, "deployment/stolen", "/sample", "svid")
		return err
	})
	injectedBy(t, neverScheduled(client(ns, "stolen").pod(ns)))
	eventually(t, "nothing to say for the check", func() error {
		report, _ := checked(t, program)
		if saysQuarantined(report) == nil {
			return errors.New("it still speaks of a quarantine")
		}
		return nil
	})
	honest.report(t).wantNoFailure(t)
}

// quarantineScene is an identity, /stolen, that calls some servers and is called itself; so does, and is, /honest.
type quarantineScene struct {
	namespace string
	path      string   // of the identity
	peers     []string // what it calls, as its own app does
	itself    string   // by which /honest calls it
}

func newQuarantineScene(t *testing.T, ns string, servers int) quarantineScene {
	t.Helper()
	s := quarantineScene{namespace: ns, path: id(ns, "stolen"), itself: "http://127.0.0.1:8100/api"}
	named := func(name string, peers ...string) workload {
		w := api(ns, strings.Join(peers, ","))
		w.name, w.annotations["spiffe.io/spiffe-id"] = name, id(ns, name)
		return w
	}
	var objects []any
	var names []string
	add := func(w workload) {
		objects, names = append(objects, w.service(ns), w.deployment(ns)), append(names, "deployment/"+w.name)
	}
	var upstreams []item
	for i := range servers {
		name := fmt.Sprintf("peer-%d", i)
		add(named(name, s.path, id(ns, "honest")))
		upstreams = append(upstreams, upstream(ns, name, 8000+i, 8443, "http"))
		s.peers = append(s.peers, fmt.Sprintf("http://127.0.0.1:%d/api", 8000+i))
	}
	stolen, honest := named("stolen", id(ns, "honest")), client(ns, "honest")
	stolen.annotations["spiffe.io/upstreams"] = list(upstreams...)
	stolen.annotations["spiffe.io/mode"] = "sidecar,socket"
	honest.annotations["spiffe.io/upstreams"] = list(append(upstreams, upstream(ns, "stolen", 8100, 8443, "http"))...)
	add(stolen)
	add(honest)
	apply(t, objects...)
	rollout(t, ns, names...)
	s.awaitAnswers(t, "200")
	return s
}

// awaitAnswers waits until all calls from and to the identity have a status.
func (s quarantineScene) awaitAnswers(t *testing.T, status string) {
	t.Helper()
	await := func(app, url string) {
		t.Helper()
		_, err := in(t, s.namespace, "deployment/"+app, "/sample", "watch", url, "--interval", "100ms", "--timeout", patience.String(),
			"--until-status", status, "--count", "3")
		must(t, err)
	}
	for _, url := range s.peers {
		await("stolen", url)
	}
	await("honest", s.itself)
}

// awaitRows waits until the identity is placed on these nodes, given by their UIDs, and returns how long ago the beginning
// was.
func (s quarantineScene) awaitRows(t *testing.T, began time.Time, uids ...string) time.Duration {
	t.Helper()
	eventually(t, fmt.Sprintf("rows on %v", uids), func() error {
		if got := rowsOf(t, s.path); !slices.Equal(got, uids) {
			return fmt.Errorf("it is placed on %v", got)
		}
		return nil
	})
	return time.Since(began)
}

// wantRefusedSince fails the test unless every server answered the identity before a time, and refused it since some time
// after; that one is logged.
func (s quarantineScene) wantRefusedSince(t *testing.T, began time.Time, r loadReport) {
	t.Helper()
	var took []time.Duration
	for _, url := range s.peers {
		counts := r.ByURL[url]
		if counts.LastAnswered.IsZero() || counts.Failed == 0 {
			t.Fatalf("%s: expected answers, and then none, got %+v", url, counts)
		}
		took = append(took, max(0, counts.LastAnswered.Sub(began)))
	}
	slices.Sort(took)
	t.Logf("%d servers refused it %.2f to %.2f s after the ConfigMap was changed", len(took), took[0].Seconds(), took[len(took)-1].Seconds())
}
