package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/rand"

	"github.com/spire-injector/spire-injector/test/install"
)

// The tests of this file disturb what all tests share, so none of them is parallel.

// signals sends a signal to the processes of a program, as `podtool signal` does.
type signals func(program, signal string, flags ...string) error

// onTheNode sends signals to every process of every node.
func onTheNode(t *testing.T) signals {
	t.Helper()
	var all []signals
	for _, node := range allNodes(t) {
		all = append(all, onNode(t, node.name))
	}
	return func(program, signal string, flags ...string) error {
		var errs []error
		for _, send := range all {
			if err := send(program, signal, flags...); err != nil {
				errs = append(errs, err)
			}
		}
		if len(errs) < len(all) {
			return nil // it is enough that one node has the program
		}
		return errors.Join(errs...)
	}
}

// onNode sends signals to every process of a node.
func onNode(t *testing.T, node string) signals {
	t.Helper()
	pod := signalPod(t, node)
	return func(program, signal string, flags ...string) error {
		command := []string{"--namespace", signalNamespace, "exec", pod, "--", "/podtool", "signal", program, signal}
		_, err := shared.k.Run(context.Background(), append(command, flags...)...)
		return err
	}
}

// signalNamespace is one that the webhook never sees.
const signalNamespace = "kube-system"

// signalPod is a pod that can send signals to every process of a node.
func signalPod(t *testing.T, node string) (name string) {
	t.Helper()
	const namespace = signalNamespace
	name = "e2e-signals-" + rand.String(5) // one of an earlier run may be there, of an older image
	pod := &corev1.Pod{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"}, ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace},
		Spec: corev1.PodSpec{
			NodeName: node, HostPID: true, TerminationGracePeriodSeconds: new(int64(0)),
			Containers: []corev1.Container{container("app", "/podtool", "api", "--listen", "127.0.0.1:8080")},
		},
	}
	pod.Spec.Containers[0].SecurityContext = &corev1.SecurityContext{Privileged: new(true), RunAsUser: new(int64(0)), RunAsNonRoot: new(false)}
	apply(t, pod)
	t.Cleanup(func() {
		if _, err := shared.k.Run(context.Background(), "--namespace", namespace, "delete", "pod", name, "--wait=false"); err != nil {
			t.Error(err)
		}
	})
	k(t, namespace, "wait", "--for=condition=Ready", "pod/"+name, "--timeout", patience.String())
	return name
}

// onUnavailable sets what becomes of pods while SPIRE does not answer, until the end of a test.
func onUnavailable(t *testing.T, what string) {
	t.Helper()
	const name = "spire-injector-config"
	get := func() string {
		return k(t, "spire-injector", "get", "configmap", name, "-o", "jsonpath={.data.config\\.yaml}")
	}
	set := func(ctx context.Context, file string) error {
		patch, err := json.Marshal(item{"data": item{"config.yaml": file}})
		if err != nil {
			return err
		}
		_, err = shared.k.Run(ctx, "--namespace", "spire-injector", "patch", "configmap", name, "--type=merge", "--patch", string(patch))
		return err
	}
	before := get()
	after := strings.ReplaceAll(before, "onUnavailable: deny", "onUnavailable: "+what)
	if after == before {
		t.Fatalf("expected onUnavailable: deny in %s", before)
	}
	t.Cleanup(func() {
		if err := set(context.Background(), before); err != nil {
			t.Error(err)
		}
	})
	was := configHashes(t)
	must(t, set(t.Context(), after))
	eventually(t, "another platform file in force at every replica", func() error {
		if now := configHashes(t); len(now) != 1 || maps.Equal(now, was) {
			return fmt.Errorf("before %v, now %v", was, now)
		}
		return nil
	})
}

// stopServer makes the SPIRE server hang, at the latest until the end of the test.
func stopServer(t *testing.T, signal signals) {
	t.Helper()
	must(t, signal("spire-server", "STOP"))
	t.Cleanup(func() {
		if err := signal("spire-server", "CONT"); err != nil {
			t.Error(err)
		}
	})
}

// The SPIRE server hangs: it takes connections and does not answer.
func TestDisruptiveSPIREServerStopped(t *testing.T) {
	ns := namespace(t)
	signal := onTheNode(t)
	deploy(t, ns, api(ns, id(ns, "valid")), client(ns, "valid"))
	stop := func() { stopServer(t, signal) }
	named := func(name string) workload {
		w := client(ns, "valid")
		w.name, w.annotations["spiffe.io/spiffe-id"] = name, id(ns, name)
		return w
	}

	t.Run("pods with a new identity are refused, in time and with a reason", func(t *testing.T) {
		traffic := startLoad(t, ns, "deployment/valid")
		stop()
		start := time.Now()
		message := refused(t, neverScheduled(named("denied").pod(ns)))
		took := time.Since(start)
		t.Logf("refused after %.1f s: %s", took.Seconds(), message)
		if took > 20*time.Second { // the API server waits for ten, kubectl for itself
			t.Error("that is too late to be of use")
		}
		for _, part := range []string{"SPIREUnavailable", id(ns, "denied"), "nothing was changed", "try again in"} {
			if !strings.Contains(message, part) {
				t.Errorf("expected %q in %s", part, message)
			}
		}
		apply(t, neverScheduled(client(ns, "valid").pod(ns))) // a known identity takes no call
		must(t, signal("spire-server", "CONT"))
		t.Logf("created %.1f s after the server went on", eventually(t, "a creation", func() error {
			_, err := shared.k.With(t.Context(), manifest(t, neverScheduled(named("denied").pod(ns))), "apply", "-f", "-")
			return err
		}).Seconds())
		traffic.report(t).wantNoFailure(t)
	})
	t.Run("pods wait where the platform lets them", func(t *testing.T) {
		onUnavailable(t, "admit")
		stop()
		w := named("admitted")
		_, err := shared.k.With(t.Context(), manifest(t, w.deployment(ns)), "apply", "-f", "-")
		must(t, err)
		var pod corev1.Pod
		eventually(t, "the pod", func() error {
			pods := podsOf(t, ns, "admitted")
			if len(pods) != 1 {
				return fmt.Errorf("there are %d", len(pods))
			}
			pod = pods[0]
			return nil
		})
		if status := pod.Annotations["spiffe.io/status"]; !strings.Contains(status, `"deferred":true`) {
			t.Errorf("the pod does not say that its registration is deferred: %s", status)
		}
		time.Sleep(6 * time.Second)
		if got := k(t, ns, "get", "pod", pod.Name, "-o", `jsonpath={.status.conditions[?(@.type=="Ready")].status}`); got == "True" {
			t.Error("the pod is ready without an identity")
		}
		must(t, signal("spire-server", "CONT"))
		start := time.Now()
		rollout(t, ns, "deployment/admitted")
		t.Logf("ready %.1f s after the server went on", time.Since(start).Seconds())
		if got := entries(t, id(ns, "admitted")); len(got) != 1 {
			t.Errorf("expected one entry, got %+v", got)
		}
	})
}

// What a server lost it gets again as soon as it is back, and not at the next look at everything.
func TestDisruptiveSPIREServerWithEmptiedDatabase(t *testing.T) {
	ns := namespace(t)
	deploy(t, ns, api(ns, id(ns, "valid")), client(ns, "valid"))
	apply(t, pending(ns, client(ns, "asleep")))
	awaitEntries(t, id(ns, "asleep"), 1)

	var lost []string
	for _, e := range allEntries(t) {
		if strings.HasPrefix(e.ID, idsOfOurs) {
			lost = append(lost, e.ID)
		}
	}
	must(t, onServer(t.Context(), item{"ids": lost}, "entry", "delete", "-file", "-"))
	k(t, "spire", "delete", "pod", "spire-server-0", "--grace-period=0", "--force")
	rollout(t, "spire", "statefulset/spire-server")
	start := time.Now()
	for _, name := range []string{"api", "valid", "asleep"} {
		awaitEntries(t, id(ns, name), 1)
	}
	for _, name := range []string{"api", "valid"} {
		eventually(t, "the row of "+name, func() error {
			if got := rows(t, id(ns, name)); len(got) != 1 {
				return fmt.Errorf("there are %+v", got)
			}
			return nil
		})
	}
	t.Logf("%d entries were lost; those of three identities were there %.1f s after the server was ready", len(lost), time.Since(start).Seconds())
	k(t, ns, "rollout", "restart", "deployment/api")
	rollout(t, ns, "deployment/api")
	awaitOK(t, ns, "deployment/valid")
}

// The leader is killed while it works through many entries: the next one does the rest, and nothing twice.
func TestDisruptiveLeaderKilledInABatch(t *testing.T) {
	const pods, containers = 60, 30 // which a namespace may have
	const identities = pods * containers
	ns := namespace(t)
	signal := onTheNode(t)
	before := replicas(t)
	scale := func(n int) {
		k(t, "spire-injector", "scale", "deployment/spire-injector", fmt.Sprintf("--replicas=%d", n))
	}
	t.Cleanup(func() {
		if _, err := shared.k.Run(context.Background(), "--namespace", "spire-injector", "scale", "deployment/spire-injector", "--replicas=2"); err != nil {
			t.Error(err)
		}
		injectorIsBack(t)
	})
	var objects []any
	for n := range pods {
		name := fmt.Sprintf("w%d", n)
		w := workload{name: name, annotations: identified(ns, name, map[string]string{"spiffe.io/mode": "socket"}), edit: func(spec *corev1.PodSpec) {
			spec.Containers = nil
			for c := range containers { // each has an entry of its own
				spec.Containers = append(spec.Containers, container(fmt.Sprintf("c%d", c), "/podtool", "api"))
			}
		}}
		objects = append(objects, pending(ns, w))
	}
	apply(t, objects...)
	scale(0)
	awaitGone(t, before)
	ids := func() (all []string) {
		for _, e := range allEntries(t) {
			if strings.HasPrefix(e.SPIFFEID.Path, id(ns, "w")) {
				all = append(all, e.ID)
			}
		}
		return all
	}
	ours := func() int { return len(ids()) }
	must(t, onServer(t.Context(), item{"ids": ids()}, "entry", "delete", "-file", "-"))

	scale(2)
	eventually(t, "the first of the entries", func() error {
		if n := ours(); n == 0 {
			return fmt.Errorf("there are none")
		}
		return nil
	})
	var lease coordinationv1.Lease
	must(t, shared.k.Get(t.Context(), &lease, "lease", "spire-injector", "--namespace", "spire-injector"))
	leader, _, _ := strings.Cut(*lease.Spec.HolderIdentity, "_")
	kill(t, signal, "spire-injector", leader, "spire-injector")
	atKill := ours()
	start := time.Now()
	wantKilled(t, "spire-injector", leader)
	eventually(t, "all entries", func() error {
		if n := ours(); n != identities {
			return fmt.Errorf("there are %d of %d", n, identities)
		}
		return nil
	})
	t.Logf("the leader was killed with %d of %d entries made; all were there %.1f s later", atKill, identities, time.Since(start).Seconds())
	if atKill == identities {
		t.Errorf("the leader had made all %d entries before it was killed: this tests nothing", identities)
	}
}

// The injector's own SVID expires while the SPIRE server is away, and is renewed when it is back.
func TestDisruptiveOwnSVIDExpiresWhileSPIREIsAway(t *testing.T) {
	ns := namespace(t)
	signal := onTheNode(t)
	ttl := func(ctx context.Context, seconds string) error {
		_, err := install.Server(ctx, shared.k, "entry", "update", "-entryID", "bootstrap.demo-cluster.spire-injector",
			"-parentID", "spiffe://example.org/bootstrap/demo-cluster/node", "-spiffeID", "spiffe://example.org/ns/spire-injector/sa/spire-injector",
			"-selector", "k8s:ns:spire-injector", "-selector", "k8s:sa:spire-injector", "-selector", "k8s:container-name:spire-injector",
			"-x509SVIDTTL", seconds)
		return err
	}
	t.Cleanup(func() {
		if err := ttl(context.Background(), "3600"); err != nil {
			t.Error(err)
		}
	})
	must(t, ttl(t.Context(), "10"))
	eventually(t, "a short SVID of each replica", func() error {
		if left := time.Until(ownSVIDsExpire(t)); left > 15*time.Second {
			return fmt.Errorf("one expires in %s", left)
		}
		return nil
	})
	stopServer(t, signal)
	eventually(t, "the expiry of each replica's SVID", func() error {
		if left := time.Until(ownSVIDsExpire(t)); left > -2*time.Second { // nobody takes them for valid any more
			return fmt.Errorf("one expires in %s", left)
		}
		return nil
	})
	message := refused(t, neverScheduled(api(ns, id(ns, "valid")).pod(ns)))
	if !strings.Contains(message, "expired") {
		t.Errorf("expected that the injector's own SVID has expired, got %s", message)
	}
	must(t, signal("spire-server", "CONT"))
	took := eventually(t, "a creation", func() error {
		_, err := shared.k.With(t.Context(), manifest(t, neverScheduled(api(ns, id(ns, "valid")).pod(ns))), "apply", "-f", "-")
		return err
	})
	t.Logf("created %.1f s after the server went on", took.Seconds())
}

// ownSVIDsExpire is when the last of the replicas' own SVIDs does.
func ownSVIDsExpire(t *testing.T) time.Time {
	t.Helper()
	var last float64
	for _, replica := range replicas(t) {
		expiry, err := strconv.ParseFloat(scrape(t, replica)["spire_injector_svid_expiry_timestamp_seconds"], 64)
		must(t, err)
		last = max(last, expiry)
	}
	return time.Unix(int64(last), 0)
}

// The agent of the node is away: what runs goes on until its SVIDs expire, and what is new waits for it.
func TestDisruptiveAgentAway(t *testing.T) {
	ns := namespace(t)
	server, caller := api(ns, id(ns, "valid")), client(ns, "valid")
	server.annotations["spiffe.io/x509-svid-ttl"], caller.annotations["spiffe.io/x509-svid-ttl"] = "1h", "1h"
	deploy(t, ns, server, caller)
	traffic := startLoad(t, ns, "deployment/valid")
	agent := func(ctx context.Context, selector string) error {
		_, err := shared.k.Run(ctx, "--namespace", "spire", "patch", "daemonset", "spire-agent", "--type=merge", "--patch",
			`{"spec":{"template":{"spec":{"nodeSelector":`+selector+`}}}}`)
		return err
	}
	t.Cleanup(func() {
		if err := agent(context.Background(), "null"); err != nil {
			t.Error(err)
		}
		rolloutAfter(t, "spire", "daemonset/spire-agent")
	})
	must(t, agent(t.Context(), `{"e2e.example.org/no-such-node":""}`))
	eventually(t, "the end of the agent", func() error {
		if pods := podNames(t, "spire", ""); slices.ContainsFunc(pods, func(name string) bool { return strings.HasPrefix(name, "spire-agent") }) {
			return fmt.Errorf("there are %v", pods)
		}
		return nil
	})
	late := client(ns, "late")
	apply(t, late.deployment(ns))
	time.Sleep(8 * time.Second)
	if ready := k(t, ns, "get", "deployment", "late", "-o", "jsonpath={.status.readyReplicas}"); ready != "" {
		t.Errorf("expected that a new pod waits for the agent, %s is ready", ready)
	}
	program := buildCommand(t)
	node := onlyPod(t, ns, "late").Spec.NodeName
	awaitAnswer(t, program, 1, "the agent", ns, "late", "", "fails ready no SPIRE agent is found on "+node+", or on another node; 1 of 1 pod not ready: late-",
		"remedy bring the agent back")
	wantNoAgentFound(t, program, node)
	must(t, agent(t.Context(), "null"))
	start := time.Now()
	rollout(t, ns, "deployment/late")
	t.Logf("the pod that waited was ready %.1f s after the agent was wanted again", time.Since(start).Seconds())
	traffic.report(t).wantNoFailure(t)
}

// The API server is killed, and every watch with it.
func TestDisruptiveAPIServerRestarted(t *testing.T) {
	ns := namespace(t)
	signal := onTheNode(t)
	apply(t, pending(ns, client(ns, "before")))
	awaitEntries(t, id(ns, "before"), 1)
	startTime := func() string {
		metrics, err := shared.k.Run(t.Context(), "get", "--raw", "/metrics")
		if err != nil {
			return err.Error()
		}
		_, rest, _ := strings.Cut(metrics, "\nprocess_start_time_seconds ")
		at, _, _ := strings.Cut(rest, "\n")
		return at
	}
	before := startTime()
	_ = signal("kube-apiserver", "KILL") // which also ends the connection by which it is sent
	took := eventually(t, "an answer of the API server", func() error {
		_, err := shared.k.With(t.Context(), manifest(t, pending(ns, client(ns, "after"))), "apply", "-f", "-")
		return err
	})
	if after := startTime(); after == before {
		t.Errorf("the API server was started at %s, before and after", after)
	}
	t.Logf("the API server answered again after %.1f s", took.Seconds())
	t.Logf("what came then was registered after %.1f s", awaitEntries(t, id(ns, "after"), 1).Seconds())
	apply(t, neverScheduled(api(ns, id(ns, "valid")).pod(ns)))
	stays(t, id(ns, "before"), 1, 10*time.Second)
}
