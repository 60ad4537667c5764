package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

const (
	foreign  = 5000 // entries of others
	unneeded = 5000 // entries of ours that nobody needs
)

// A server that holds many entries, most of them of no concern and the rest of no use, delays nobody, and loses nothing of others.
func TestRestartWithManyEntries(t *testing.T) {
	ns := namespace(t)
	manyEntries(t, ns)
	before := replicas(t)
	k(t, "spire-injector", "rollout", "restart", "deployment/spire-injector")
	rollout(t, "spire-injector", "deployment/spire-injector")
	awaitGone(t, before)
	start := time.Now()
	apply(t, neverScheduled(api(ns, id(ns, "valid")).pod(ns)))
	t.Logf("a pod with a new identity was admitted %.2f s after the restart, with %d entries in SPIRE", time.Since(start).Seconds(), foreign+unneeded)
	wantManyRight(t, ns)
	if got := entries(t, id(ns, "api")); len(got) != 1 {
		t.Errorf("expected the entry of the pod, got %+v", got)
	}
}

// manyEntries are entries in SPIRE, most of them of no concern and the rest of no use. IDs of others are under our alias, too.
func manyEntries(t *testing.T, ns string) {
	t.Helper()
	t.Cleanup(func() { forgetMany(t, ns) })
	const alias = "/spire-injector/demo-cluster/node"
	start := time.Now()
	createMany(t, ns, foreign/2, "other.", "/bootstrap/demo-cluster/node")
	createMany(t, ns, foreign/2, "under-our-alias.", alias)
	createMany(t, ns, unneeded, "spire-injector.demo-cluster.", alias)
	t.Logf("made %d entries in %.0f s", foreign+unneeded, time.Since(start).Seconds())
}

func createMany(t *testing.T, ns string, n int, prefix, parent string) {
	t.Helper()
	var all []item
	for i := range n {
		all = append(all, item{
			"entry_id": fmt.Sprintf("%s%s-%d", prefix, ns, i), "parent_id": "spiffe://example.org" + parent,
			"spiffe_id": fmt.Sprintf("spiffe://example.org%s-%d", id(ns, strings.ReplaceAll(prefix, ".", "-")), i),
			"selectors": []item{{"type": "k8s", "value": "ns:" + ns}},
		})
	}
	for part := range slices.Chunk(all, 1000) {
		must(t, onServer(t.Context(), item{"entries": part}, "entry", "create", "-data", "-"))
	}
}

// onServer runs the SPIRE server's command line with a standard input.
func onServer(ctx context.Context, input item, args ...string) error {
	text, err := json.Marshal(input)
	if err != nil {
		return err
	}
	command := append([]string{"--namespace", "spire", "exec", "-i", "spire-server-0", "--", "/opt/spire/bin/spire-server"}, args...)
	_, err = shared.k.With(ctx, string(text), append(command, "-socketPath", "/run/spire/private/api.sock")...)
	return err
}

// countMany is how many of those with a prefix are there.
func countMany(t *testing.T, ns, prefix string) int {
	t.Helper()
	return strings.Count(server(t, "entry", "show", "-output", "json"), `"id":"`+prefix+ns)
}

// forgetMany deletes those of others.
func forgetMany(t *testing.T, ns string) {
	var ids []string
	for i := range foreign / 2 {
		ids = append(ids, fmt.Sprintf("other.%s-%d", ns, i), fmt.Sprintf("under-our-alias.%s-%d", ns, i))
	}
	for part := range slices.Chunk(ids, 1000) {
		if err := onServer(context.Background(), item{"ids": part}, "entry", "delete", "-file", "-"); err != nil {
			t.Error(err)
		}
	}
}

// wantManyRight waits until what is ours and unneeded is gone, and checks that nothing else is.
func wantManyRight(t *testing.T, ns string) {
	t.Helper()
	took := eventually(t, "the removal of what nobody needs", func() error {
		if n := countMany(t, ns, "spire-injector.demo-cluster."); n > 0 {
			time.Sleep(2 * time.Second) // counting takes the server's time
			return fmt.Errorf("%d are left", n)
		}
		return nil
	})
	t.Logf("%d unneeded entries were gone after %.0f s", unneeded, took.Seconds())
	if n := countMany(t, ns, "other.") + countMany(t, ns, "under-our-alias."); n != foreign {
		t.Errorf("%d entries of others are left, want all %d", n, foreign)
	}
}
