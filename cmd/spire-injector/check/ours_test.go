package check

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

// Of SPIRE servers that are nested, in one cluster and of one trust domain, each injector's check looks at its own
// server and agents.
func TestNested(t *testing.T) {
	t.Parallel()
	root := NewReport(Judge(nested(t).gather(t)))
	if root.Warnings+root.Errors > 0 || !has(root.Findings, "other-spires", OK, "StatefulSet nested-a/spire-server, DaemonSet nested-a/spire-agent") {
		t.Errorf("the first: expected nothing but ok, and the others named: %+v", root.Findings)
	}
	below := NewReport(Judge(nested(t).gatherAs(t, Names{Namespace: "nested-a", SPIRE: "nested-a"})))
	golden(t, "nested", below)
	for _, f := range below.Findings {
		if f.Status != OK && f.Check != "replicas" && f.Check != "dns" { // the demo has one, and a short drain
			t.Errorf("the one below: expected ok, got %+v", f)
		}
	}
}

// What is wrong with the injector's own SPIRE is said, also beside others.
func TestNestedWithMistakes(t *testing.T) {
	t.Parallel()
	c := nested(t)
	agentConf := strings.Replace(file(t, "spire/base/agent.conf"), `"demo-cluster"`, `"other"`, 1)
	c.set(t, configMap("spire", "spire-agent", "agent.conf", agentConf))
	if err := c.Tracker().Delete(corev1.SchemeGroupVersion.WithResource("pods"), "spire", "spire-agent-1"); err != nil {
		t.Fatal(err)
	}
	findings := Judge(c.gather(t))
	if !has(findings, "spire-agent-settings", Error, "attest for the cluster other") {
		t.Errorf("expected the own agents' mistake: %+v", findings)
	}
	if !has(findings, "spire-agents", Error, "Node node-1: no SPIRE agent") {
		t.Errorf("expected another SPIRE's agent not to count: %+v", findings)
	}
}

func TestNearness(t *testing.T) {
	t.Parallel()
	agent := func(f *Facts, old, text string) {
		f.Agents[0].Config.Text = strings.Replace(f.Agents[0].Config.Text, old, text, 1)
	}
	elsewhere := func(f *Facts) { // so that its socket is not the one that is injected
		agent(f, `"/run/spire/sockets/agent.sock"`, `"/run/spire/data/agent.sock"`)
	}
	platform := func(f *Facts, address string) {
		f.Platform.Text = strings.Replace(f.Platform.Text, "spire-server.spire:8081", address, 1)
	}
	for name, tt := range map[string]struct {
		change        func(*Facts)
		server, agent nearness
	}{
		"as they are":                      {func(*Facts) {}, own, own},
		"a longer name":                    {func(f *Facts) { elsewhere(f); platform(f, "spire-server.spire.svc.cluster.local:8081") }, own, own},
		"a name of the same namespace":     {func(f *Facts) { elsewhere(f); agent(f, `"spire-server.spire"`, `"spire-server"`) }, own, own},
		"a name from another namespace":    {func(f *Facts) { platform(f, "spire-server:8081") }, otherServer, own},
		"another Service, the same socket": {func(f *Facts) { agent(f, `"spire-server.spire"`, `"balancer.spire"`) }, own, own},
		"another Service and socket":       {func(f *Facts) { elsewhere(f); agent(f, `"spire-server.spire"`, `"balancer.spire"`) }, own, otherServer},
		"an address from the environment":  {func(f *Facts) { elsewhere(f); agent(f, `"spire-server.spire"`, `"${SERVER}"`) }, own, unknown},
		"a server elsewhere":               {func(f *Facts) { elsewhere(f); platform(f, "spire.example.org:443") }, unknown, otherServer},
		"a server elsewhere for both": {func(f *Facts) {
			elsewhere(f)
			platform(f, "spire.example.org:443")
			agent(f, `"spire-server.spire"`, `"SPIRE.example.org"`)
		}, unknown, own},
		"a server's socket":                     {func(f *Facts) { platform(f, "unix:///run/spire/private/api.sock") }, unknown, own},
		"a server's socket and another agent's": {func(f *Facts) { elsewhere(f); platform(f, "unix:///run/spire/private/api.sock") }, unknown, unknown},
		"a Service of other pods": {func(f *Facts) {
			f.Service.Spec.Selector = map[string]string{"app": "other"}
		}, otherServer, own},
		"a Service without selector": {func(f *Facts) { f.Service.Spec.Selector = nil }, unknown, own},
		"a Service that is not read": {func(f *Facts) { f.Service = nil }, own, own},
		"a file that cannot be read": {func(f *Facts) { f.Agents[0].Config.Text = "" }, own, unknown},
		"agents of another domain":   {func(f *Facts) { agent(f, `"example.org"`, `"other.org"`) }, own, otherDomain},
		"a server of another domain": {func(f *Facts) { f.Servers[0].Config.Text = `server { trust_domain = "other.org" }` }, otherDomain, own},
		"the injector's driver (CSI)": {func(f *Facts) {
			f.Platform.Text = strings.Replace(f.Platform.Text, "hostPath: /run/spire/sockets", "csi: csi.spiffe.io", 1)
		}, own, own},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := healthy(t).gather(t)
			tt.change(&f)
			p, ok := f.platform()
			if !ok {
				t.Fatal("expected a platform file")
			}
			if got := f.serverIs(f.Servers[0], p); got != tt.server {
				t.Errorf("server: expected %d, got %d", tt.server, got)
			}
			if got := f.agentIs(f.Agents[0], p); got != tt.agent {
				t.Errorf("agents: expected %d, got %d", tt.agent, got)
			}
		})
	}
}

func TestNearest(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ all, kept []nearness }{
		{nil, nil},
		{[]nearness{own, unknown, otherServer, otherDomain}, []nearness{own, unknown}},
		{[]nearness{unknown, otherServer, otherDomain}, []nearness{unknown, otherServer}},
		{[]nearness{otherServer, otherDomain}, []nearness{otherServer}},
		{[]nearness{otherDomain, otherDomain}, []nearness{otherDomain, otherDomain}},
	} {
		all := make([]Workload, len(tt.all))
		for i, n := range tt.all {
			all[i].Wanted = int32(n)
		}
		kept, others := nearest(all, func(w Workload) nearness { return nearness(w.Wanted) })
		var got []nearness
		for _, w := range kept {
			got = append(got, nearness(w.Wanted))
		}
		if len(got) != len(tt.kept) || len(kept)+len(others) != len(all) {
			t.Fatalf("%v: expected %v, got %v", tt.all, tt.kept, got)
		}
		for i := range got {
			if got[i] != tt.kept[i] {
				t.Errorf("%v: expected %v, got %v", tt.all, tt.kept, got)
			}
		}
	}
}

// A spire-controller-manager in the pod of another SPIRE's server does nothing to the injector's.
func TestControllerManagerOfOthers(t *testing.T) {
	t.Parallel()
	c := nested(t)
	const settings = "kind: ControllerManagerConfig\nclusterName: nested-a\ntrustDomain: example.org\n" // and no prefix
	c.add(t, serverOfCharts(),
		configMap("spire-mgmt", "spire-server", "server.conf", file(t, "demo/nested/nested-a/server.conf")),
		configMap("spire-mgmt", "spire-controller-manager", "controller-manager-config.yaml", settings))
	findings := Judge(c.gather(t))
	if !has(findings, "other-spires", OK, "StatefulSet spire-mgmt/spire-server") || !has(findings, "spire-controller-manager", OK, "") {
		t.Errorf("got %+v", findings)
	}
}

// nested is a cluster with a server nested in the first, as the demo has it, and its agents and injector.
func nested(t *testing.T) *cluster {
	t.Helper()
	const folder, replica = "demo/nested/nested-a", "below"
	c := healthy(t)
	built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), filepath.Join(manifests, folder))
	if err != nil {
		t.Fatal(err)
	}
	agent := pod("nested-a", "spire-agent-2", nil, corev1.Container{Name: "spire-agent", Image: "spiffe/spire-agent:1.15.3"})
	agent.OwnerReferences = []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "DaemonSet", Name: "spire-agent", UID: "2", Controller: new(true)}}
	objects := []runtime.Object{
		agent,
		pod("nested-a", replica, map[string]string{"app.kubernetes.io/name": "spire-injector"}),
		&coordinationv1.Lease{
			ObjectMeta: metav1.ObjectMeta{Namespace: "nested-a", Name: "spire-injector"},
			Spec:       coordinationv1.LeaseSpec{HolderIdentity: new(replica + "_c1")},
		},
	}
	for _, ns := range []struct{ name, release string }{{"nested-a", ""}, {"workload-a", "nested-a"}} {
		namespace := &corev1.Namespace{
			ObjectMeta: metav1.ObjectMeta{Name: ns.name, Labels: map[string]string{corev1.LabelMetadataName: ns.name}},
			Status:     corev1.NamespaceStatus{Phase: corev1.NamespaceActive},
		}
		if ns.release != "" {
			namespace.Labels["injector.spiffe.io/release"] = ns.release
		}
		objects = append(objects, namespace)
	}
	for _, r := range built.Resources() {
		text, err := r.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		object, _, err := scheme.Codecs.UniversalDeserializer().Decode(text, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, is := object.(*corev1.Namespace); !is {
			objects = append(objects, object)
		}
	}
	run(t, objects)
	c.add(t, objects...)
	c.pages[replica+":8080/metrics"] = strings.Replace(followerMetrics()+leaderMetrics(),
		fmt.Sprintf("config_hash %d", len(file(t, "injector/base/config.yaml"))), fmt.Sprintf("config_hash %d", len(file(t, folder+"/config.yaml"))), 1)
	return c
}
