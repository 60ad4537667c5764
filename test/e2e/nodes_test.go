package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/spire-injector/spire-injector/webhook/inject"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

// Two real nodes, each with an agent of its own. What holds for an agent holds for whoever is root on its node.
func TestDisruptiveTwoNodes(t *testing.T) {
	first, second := twoNodes(t)
	serverStaysOn(t, first) // the second one goes
	agentsKeepKeysOnDisk(t)
	ns := namespace(t)
	server := longLived(api(ns, id(ns, "valid")))
	caller := second.pinned(longLived(client(ns, "valid")))
	apply(t, server.service(ns), first.apiPod(ns, server), caller.deployment(ns))
	awaitReady(t, ns, "api-"+first.name)
	rollout(t, ns, "deployment/valid")
	awaitOK(t, ns, "deployment/valid")

	t.Run("each agent may have what runs on its node", func(t *testing.T) {
		wantOwnAlone(t, first, id(ns, "api"), id(ns, "valid"))
		wantOwnAlone(t, second, id(ns, "valid"), id(ns, "api"))
	})
	t.Run("pods start", func(t *testing.T) { startTimes(t, ns, second, first) })
	// Each begins where the one before it ends.
	_ = t.Run("an identity moves under traffic", func(t *testing.T) { identityMoves(t, ns, server, first, second) }) &&
		t.Run("rows come and go while an agent is frozen", func(t *testing.T) { agentFrozen(t, ns, server, first, second) }) &&
		t.Run("a deleted node takes its rows along", func(t *testing.T) { nodeDeleted(t, ns, first, second) })
}

// startTimes logs how long pods take to be ready on a node, and after their binding to have their SVIDs: those of new
// identities, and of some that run on another node already.
func startTimes(t *testing.T, ns string, n, other clusterNode) {
	const count = 10
	named := func(n clusterNode, name, identity string) *corev1.Pod {
		w := n.pinned(longLived(api(ns, id(ns, "valid"))))
		w.name = name
		w.annotations["spiffe.io/spiffe-id"] = id(ns, identity)
		return w.pod(ns)
	}
	measured := func(kind string) {
		agent := agentOn(t, n.name).Name
		var signed, ready []time.Duration
		for i := range count {
			name := fmt.Sprintf("%s-%d", kind, i)
			start := startOf(t, named(n, name, name))
			ready = append(ready, start.ready.Sub(start.created))
			signed = append(signed, signedAt(t, agent, id(ns, name)).Sub(start.bound))
			k(t, ns, "delete", "pod", name, "--wait=false")
		}
		slices.Sort(signed)
		slices.Sort(ready)
		t.Logf("%d pods of %s identities: from binding to the signing of the SVID %.2f s at the median, %.2f s at most; "+
			"from creation to ready %.2f s at the median, %.2f s at most",
			count, kind, signed[count/2].Seconds(), signed[count-1].Seconds(), ready[count/2].Seconds(), ready[count-1].Seconds())
	}
	measured("new")

	elsewhere := make([]any, count)
	names := []string{"wait", "--for=condition=Ready", "--timeout", patience.String()}
	for i := range count {
		identity := fmt.Sprintf("known-%d", i)
		elsewhere[i] = named(other, "other-"+identity, identity)
		names = append(names, "pod/other-"+identity)
	}
	apply(t, elsewhere...)
	k(t, ns, names...)
	measured("known")
}

// podStart is when a pod came how far, as whoever watches it sees it.
type podStart struct{ created, bound, ready time.Time }

// startOf creates a pod and watches it until it is ready.
func startOf(t *testing.T, pod *corev1.Pod) (start podStart) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	pods := clientset(t).CoreV1().Pods(pod.Namespace)
	watch, err := pods.Watch(ctx, metav1.ListOptions{FieldSelector: "metadata.name=" + pod.Name})
	must(t, err)
	defer watch.Stop()
	start.created = time.Now()
	_, err = pods.Create(ctx, pod, metav1.CreateOptions{})
	must(t, err)
	for event := range watch.ResultChan() {
		now, ok := event.Object.(*corev1.Pod)
		if !ok {
			t.Fatalf("watch %s: got %+v", pod.Name, event.Object)
		}
		if now.Spec.NodeName != "" && start.bound.IsZero() {
			start.bound = time.Now()
		}
		if slices.ContainsFunc(now.Status.Conditions, func(c corev1.PodCondition) bool {
			return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
		}) {
			start.ready = time.Now()
			return start
		}
	}
	t.Fatalf("%s is not ready after %s", pod.Name, patience)
	return start
}

// signedAt is when an agent had the server sign the first SVID of an identity.
func signedAt(t *testing.T, agent, path string) time.Time {
	t.Helper()
	log := k(t, "spire", "logs", agent, "--timestamps", "--tail=-1")
	for line := range strings.Lines(log) {
		if strings.Contains(line, "X509-SVID") && strings.Contains(line, "example.org"+path) {
			return stamp(t, line, "X509-SVID")
		}
	}
	t.Fatalf("the agent's log has no SVID of %s:\n%s", path, log)
	return time.Time{}
}

// clusterNode is a node as far as these tests need it.
type clusterNode struct {
	name     string
	uid      string
	hostname string // by which the scheduler is told to use it
}

func twoNodes(t *testing.T) (first, second clusterNode) {
	t.Helper()
	nodes := allNodes(t)
	if len(nodes) < 2 {
		t.Fatalf("expected a cluster of two nodes, got %d: run this as `CLUSTER=two NODES=2 make e2e-one TEST=%s`",
			len(nodes), t.Name())
	}
	return nodes[0], nodes[1]
}

// serverStaysOn moves SPIRE's server to a node, unless it is there.
func serverStaysOn(t *testing.T, n clusterNode) {
	t.Helper()
	var server corev1.Pod
	must(t, shared.k.Get(t.Context(), &server, "pod", "spire-server-0", "--namespace", "spire"))
	if server.Spec.NodeName == n.name {
		return
	}
	k(t, "spire", "patch", "statefulset", "spire-server", "--patch",
		fmt.Sprintf(`{"spec": {"template": {"spec": {"nodeSelector": {%q: %q}}}}}`, corev1.LabelHostname, n.hostname))
	k(t, "spire", "rollout", "status", "statefulset/spire-server", "--timeout", patience.String())
}

func allNodes(t *testing.T) (all []clusterNode) {
	t.Helper()
	var nodes corev1.NodeList
	must(t, shared.k.Get(t.Context(), &nodes, "nodes"))
	for _, node := range nodes.Items {
		all = append(all, clusterNode{node.Name, string(node.UID), node.Labels[corev1.LabelHostname]})
	}
	slices.SortFunc(all, func(a, b clusterNode) int { return strings.Compare(a.name, b.name) })
	return all
}

// longLived has SVIDs that outlive a test, so that nothing fails, or is mended, because one was renewed.
func longLived(w workload) workload {
	w.annotations = maps.Clone(w.annotations)
	delete(w.annotations, "spiffe.io/x509-svid-ttl")
	return w
}

// pinned has the scheduler bind a workload's pods to a node.
func (n clusterNode) pinned(w workload) workload {
	w.edit = func(spec *corev1.PodSpec) { spec.NodeSelector = map[string]string{corev1.LabelHostname: n.hostname} }
	return w
}

// apiPod is a pod of the app api on the node.
func (n clusterNode) apiPod(ns string, w workload) *corev1.Pod {
	pod := n.pinned(w).pod(ns)
	pod.Name = "api-" + n.name
	pod.Spec.TerminationGracePeriodSeconds = new(int64(30)) // for the draining of its connections
	return pod
}

func awaitReady(t *testing.T, ns, pod string) {
	t.Helper()
	k(t, ns, "wait", "--for=condition=Ready", "pod/"+pod, "--timeout", patience.String())
}

// wantOwnAlone asks SPIRE's server as the agent of a node that runs one of two identities, and not the other.
func wantOwnAlone(t *testing.T, n clusterNode, runs, other string) {
	t.Helper()
	agent := asAgentOf(t, n.name)
	// What pods leave behind that are gone, of tests before this one too, goes after the grace time.
	eventually(t, "what the agent of "+n.name+" may have", func() error {
		allowed, held := identitiesOn(t, n.name), agent.holds(t)
		if len(held[runs]) == 0 {
			return fmt.Errorf("it runs %s, and its agent has no entry of it: it may have %v", runs, slices.Sorted(maps.Keys(held)))
		}
		for path, ids := range held {
			if !allowed[path] && path != injectorsOwn {
				return fmt.Errorf("it does not run %s, and its agent is authorized for its entries %v", path, ids)
			}
		}
		return nil
	})
	for _, e := range entries(t, runs) {
		if x509, jwt := agent.gets(t, e.ID); x509 != codes.OK || jwt != codes.OK {
			t.Errorf("the agent of %s asked for %s, which it runs: got %s for an X.509-SVID and %s for a JWT-SVID",
				n.name, runs, x509, jwt)
		}
	}
	others := entries(t, other)
	if len(others) == 0 {
		t.Fatalf("%s has no entry: this tests nothing", other)
	}
	for _, e := range others {
		wantNothing(t, agent, e.ID)
	}
}

// wantNothing asks for an entry that the agent is not authorized for.
func wantNothing(t *testing.T, agent agentCaller, entryID string) {
	t.Helper()
	if x509, jwt := agent.gets(t, entryID); x509 != codes.NotFound || jwt != codes.NotFound {
		t.Errorf("the agent of %s asked by the entry %s for an identity of another node: "+
			"expected NotFound, got %s for an X.509-SVID and %s for a JWT-SVID", agent.node, entryID, x509, jwt)
	}
}

// injectorsOwn is the one identity that all nodes may have: the injector's pods run on any of them.
const injectorsOwn = "/ns/spire-injector/sa/spire-injector"

// identitiesOn are the paths of the identities of a node's injected pods.
func identitiesOn(t *testing.T, node string) map[string]bool {
	t.Helper()
	var pods corev1.PodList
	must(t, shared.k.Get(t.Context(), &pods, "pods", "--all-namespaces", "--field-selector", "spec.nodeName="+node))
	paths := map[string]bool{}
	for _, pod := range pods.Items {
		text, ok := pod.Annotations[intent.AnnotationStatus]
		if !ok {
			continue
		}
		var status inject.Status
		must(t, json.Unmarshal([]byte(text), &status))
		paths[strings.TrimPrefix(status.SPIFFEID, "spiffe://example.org")] = true
	}
	return paths
}

// rowsOf are the UIDs of the nodes that an identity is placed on.
func rowsOf(t *testing.T, path string) (uids []string) {
	t.Helper()
	all := allEntries(t)
	for _, e := range all {
		if e.SPIFFEID.Path != path {
			continue
		}
		for _, row := range all {
			if row.SPIFFEID != e.ParentID {
				continue
			}
			if len(row.Selectors) != 1 || row.Selectors[0].Type != "k8s_psat" {
				t.Fatalf("expected a row with the UID of a node alone, got %+v", row)
			}
			uid, ok := strings.CutPrefix(row.Selectors[0].Value, "agent_node_uid:")
			if !ok {
				t.Fatalf("expected a row with the UID of a node alone, got %+v", row)
			}
			uids = append(uids, uid)
		}
	}
	slices.Sort(uids)
	return slices.Compact(uids)
}

// awaitRows waits until an identity is placed on some nodes, and no others.
func awaitRows(t *testing.T, path string, nodes ...clusterNode) {
	t.Helper()
	var want []string
	for _, n := range nodes {
		want = append(want, n.uid)
	}
	slices.Sort(want)
	eventually(t, fmt.Sprintf("rows of %s for %+v", path, nodes), func() error {
		if got := rowsOf(t, path); !slices.Equal(got, want) {
			return fmt.Errorf("it is placed on %v", got)
		}
		return nil
	})
}

// identityMoves has the API move from the first node to the second, where its caller is.
func identityMoves(t *testing.T, ns string, server workload, first, second clusterNode) {
	path := id(ns, "api")
	e := entries(t, path)
	if len(e) != 1 {
		t.Fatalf("expected one entry, got %+v", e)
	}
	awaitRows(t, path, first)
	leaving, coming := asAgentOf(t, first.name), asAgentOf(t, second.name)
	wantNothing(t, coming, e[0].ID)
	traffic := startLoad(t, ns, "deployment/valid")

	apply(t, second.apiPod(ns, server))
	awaitReady(t, ns, "api-"+second.name)
	awaitRows(t, path, first, second)
	if x509, jwt := coming.gets(t, e[0].ID); x509 != codes.OK || jwt != codes.OK {
		t.Errorf("the agent of %s, where a pod of the identity came: got %s for an X.509-SVID and %s for a JWT-SVID",
			second.name, x509, jwt)
	}
	k(t, ns, "delete", "pod", "api-"+first.name)
	gone := time.Now()
	awaitRows(t, path, second)
	took := time.Since(gone)
	t.Logf("the row of the node that the last pod had left went %.0f s later", took.Seconds())
	if took < shortGrace {
		t.Errorf("a row went %.0f s after the last pod of its node, before the grace time of %s", took.Seconds(), shortGrace)
	}
	eventually(t, "the end of the first node's authorization", func() error {
		if x509, jwt := leaving.gets(t, e[0].ID); x509 != codes.NotFound || jwt != codes.NotFound {
			return fmt.Errorf("got %s for an X.509-SVID and %s for a JWT-SVID", x509, jwt)
		}
		return nil
	})
	traffic.report(t).wantNoFailure(t)
	if after := entries(t, path); !reflect.DeepEqual(after, e) {
		t.Errorf("the workload's entry was %+v, it is %+v", e, after)
	}
}

// agentFrozen stops the agent of the node of both, server and caller, while a row for the other node comes and goes.
func agentFrozen(t *testing.T, ns string, server workload, first, second clusterNode) {
	path := id(ns, "api")
	signal := onNode(t, second.name)
	container, _ := incarnation(t, "spire", agentOn(t, second.name).Name)
	_, number, _ := strings.Cut(container, "://")
	traffic := startLoad(t, ns, "deployment/valid")
	must(t, signal("spire-agent", "STOP", "--cgroup", number))
	thaw := func() error { return signal("spire-agent", "CONT", "--cgroup", number) }
	t.Cleanup(func() { _ = thaw() })

	apply(t, first.apiPod(ns, server))
	awaitReady(t, ns, "api-"+first.name)
	awaitRows(t, path, first, second)
	k(t, ns, "delete", "pod", "api-"+first.name)
	awaitRows(t, path, second)
	must(t, thaw())
	agent := asAgentOf(t, second.name)
	if len(agent.holds(t)[path]) == 0 {
		t.Errorf("the agent of %s is not authorized for %s any more", second.name, path)
	}
	time.Sleep(3 * time.Second) // for what it missed
	traffic.report(t).wantNoFailure(t)
	if now, ready := incarnation(t, "spire", agentOn(t, second.name).Name); now != container || !ready {
		t.Errorf("the agent was %s, it is %s, ready: %t: it was not frozen but replaced", container, now, ready)
	}
}

// nodeDeleted removes the second node from the cluster. Its kubelet registers it again when it is started again, with
// another UID; its agent is then of a node that is not there any more, and has to be replaced.
func nodeDeleted(t *testing.T, ns string, first, second clusterNode) {
	valid := id(ns, "valid")
	awaitRows(t, valid, second)
	restartKubelet(t, second.name)
	k(t, "", "delete", "node", second.name)
	took := eventually(t, "the end of the node's rows", func() error {
		if got := rowsOf(t, valid); slices.Contains(got, second.uid) {
			return errors.New("they are still there")
		}
		return nil
	})
	t.Logf("the rows of a node were gone %.1f s after it was deleted", took.Seconds())
	for _, e := range allEntries(t) {
		for _, s := range e.Selectors {
			if strings.Contains(s.Value, second.uid) {
				t.Errorf("an entry of the deleted node is left: %+v", e)
			}
		}
	}
	var back clusterNode
	eventually(t, "the node again", func() error {
		for _, n := range allNodes(t) {
			if n.name == second.name && n.uid != second.uid {
				back = n
				return nil
			}
		}
		return errors.New("its kubelet has not registered it")
	})
	k(t, "", "wait", "--for=condition=Ready", "node/"+back.name, "--timeout", patience.String())
	k(t, "spire", "delete", "pod", agentOn(t, back.name).Name)
	k(t, "spire", "rollout", "status", "daemonset/spire-agent", "--timeout", patience.String())
	k(t, ns, "rollout", "restart", "deployment/valid")
	rollout(t, ns, "deployment/valid")
	awaitRows(t, valid, back)
	server := first.apiPod(ns, longLived(api(ns, valid))) // all others may have been on the node
	server.Name = "api-again"
	apply(t, server)
	awaitReady(t, ns, server.Name)
	awaitOK(t, ns, "deployment/valid")
}

// restartKubelet ends the kubelet of a node some seconds later, when the API server cannot reach it any more. Whatever
// had started it starts it again.
func restartKubelet(t *testing.T, node string) {
	t.Helper()
	pod := signalPod(t, node)
	cmd := shared.k.Command(context.Background(), "--namespace", signalNamespace, "exec", pod, "--",
		"/podtool", "signal", "kubelet", "KILL", "--after", "10s")
	stdout, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Wait() })
	if begun, err := bufio.NewReader(stdout).ReadString('\n'); begun != "in 10s\n" {
		t.Fatalf("podtool signal --after: got %q, %v", begun, err)
	}
}
