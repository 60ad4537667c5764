package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/spire-injector/spire-injector/test/install"
)

// SPIRE's two servers share a PostgreSQL database. The database is killed, then its pod is taken away, then each of the
// servers is killed, all under traffic between two pods and while pods with new identities are created: no request
// fails, who is refused is told why and accepted later, and in the end everybody is registered, exactly once.
func TestDisruptiveDatabaseAndServersKilled(t *testing.T) {
	ns := namespace(t)
	signal := onTheNode(t)
	spireOnPostgreSQL(t, ns)
	server, caller := api(ns, id(ns, "valid")+" "+id(ns, "late")), client(ns, "valid")
	for _, w := range []workload{server, caller} {
		w.annotations["spiffe.io/x509-svid-ttl"] = svidLife.String()
	}
	deploy(t, ns, server, caller)

	traffic, start := startLoad(t, ns, "deployment/valid"), time.Now()
	arrivals := startNewcomers(t, ns)
	arrivals.more(t, fewest)

	during := func(what string, act func()) period {
		began := time.Now()
		act()
		arrivals.more(t, fewest)
		p := arrivals.since(began)
		t.Logf("%s: %s", what, p)
		return p
	}
	p := during("the database was killed", func() {
		backAfter(t, install.PostgreSQLNamespace, install.PostgreSQLPod, func() {
			kill(t, signal, install.PostgreSQLNamespace, install.PostgreSQLPod, "postgres")
		})
	})
	if len(p.refused) == 0 {
		t.Error("nobody was refused: was the database ever away?")
	}
	during("the database's pod was taken away", func() {
		backAfter(t, install.PostgreSQLNamespace, install.PostgreSQLPod, func() {
			// Not by --force: the next pod would begin on the same files before this one has ended.
			k(t, install.PostgreSQLNamespace, "delete", "pod", install.PostgreSQLPod, "--grace-period=1")
		})
	})
	// Whichever of them the injector's replicas are connected to.
	for _, pod := range []string{"spire-server-0", "spire-server-1"} {
		p := during(pod+" was killed", func() {
			backAfter(t, "spire", pod, func() { kill(t, signal, "spire", pod, "spire-server") })
		})
		if p.longest > withoutAnswer {
			t.Errorf("for %s nobody was accepted, although another server was there", p.longest)
		}
	}
	arrivals.wantAll(t)
	time.Sleep(time.Until(start.Add(svidLife/2 + 5*time.Second)))
	traffic.report(t).wantNoFailure(t)

	late := client(ns, "late")
	apply(t, late.deployment(ns))
	rollout(t, ns, "deployment/late")
	awaitOK(t, ns, "deployment/late")
}

// svidLife is twice what passes until an SVID is renewed, which is once while all this happens, and longer than the
// database is away and agents, which ask at growing intervals, take to notice that it is back.
const svidLife = 2 * time.Minute

// withoutAnswer is how long at most nobody is accepted while one of two servers is away: until the injector's
// connection is known to be dead, and with it a margin for a busy machine.
const withoutAnswer = 15 * time.Second

// spireOnPostgreSQL has two SPIRE servers on PostgreSQL in the place of the one on SQLite until the test is over.
func spireOnPostgreSQL(t *testing.T, namespace string) {
	t.Helper()
	cleanUp := func(do func(context.Context) error) {
		t.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
			defer cancel()
			if err := do(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	remove, err := install.PostgreSQL(t.Context(), shared.env, progress{t})
	if remove != nil {
		cleanUp(remove)
	}
	must(t, err)
	cleanUp(func(ctx context.Context) error {
		back := install.MoveSPIRE(ctx, shared.env, platform(), progress{t})
		if back == nil {
			back = awaitRegistration(ctx, namespace, "back")
		}
		// What the base does not have.
		_, rest := shared.k.Run(ctx, "--namespace", "spire", "delete", "--ignore-not-found", "--wait=false",
			"poddisruptionbudget/spire-server", "persistentvolumeclaim/data-spire-server-1")
		return errors.Join(back, rest)
	})
	must(t, install.MoveSPIRE(t.Context(), shared.env, manifests("spire/overlays/ha"), progress{t}))
	start := time.Now()
	must(t, awaitRegistration(t.Context(), namespace, "there"))
	t.Logf("the injector registers on the other database %.1f s after the agents were ready", time.Since(start).Seconds())
}

// awaitRegistration returns when the injector registers new identities.
func awaitRegistration(ctx context.Context, namespace, name string) error {
	w := api(namespace, id(namespace, name))
	w.name = name
	w.annotations["spiffe.io/spiffe-id"] = id(namespace, name)
	pod, err := json.Marshal(neverScheduled(w.pod(namespace)))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		_, err := shared.k.With(ctx, install.WithImages(shared.env, string(pod)), "apply", "-f", "-")
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("no new identity is registered: %w", err)
		case <-time.After(500 * time.Millisecond):
		}
	}
}
