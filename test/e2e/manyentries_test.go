package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/spire-injector/spire-injector/registrar"
)

const (
	group    = 2500      // entries of one kind
	foreign  = 2 * group // entries of others
	unneeded = 2 * group // entries of ours that nobody needs, half of them for so long that their grace time ends soon

	untilOutlived = 25 * time.Second // which is after the restart
)

// A server that holds many entries, most of them of no concern and the rest of no use, delays nobody, and loses nothing
// of others.
func TestDisruptiveRestartWithManyEntries(t *testing.T) {
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

// manyEntries are entries in SPIRE, most of them of no concern and the rest of no use. Entries of others are under a
// path of ours, too.
func manyEntries(t *testing.T, ns string) {
	t.Helper()
	t.Cleanup(func() { forgetMany(t, ns) })
	start := time.Now()
	createMany(t, ns, "other.", "/bootstrap/demo-cluster/node", time.Time{})
	createMany(t, ns, "under-our-path.", aliasPath("/x"), time.Time{})
	createMany(t, ns, newlyUnneeded, aliasPath("/x"), time.Time{})
	createMany(t, ns, longUnneeded, aliasPath("/x"), time.Now().Add(untilOutlived))
	t.Logf("made %d entries in %.0f s", foreign+unneeded, time.Since(start).Seconds())
}

// What IDs of entries of ours begin with; the rest looks like the hash that it is of others.
const (
	newlyUnneeded = idsOfOurs + "nnnn"
	longUnneeded  = idsOfOurs + "llll"
)

// manyIDs are the IDs of a group.
func manyIDs(ns, prefix string) []string {
	ids := make([]string, group)
	for i := range ids {
		hash := registrar.IdentityHash(spiffeid.RequireFromString(fmt.Sprintf("spiffe://example.org%s-%d", id(ns, "x"), i)))
		ids[i] = prefix + hash[:26-len("nnnn")]
	}
	return ids
}

// createMany creates a group of entries that expire at a time, or never.
func createMany(t *testing.T, ns, prefix, parent string, expiry time.Time) {
	t.Helper()
	var all []item
	ids := manyIDs(ns, prefix)
	for i, entryID := range ids {
		all = append(all, item{
			"entryExpiry": max(expiry.Unix(), 0),
			"entry_id":    entryID, "parent_id": "spiffe://example.org" + parent,
			"spiffe_id": fmt.Sprintf("spiffe://example.org%s-%d", id(ns, strings.ReplaceAll(prefix, ".", "-")), i),
			"selectors": []item{{"type": "k8s", "value": "ns:" + ns}},
		})
	}
	const batch = 1000
	for at := 0; at < len(all); at += batch {
		end := min(at+batch, len(all))
		// On a busy machine kubectl loses the end of what a command says, which may have succeeded.
		eventually(t, "entries of "+prefix, func() error {
			err := onServer(t.Context(), item{"entries": all[at:end]}, "entry", "create", "-data", "-")
			if err != nil && containsAll(registered(t), ids[at:end]) {
				return nil
			}
			return err
		})
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

// countMany is how many of a group are there.
func countMany(t *testing.T, ns, prefix string) (n int) {
	t.Helper()
	there := registered(t)
	for _, id := range manyIDs(ns, prefix) {
		if there[id] {
			n++
		}
	}
	return n
}

// forgetMany deletes those of others. Of ours the injector removes what is left when its grace time is over.
func forgetMany(t *testing.T, ns string) {
	ids := append(manyIDs(ns, "other."), manyIDs(ns, "under-our-path.")...)
	for part := range slices.Chunk(ids, 1000) {
		if err := onServer(context.Background(), item{"ids": part}, "entry", "delete", "-file", "-"); err != nil {
			t.Error(err)
		}
	}
}

// wantManyRight waits until what is ours and unneeded is gone, or will be after the grace time, and checks that nothing
// else is.
func wantManyRight(t *testing.T, ns string) {
	t.Helper()
	took := eventually(t, "the removal of what nobody needs", func() error {
		if n := countMany(t, ns, longUnneeded); n > 0 {
			time.Sleep(2 * time.Second) // counting takes the server's time
			return fmt.Errorf("%d are left", n)
		}
		return nil
	})
	t.Logf("%d entries that were unneeded before were gone after %.0f s", group, took.Seconds())
	took = eventually(t, "an expiry of what nobody needs", func() error {
		unmarked, newly := 0, manyIDs(ns, newlyUnneeded)
		slices.Sort(newly)
		for _, e := range allEntries(t) {
			if _, is := slices.BinarySearch(newly, e.ID); is && e.ExpiresAt == "0" {
				unmarked++
			}
		}
		if unmarked > 0 {
			return fmt.Errorf("%d have none", unmarked)
		}
		return nil
	})
	t.Logf("%d that are unneeded since expire, which was so %.0f s later", group, took.Seconds())
	if n := countMany(t, ns, "other.") + countMany(t, ns, "under-our-path."); n != foreign {
		t.Errorf("%d entries of others are left, want all %d", n, foreign)
	}
}
