package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/spire-injector/spire-injector/test/install"
	"github.com/spire-injector/spire-injector/webhook/inject"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

const (
	// idsOfOurs begins the entry IDs of the default release.
	idsOfOurs = "spire-injector.demo-cluster."
	// managersPass is how often spire-controller-manager looks at all entries when nothing happens.
	managersPass = time.Second
	// ourPass is how often the injector looks at all entries: less often, so that the two are told apart.
	ourPass = 2 * time.Second
	// What the injector counts for each entry that it creates again because others deleted it.
	vanishedMetric = `spire_injector_entry_changes_total{action="create",reason="EntryDeletedByOthers",result="success"`
	// How it says so to people.
	vanishedReason = "EntryDeletedByOthers"
)

// spire-controller-manager registers workloads of the same SPIRE server, one of ours among them. Which entries it
// deletes depends on its settings: all that begin with its prefix and a dot, without a prefix all of SPIRE's; and what
// is to be cleaned up, which with an empty value is every ID without a dot. The last row deletes even the injector's
// own entry, so that nothing may come after it.
func TestDisruptiveBesideControllerManager(t *testing.T) {
	ns := namespace(t)
	manager := controllerManager(t)
	serveWith(t, "--resync-interval="+ourPass.String())
	t.Cleanup(func() {
		// The replicas that serve from then on wait for it.
		if err := install.InjectorEntries(context.Background(), shared.k); err != nil {
			t.Error(err)
		}
	})
	w := api(ns, id(ns, "valid"))
	w.annotations["spiffe.io/mode"] = "sidecar,socket"
	deploy(t, ns, w, client(ns, "valid"))
	clusterSPIFFEID(t, ns, "api")
	for _, tt := range []struct {
		name            string
		prefix, cleanup *string // nil: not set
		deletesOurs     bool
		servedByBoth    bool // looked at, which takes some seconds
	}{
		{"the prefix of the charts", new("demo-cluster"), nil, false, true},
		{"a prefix of its own", new("controller-manager.demo-cluster"), nil, false, false},
		{"a prefix that ours only begin with", new("spire"), nil, false, false},
		{"the prefix of another cluster of ours", new("spire-injector.demo"), nil, false, false},
		{"clean-up of an old prefix", new("demo-cluster"), new("old"), false, false},
		{"clean-up of IDs without prefix", new("demo-cluster"), new(""), false, false},
		{"our prefix", new("spire-injector"), nil, true, false},
		{"our prefix and cluster", new("spire-injector.demo-cluster"), nil, true, true},
		{"clean-up of our prefix", new("demo-cluster"), new("spire-injector"), true, false},
		{"clean-up of our prefix and cluster", new("demo-cluster"), new("spire-injector.demo-cluster"), true, false},
		{"no prefix", nil, nil, true, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			// SPIRE has no two entries that say the same, so that an earlier run's would be in the way.
			forget(t, entries(t, managersPath(ns)+apiPod(t, ns).Name))
			ours, seen := ourEntries(t, ns), vanished(t)
			settings := install.ControllerManagerSettings{EntryIDPrefixCleanup: tt.cleanup, GCInterval: managersPass, LogPasses: true}
			if tt.prefix != nil {
				settings.EntryIDPrefix = *tt.prefix
			}
			run := startManager(t, manager, settings)
			if tt.deletesOurs {
				wantRepair(t, run, ns, ours, seen)
			} else {
				wantPeace(t, run, ns, ours, seen)
			}
			if tt.servedByBoth {
				wantServedByBoth(t, ns)
			}
		})
	}
}

// wantPeace follows the manager through three of its passes: no entry of either is missing at any time.
func wantPeace(t *testing.T, run managerRun, ns string, ours []string, seen float64) {
	t.Helper()
	want := append(slices.Clone(ours), managersEntry(t, ns))
	first := run.log(t).passes
	looks := 0
	eventually(t, "three passes of spire-controller-manager", func() error {
		if got := registered(t); !containsAll(got, want) {
			t.Fatalf("of the entries %v only these are there: %v", want, slices.Sorted(maps.Keys(got)))
		}
		looks++
		if passes := run.log(t).passes - first; passes < 3 {
			return fmt.Errorf("there were %d", passes)
		}
		return nil
	})
	t.Logf("all of %d entries were there each of %d times", len(want), looks)
	for _, id := range ours {
		if n := run.log(t).deleted[id]; n > 0 {
			t.Errorf("it deleted %s %d times", id, n)
		}
	}
	if now := vanished(t); now != seen {
		t.Errorf("expected no entry to be created again, got %v", now-seen)
	}
}

// wantRepair lets the two quarrel for a while: what the manager deletes comes back, at our pace and not at its, and
// people are told. What it registered itself is left alone.
func wantRepair(t *testing.T, run managerRun, ns string, ours []string, seen float64) {
	t.Helper()
	managers := managersEntry(t, ns)
	took := eventually(t, "a deleted entry to come back", func() error {
		deleted := run.log(t).deleted
		switch {
		case !slices.ContainsFunc(ours, func(id string) bool { return deleted[id] > 0 }):
			return fmt.Errorf("spire-controller-manager has deleted none of %v", ours)
		case vanished(t) == seen:
			return fmt.Errorf("the injector has not counted one; deleted were %v", deleted)
		}
		return nil
	})
	t.Logf("the first was created again %.1f s later", took.Seconds())
	wantTold(t, ns)
	pause(t.Context(), 3*ourPass)
	deleted, lasted := run.log(t).deleted, time.Since(run.start)
	run.stop(t)

	// An interval is jittered by a tenth, and one pass falls in at either end.
	most := int(lasted.Seconds()/(0.9*ourPass.Seconds())) + 2
	for _, id := range ours {
		if deleted[id] > most {
			t.Errorf("%s was deleted, so created, %d times within %s: expected at most one creation in %s", id, deleted[id], lasted, ourPass)
		}
	}
	if got := registered(t); !got[managers] {
		t.Errorf("spire-controller-manager's entry %s is gone", managers)
	}
	eventually(t, "all of our entries", func() error {
		if got := registered(t); !containsAll(got, ours) {
			return fmt.Errorf("of %v only these are there: %v", ours, slices.Sorted(maps.Keys(got)))
		}
		return nil
	})
	t.Logf("within %.0f s it deleted %v", lasted.Seconds(), deleted)
}

// wantServedByBoth wants the identities of both in one pod, and mTLS by ours. A stopped manager's entries stay.
func wantServedByBoth(t *testing.T, ns string) {
	t.Helper()
	managers := "spiffe://example.org" + managersPath(ns) + apiPod(t, ns).Name
	eventually(t, "the SVIDs of both in the app's container", func() error {
		out, err := in(t, ns, "deployment/api", "/sample", "svid")
		if err == nil && !(strings.Contains(out, "spiffe://example.org"+id(ns, "api")+" ") && strings.Contains(out, managers+" ")) {
			err = fmt.Errorf("got %s", out)
		}
		return err
	})
	awaitOK(t, ns, "deployment/valid")
}

// ourEntries are the IDs of what the pods of a namespace need: their entries and their rows.
func ourEntries(t *testing.T, ns string) []string {
	t.Helper()
	var ids []string
	for _, pod := range podsOf(t, ns, "") {
		var status inject.Status
		must(t, json.Unmarshal([]byte(pod.Annotations[intent.AnnotationStatus]), &status))
		ids = append(ids, status.EntryIDs...)
		for _, row := range rows(t, strings.TrimPrefix(status.SPIFFEID, "spiffe://example.org")) {
			ids = append(ids, row.ID)
		}
	}
	if got := registered(t); len(ids) < 5 || !containsAll(got, ids) {
		t.Fatalf("expected entries and rows of two pods, one for the app too, got %v in %v", ids, slices.Sorted(maps.Keys(got)))
	}
	return ids
}

// managersEntry waits for the ID of the entry that spire-controller-manager made for the pod of both.
func managersEntry(t *testing.T, ns string) string {
	t.Helper()
	pod := apiPod(t, ns).Name
	var found []entry
	eventually(t, "the entry of spire-controller-manager", func() error {
		if found = entries(t, managersPath(ns)+pod); len(found) != 1 {
			return fmt.Errorf("expected one of pod %s, got %+v", pod, found)
		}
		return nil
	})
	return found[0].ID
}

// forget removes entries.
func forget(t *testing.T, unwanted []entry) {
	t.Helper()
	for _, e := range unwanted {
		_, err := install.Server(t.Context(), shared.k, "entry", "delete", "-entryID", e.ID)
		must(t, err)
	}
}

// registered are the IDs of all entries.
func registered(t *testing.T) map[string]bool {
	t.Helper()
	ids := map[string]bool{}
	for _, e := range allEntries(t) {
		ids[e.ID] = true
	}
	return ids
}

// allEntries are all of SPIRE's, whoever made them.
func allEntries(t *testing.T) []entry {
	t.Helper()
	out, err := install.Server(t.Context(), shared.k, "entry", "show", "-output", "json")
	must(t, err)
	var list struct {
		Entries []entry `json:"entries"`
	}
	must(t, json.Unmarshal([]byte(out), &list))
	return list.Entries
}

func containsAll(got map[string]bool, want []string) bool {
	return !slices.ContainsFunc(want, func(id string) bool { return !got[id] })
}

// vanished is how many entries the replicas have created again because others had deleted them.
func vanished(t *testing.T) float64 { return total(t, vanishedMetric) }

// wantTold waits for a warning event in the test's namespace. Later ones of the same words are counted in it, minutes
// later.
func wantTold(t *testing.T, ns string) {
	t.Helper()
	eventually(t, "an event "+vanishedReason, func() error {
		var events corev1.EventList
		if err := shared.k.Get(t.Context(), &events, "events", "--namespace", ns, "--field-selector", "type=Warning,reason="+vanishedReason); err != nil {
			return err
		}
		if len(events.Items) == 0 {
			return errors.New("there is none")
		}
		t.Logf("%s %s: %s", events.Items[0].InvolvedObject.Kind, events.Items[0].InvolvedObject.Name, events.Items[0].Message)
		return nil
	})
}
