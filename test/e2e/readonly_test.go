package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// SPIRE can read its database and not write it: what is known goes on, what is new is refused with the reason, and
// nothing is half-done.
func TestDisruptiveSPIREServerReadOnly(t *testing.T) {
	ns := namespace(t)
	deploy(t, ns, api(ns, id(ns, "valid")), client(ns, "valid"))
	awaitOK(t, ns, "deployment/valid")
	newcomer := client(ns, "newcomer")
	const lockFor = 25 * time.Second
	locked := lockDatabase(t, lockFor)

	apply(t, neverScheduled(client(ns, "valid").pod(ns))) // a known identity takes no call
	start := time.Now()
	message := refused(t, neverScheduled(newcomer.pod(ns)))
	t.Logf("refused after %.1f s: %s", time.Since(start).Seconds(), message)
	for _, part := range []string{"SPIRE", id(ns, "newcomer"), "nothing was changed"} {
		if !strings.Contains(message, part) {
			t.Errorf("expected %q in %s", part, message)
		}
	}
	if got := entries(t, id(ns, "newcomer")); len(got) != 0 {
		t.Errorf("expected no entry of what was refused, got %+v", got)
	}
	if out, err := in(t, ns, "deployment/valid", "/sample", "get", url); err != nil {
		t.Errorf("running pods are not served any more: %s (%v)", out, err)
	}
	if held := time.Since(locked); held > lockFor {
		t.Errorf("that took %s, longer than the database was locked: this tests nothing", held)
	}
	took := eventually(t, "a creation", func() error {
		_, err := shared.k.With(t.Context(), manifest(t, neverScheduled(newcomer.pod(ns))), "apply", "-f", "-")
		return err
	})
	t.Logf("created %.1f s later", took.Seconds())
	if got := entries(t, id(ns, "newcomer")); len(got) != 1 {
		t.Errorf("expected one entry, got %+v", got)
	}
}

// lockDatabase holds the writers' lock of the SPIRE server's database for a while, from when it returns.
func lockDatabase(t *testing.T, d time.Duration) (since time.Time) {
	t.Helper()
	const namespace, name = "spire", "e2e-lock"
	must(t, deleted(t.Context(), namespace, name))
	pod := &corev1.Pod{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"}, ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace},
		Spec: corev1.PodSpec{
			RestartPolicy:   corev1.RestartPolicyNever,
			SecurityContext: &corev1.PodSecurityContext{RunAsUser: new(int64(1000)), RunAsGroup: new(int64(1000)), RunAsNonRoot: new(true)},
			Containers:      []corev1.Container{container("app", "/podtool", "lock", "/data/datastore.sqlite3-shm", "--offset", "120", "--length", "1", "--for", d.String())},
			Volumes: []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{
				PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "data-spire-server-0"},
			}}},
		},
	}
	pod.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "data", MountPath: "/data"}}
	apply(t, pod)
	t.Cleanup(func() {
		if err := deleted(context.Background(), namespace, name); err != nil {
			t.Error(err)
		}
	})
	eventually(t, "the lock", func() error {
		out, err := shared.k.Run(t.Context(), "--namespace", namespace, "logs", name)
		if err == nil && strings.TrimSpace(out) != "locked" {
			err = fmt.Errorf("it printed %q", out)
		}
		return err
	})
	return time.Now()
}

func deleted(ctx context.Context, namespace, pod string) error {
	_, err := shared.k.Run(ctx, "--namespace", namespace, "delete", "pod", pod, "--ignore-not-found", "--grace-period=0", "--force")
	return err
}

// SPIRE answers late: creations take longer, and none is refused.
func TestDisruptiveSPIREServerSlow(t *testing.T) {
	ns := namespace(t)
	signal := onTheNode(t)
	deploy(t, ns, api(ns, id(ns, "valid")), client(ns, "valid"))
	traffic := startLoad(t, ns, "deployment/valid")
	t.Cleanup(func() {
		if err := signal("spire-server", "CONT"); err != nil {
			t.Error(err)
		}
	})
	pulses := make(chan error, 1)
	ctx, stop := context.WithCancel(t.Context())
	go func() {
		var err error
		for err == nil && ctx.Err() == nil {
			if err = signal("spire-server", "STOP"); err == nil {
				pause(ctx, 1500*time.Millisecond)
				err = signal("spire-server", "CONT")
			}
			pause(ctx, 200*time.Millisecond)
		}
		pulses <- err
	}()
	var slowest time.Duration
	for n := range 5 {
		w := client(ns, fmt.Sprintf("slow-%d", n))
		start := time.Now()
		apply(t, neverScheduled(w.pod(ns)))
		slowest = max(slowest, time.Since(start))
		if got := entries(t, id(ns, w.name)); len(got) != 1 {
			t.Errorf("expected one entry of %s, got %+v", w.name, got)
		}
	}
	stop()
	must(t, <-pulses)
	t.Logf("5 identities were registered, the slowest within %.1f s", slowest.Seconds())
	traffic.report(t).wantNoFailure(t)
}

// A replica that cannot know what is needed, because it may not see which nodes there are, removes nothing.
func TestDisruptiveNothingIsRemovedBeforeCachesAreFilled(t *testing.T) {
	ns := namespace(t)
	apply(t, pending(ns, client(ns, "asleep")))
	awaitEntries(t, id(ns, "asleep"), 1)
	before := replicas(t)
	scale := func(ctx context.Context, n int) error {
		_, err := shared.k.Run(ctx, "--namespace", "spire-injector", "scale", "deployment/spire-injector", fmt.Sprintf("--replicas=%d", n))
		return err
	}
	verbs := func(ctx context.Context, verbs string) error {
		// The rules of the role are a list; this one is about nodes.
		out, err := shared.k.Run(ctx, "get", "clusterrole", "spire-injector", "-o", `jsonpath={range .rules[*]}{.resources[0]}{"\n"}{end}`)
		if err != nil {
			return err
		}
		for i, resource := range strings.Fields(out) {
			if resource == "nodes" {
				_, err := shared.k.Run(ctx, "patch", "clusterrole", "spire-injector", "--type=json", "--patch",
					fmt.Sprintf(`[{"op": "replace", "path": "/rules/%d/verbs", "value": [%s]}]`, i, verbs))
				return err
			}
		}
		return fmt.Errorf("there is no rule about nodes among %q", out)
	}
	t.Cleanup(func() {
		if err := verbs(context.Background(), `"get", "list", "watch"`); err != nil {
			t.Error(err)
		}
		if err := scale(context.Background(), 2); err != nil {
			t.Error(err)
		}
		injectorIsBack(t)
	})
	must(t, scale(t.Context(), 0))
	awaitGone(t, before)
	must(t, verbs(t.Context(), `"get"`))
	must(t, scale(t.Context(), 2))
	replicas(t)
	unmarked := func() {
		t.Helper()
		if out := server(t, "entry", "show", "-spiffeID", "spiffe://example.org"+id(ns, "asleep"), "-output", "json"); !strings.Contains(out, `"expires_at":"0"`) {
			t.Fatalf("expected the entry as it was, without an expiry, got %s", out)
		}
	}
	for end := time.Now().Add(25 * time.Second); time.Now().Before(end); time.Sleep(3 * time.Second) { // two of its looks, if it looked
		unmarked()
	}
	must(t, verbs(t.Context(), `"get", "list", "watch"`))
	injectorIsBack(t)
	k(t, ns, "delete", "pod", "asleep")
	eventually(t, "the mark of what is not needed any more", func() error {
		if out := server(t, "entry", "show", "-spiffeID", "spiffe://example.org"+id(ns, "asleep"), "-output", "json"); strings.Contains(out, `"expires_at":"0"`) {
			return fmt.Errorf("the entry is %s", out)
		}
		return nil
	})
}
