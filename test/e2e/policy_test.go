package e2e

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/spire-injector/spire-injector/test/command"
)

// maxRounds bounds how often it is tried to meet an open connection after the new rules: on a busy machine they may
// come later after the new listener than the next request.
const maxRounds = 12

// Who may call is changed on a running pod, both ways, while a peer that stays on the list keeps calling.
func TestPeersOfRunningPod(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	deploy(t, ns, api(ns, id(ns, "valid")), client(ns, "valid"), client(ns, "other"))
	before := apiPod(t, ns)
	allow := func(peers ...string) time.Time {
		_, err := shared.k.Run(t.Context(), "--namespace", ns, "annotate", "pod", before.Name, "--overwrite", "spiffe.io/allowed-peers="+strings.Join(peers, ","))
		must(t, err)
		return time.Now()
	}
	valid, other := id(ns, "valid"), id(ns, "other")

	var traffic sync.WaitGroup
	var report loadReport
	traffic.Go(func() {
		report = load(t, ns, "deployment/valid", "--duration", "60s", "--workers", "4", "--interval", "50ms", "--slow-every", "100", "--slow-url", url+"?delay=3s")
	})
	time.Sleep(5 * time.Second)
	deniedRounds := 0
	for round := 0; round < 3 || deniedRounds == 0 && round < maxRounds; round++ {
		annotated := allow(valid, other)
		_, err := in(t, ns, "deployment/other", "/sample", "watch", url, "--interval", "10ms", "--timeout", patience.String(), "--until-status", "200")
		must(t, err)
		t.Logf("round %d: a new peer was served %.2f s after its annotation, kubectl exec included", round, time.Since(annotated).Seconds())

		// This connection is open while the peer is taken off the list.
		var seen, trouble command.Output
		watch := shared.k.Command(t.Context(), "--namespace", ns, "exec", "deployment/other", "--container", "app", "--",
			"/sample", "watch", url, "--interval", "250ms", "--timeout", patience.String(), "--until-status", "503")
		watch.Stdout, watch.Stderr = &seen, &trouble
		must(t, watch.Start())
		eventually(t, "an answer on the connection that stays open", func() error {
			if out := seen.String(); !strings.Contains(out, " 200 ") {
				return fmt.Errorf("the watch printed %q and %q", out, trouble.String())
			}
			return nil
		})
		removed := allow(valid)
		if err := watch.Wait(); err != nil {
			t.Fatalf("%v: %s", err, trouble.String())
		}
		out := seen.String()
		t.Logf("round %d: a removed peer was refused within %.2f s\n%s", round, time.Since(removed).Seconds(), out)
		// The open connection is refused with its next request, then there is no new one. A request between the new
		// listener and the new rules, which come some ms later, is answered as the connection's last: no 403 then.
		ok, denied, refused := strings.LastIndex(out, " 200 "), strings.Index(out, "RBAC: access denied"), strings.Index(out, " 503 ")
		if ok < 0 || refused < ok || denied >= 0 && (denied < ok || refused < denied) {
			t.Errorf("expected 200, then 403 RBAC: access denied, then 503, got:\n%s", out)
		}
		if denied >= 0 {
			deniedRounds++
		}
	}
	if deniedRounds == 0 {
		t.Errorf("no open connection was refused with 403 in %d rounds", maxRounds)
	}
	traffic.Wait()
	report.wantNoFailure(t)
	if report.Slow == 0 {
		t.Error("there was no slow request in the traffic")
	}

	after := apiPod(t, ns)
	if after.UID != before.UID || after.Status.InitContainerStatuses[0].RestartCount != 0 || after.Status.ContainerStatuses[0].RestartCount != 0 {
		t.Errorf("expected the same pod without a restart, got %+v", after.Status)
	}
}

// What a running pod cannot take is refused and changes nothing.
func TestFrozenAnnotationsOfRunningPod(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	apply(t, neverScheduled(api(ns, id(ns, "valid")).pod(ns)))
	tests := []struct{ name, change, want string }{
		{"identity", "spiffe.io/spiffe-id=" + id(ns, "other"), "annotation spiffe.io/spiffe-id: a running pod cannot take this change, it needs a new pod"},
		{"port", "spiffe.io/app-port=9090", "annotation spiffe.io/app-port: a running pod cannot take this change, it needs a new pod"},
		{"generated", "spiffe.io/envoy-listeners={}", "written by the webhook alone"},
		{"misspelt", "spiffe.io/alowed-peers=/x", `did you mean "spiffe.io/allowed-peers"?`},
		{"bad peer", "spiffe.io/allowed-peers=web", `did you mean "/web"?`},
	}
	before := apiPod(t, ns)
	for _, test := range tests {
		_, err := shared.k.Run(t.Context(), "--namespace", ns, "annotate", "pod", "api", "--overwrite", test.change)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: expected %q, got %v", test.name, test.want, err)
		}
	}
	_, err := shared.k.Run(t.Context(), "--namespace", ns, "label", "pod", "api", "--overwrite", "spiffe.io/identity=stolen")
	if err == nil || !strings.Contains(err.Error(), "written by the webhook alone") {
		t.Errorf("identity label: expected a refusal, got %v", err)
	}
	after := apiPod(t, ns)
	if diff := cmp.Diff([]map[string]string{before.Labels, before.Annotations}, []map[string]string{after.Labels, after.Annotations}); diff != "" {
		t.Errorf("a refused change changed the pod:\n%s", diff)
	}
	_, err = shared.k.Run(t.Context(), "--namespace", ns, "annotate", "pod", "api", "example.org/note=x")
	must(t, err) // what is not ours is free to change
}
