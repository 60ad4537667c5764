package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// An installation without rows, with one alias of all nodes above all entries, is moved under traffic, whose certificates
// live for so short that they are renewed meanwhile: no request fails, and the alias is gone in the end.
func entriesBelowOneAliasAreMoved(t *testing.T) {
	ns := namespaceNamed(t, "moved")
	injector := releaseFor(t, ns, "injector/base", "--entry-grace-time="+shortGrace.String(), "--resync-interval=10s")
	callee, caller := api(ns, id(ns, "valid")), client(ns, "valid")
	for _, w := range []workload{callee, caller} {
		w.annotations["spiffe.io/x509-svid-ttl"] = "1m"
	}
	deploy(t, ns, callee, caller)
	traffic := startLoad(t, ns, "deployment/valid")

	replicas := podNames(t, injector, "")
	k(t, injector, "scale", "deployment/spire-injector", "--replicas=0")
	awaitPodsGone(t, injector, replicas)
	old := withoutRows(t, injector)
	if len(old) != 2 {
		t.Fatalf("expected the entries of two workloads, got %v", old)
	}
	time.Sleep(90 * time.Second) // longer than certificates live: they are signed anew by the old entries
	awaitOK(t, ns, "deployment/valid")

	start := time.Now()
	k(t, injector, "scale", "deployment/spire-injector", "--replicas=2")
	eventually(t, "the move", func() error {
		time.Sleep(2 * time.Second) // listing takes the server's time
		var rows int
		for _, e := range allEntries(t) {
			switch last, ours := strings.CutPrefix(e.ID, "spire-injector."+injector+"."); {
			case !ours:
			case last == "node":
				return fmt.Errorf("the alias of all nodes is still there")
			case strings.HasPrefix(last, "row-"):
				rows++
			case !strings.HasPrefix(e.ParentID.Path, "/spire-injector/"+injector+"/id/") || !slices.Contains(old, e.ID):
				return fmt.Errorf("entry %s is below %s, or was not there", e.ID, e.ParentID.Path)
			}
		}
		if rows != 2 {
			return fmt.Errorf("there are %d rows, want 2", rows)
		}
		return nil
	})
	t.Logf("moved within %.0f s", time.Since(start).Seconds())
	time.Sleep(90 * time.Second)
	traffic.report(t).wantNoFailure(t)
}

// withoutRows makes of what an injector has registered what one without rows has, in steps that nobody notices, and
// returns the IDs of the workloads' entries.
func withoutRows(t *testing.T, injector string) (workloads []string) {
	t.Helper()
	const untilLoaded = 10 * time.Second // by the server, and then by the agents
	prefix, alias := "spire-injector."+injector+".", "spiffe://example.org/spire-injector/"+injector+"/node"
	server(t, "entry", "create", "-entryID", prefix+"node", "-spiffeID", alias, "-parentID", "spiffe://example.org/spire/server",
		"-selector", "k8s_psat:cluster:demo-cluster")
	time.Sleep(untilLoaded)
	var rows []string
	for _, e := range allEntries(t) {
		switch last, ours := strings.CutPrefix(e.ID, prefix); {
		case !ours || last == "node":
		case strings.HasPrefix(last, "row-"):
			rows = append(rows, e.ID)
		default:
			args := []string{"entry", "update", "-entryID", e.ID, "-spiffeID", "spiffe://example.org" + e.SPIFFEID.Path, "-parentID", alias, "-x509SVIDTTL", "60"}
			for _, s := range e.Selectors {
				args = append(args, "-selector", s.Type+":"+s.Value)
			}
			server(t, args...)
			workloads = append(workloads, e.ID)
		}
	}
	time.Sleep(untilLoaded)
	for _, id := range rows {
		server(t, "entry", "delete", "-entryID", id)
	}
	return workloads
}
