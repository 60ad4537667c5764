package local

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/spire-injector/spire-injector/test/cluster/parts"
	"github.com/spire-injector/spire-injector/test/images"
)

func TestNames(t *testing.T) {
	a, err := namesOf("default")
	if err != nil {
		t.Fatal(err)
	}
	b, err := namesOf("other")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, name := range []string{a.cgroup, a.outside, a.inside, b.cgroup, b.outside, b.inside} {
		if seen[name] {
			t.Errorf("%s is there twice", name)
		}
		seen[name] = true
	}
	if len(a.outside) > 15 {
		t.Errorf("interface name %q has more than the kernel's 15 characters", a.outside)
	}
	for _, bad := range []string{"", "../x", "a/b", "UPPER", "-a", "a-", strings.Repeat("a", 33)} {
		if _, err := namesOf(bad); err == nil || !strings.Contains(err.Error(), "expected 1 to 32") {
			t.Errorf("namesOf(%q): got error %v", bad, err)
		}
	}
}

func TestLinkOf(t *testing.T) {
	first, err := linkOf("default", nil)
	if err != nil {
		t.Fatal(err)
	}
	again, err := linkOf("default", nil)
	if err != nil || again != first {
		t.Errorf("got %v, then %v, %v", first, again, err)
	}
	taken := netip.PrefixFrom(first.outside, 32)
	next, err := linkOf("default", []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), taken})
	if err != nil {
		t.Fatal(err)
	}
	if next == first || !links.Contains(next.outside) || next.inside != next.outside.Next() {
		t.Errorf("with %s in use: got %v", taken, next)
	}
	if _, err := linkOf("default", []netip.Prefix{links}); err == nil || !strings.Contains(err.Error(), "no free network") {
		t.Errorf("with all in use: got error %v", err)
	}
}

func TestNodesShareThePodsNetworks(t *testing.T) {
	for _, tt := range []struct {
		network network
		parts   []string
	}{
		{ipv4, []string{"10.88.0.0/18", "10.88.64.0/18", "10.88.128.0/18", "10.88.192.0/18"}},
		{ipv6, []string{"fd00:88::/64", "fd00:88:0:1::/64", "fd00:88:0:2::/64", "fd00:88:0:3::/64"}},
	} {
		w := tt.network
		for i, n := range nodesOf(maxNodes) {
			pods, own, first := w.podsOf(n), w.addressOf(n), w.firstPodOf(n)
			if pods.String() != tt.parts[i] || !pods.Contains(own) || !pods.Contains(first) || !own.Less(first) {
				t.Errorf("%s: got pods in %s from %s, address %s; want pods in %s", n.name(), pods, first, own, tt.parts[i])
			}
			if !w.pods.Contains(own) {
				t.Errorf("%s: %s is not in the pods' network %s", n.name(), own, w.pods)
			}
		}
	}
}

func TestShaped(t *testing.T) {
	c := cluster{layout: layout{dir: t.TempDir()}}
	for _, tt := range []struct {
		record string
		wanted Options
		want   Shape
		err    string
	}{
		{want: Shape{Nodes: 1}},
		{wanted: Options{Shape: Shape{Nodes: 2}}, want: Shape{Nodes: 2}},
		{wanted: Options{Shape: Shape{DualStack: true}}, want: Shape{Nodes: 1, DualStack: true}},
		{record: `{"nodes": 2}`, want: Shape{Nodes: 2}},
		{record: `{"nodes": 2, "dualStack": true}`, want: Shape{Nodes: 2, DualStack: true}},
		{record: `{"nodes": 2}`, wanted: Options{Shape: Shape{Nodes: 1}}, want: Shape{Nodes: 1}},
		{record: `{"nodes": 2}`, wanted: Options{Shape: Shape{DualStack: true}}, want: Shape{Nodes: 2, DualStack: true}},
		{record: `{"nodes": 2`, want: Shape{Nodes: 1}}, // and down works with it
		{record: `{"nodes": 17}`, want: Shape{Nodes: 1}},
		{wanted: Options{Shape: Shape{Nodes: 5}}, err: "5 nodes: expected 1 to 4"},
		{wanted: Options{Shape: Shape{Nodes: -1}}, err: "-1 nodes: expected 1 to 4"},
	} {
		if err := os.WriteFile(c.shapeRecord(), []byte(tt.record), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := c.shaped(tt.wanted)
		if (err == nil) != (tt.err == "") || (err != nil && err.Error() != tt.err) || got.Shape != tt.want {
			t.Errorf("record %q, wanted %+v: got %+v, error %v; want %+v, %q", tt.record, tt.wanted, got.Shape, err, tt.want, tt.err)
		}
	}
}

func TestEncodeTOML(t *testing.T) {
	got, err := encodeTOML(table{"version": 2, "a": table{"x.y": table{"on": true, "path": `C:\"q"`}}})
	if err != nil {
		t.Fatal(err)
	}
	want := "\"version\" = 2\n\n[\"a\"]\n\n[\"a\".\"x.y\"]\n\"on\" = true\n\"path\" = \"C:\\\\\\\"q\\\"\"\n"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if _, err := encodeTOML(table{"a": table{"b": 1.5}}); err == nil || !strings.Contains(err.Error(), "float64") {
		t.Errorf("a float: got error %v", err)
	}
}

func TestParseStat(t *testing.T) {
	start, state, err := parseStat("42 (a) R (b) S 1 42 42 0 -1 4194560 100 0 0 0 1 2 0 0 20 0 9 0 987654 1000 10 0\n")
	if err != nil || start != 987654 || state != "S" {
		t.Errorf("got %d, %q, %v; want 987654, \"S\"", start, state, err)
	}
	if _, _, err := parseStat("42 (a) S 1"); err == nil || !strings.Contains(err.Error(), "unexpected content") {
		t.Errorf("a short file: got error %v", err)
	}
}

func TestARecordedProcessIsNotItsSuccessor(t *testing.T) {
	own, err := identify(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if !own.runs() {
		t.Error("this process does not run")
	}
	earlier := process{PID: own.PID, Start: own.Start - 1}
	if earlier.runs() {
		t.Error("an earlier process with this process's id seems to run")
	}
	if err := earlier.kill(); err != nil {
		t.Error(err) // and this test would have ended
	}
}

func TestCgroupMounts(t *testing.T) {
	const mountinfo = `25 1 0:22 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
26 25 0:23 / /sys/fs/cgroup/cpu rw shared:1 - cgroup cgroup rw,cpu
27 25 0:24 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
28 1 0:25 / /other/cgroup rw - cgroup cgroup rw,cpu
29 1 0:26 / /home rw - ext4 /dev/vda rw
`
	want := []string{"/sys/fs/cgroup/cpu", "/sys/fs/cgroup/unified"}
	if diff := cmp.Diff(want, cgroupMounts(mountinfo)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestCredentials(t *testing.T) {
	l := layout{dir: t.TempDir()}
	now := time.Now()
	if err := writeCredentials(l, "default", Shape{Nodes: 2}, netip.MustParseAddr("198.18.0.2"), now); err != nil {
		t.Fatal(err)
	}
	ca := x509.NewCertPool()
	pemCA, err := os.ReadFile(l.pki("ca.crt"))
	if err != nil || !ca.AppendCertsFromPEM(pemCA) {
		t.Fatalf("read the CA: %v", err)
	}
	server, err := tls.LoadX509KeyPair(l.pki("apiserver.crt"), l.pki("apiserver.key"))
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{"127.0.0.1", "198.18.0.2", "10.96.0.1", "kubernetes.default.svc"} {
		if _, err := server.Leaf.Verify(x509.VerifyOptions{Roots: ca, DNSName: host}); err != nil {
			t.Errorf("the API server's certificate for %s: %v", host, err)
		}
	}
	for node, address := range map[string]string{"node1": "10.88.0.1", "node2": "10.88.64.1"} {
		kubelet, err := tls.LoadX509KeyPair(l.pki("kubelet-server-"+node+".crt"), l.pki("kubelet-server-"+node+".key"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := kubelet.Leaf.Verify(x509.VerifyOptions{Roots: ca, DNSName: address}); err != nil {
			t.Errorf("the certificate of the kubelet of %s: %v", node, err)
		}
	}
	data, err := os.ReadFile(l.kubeconfig())
	if err != nil {
		t.Fatal(err)
	}
	var config kubeconfig
	if err := json.Unmarshal(data, &config); err != nil {
		t.Fatal(err)
	}
	if got := config.Clusters[0].Cluster.Server; got != "https://198.18.0.2:6443" {
		t.Errorf("server of the administrator's kubeconfig: %s", got)
	}
	block, _ := pem.Decode(config.Users[0].User.Cert)
	admin, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := admin.Verify(x509.VerifyOptions{Roots: ca, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
		t.Errorf("the administrator's certificate: %v", err)
	}
	if diff := cmp.Diff([]string{"system:masters"}, admin.Subject.Organization); diff != "" {
		t.Errorf("the administrator's groups (-want +got):\n%s", diff)
	}
	if _, err := admin.Verify(x509.VerifyOptions{Roots: ca, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}); err == nil {
		t.Error("the administrator's certificate can serve")
	}
	for _, file := range []string{l.pki("ca.key"), l.kubeconfig()} {
		info, err := os.Stat(file)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: mode %v, %v; want 0600", file, info.Mode(), err)
		}
	}
}

func TestDaemonsKeepToTheClustersOwnFolders(t *testing.T) {
	n, err := namesOf("default")
	if err != nil {
		t.Fatal(err)
	}
	p := parts.Programs{Kubernetes: "/cache/parts/k", Etcd: "/cache/parts/etcd", CNI: "/cache/parts/cni", System: parts.System{Bin: "/cache/parts/s/bin"}}
	cache := parts.Cache{Dir: "/cache"}
	c := cluster{names: n, layout: layoutOf(cache, "default"), cache: cache, programs: p, Shape: Shape{Nodes: 2},
		cgroups: cgroups{roots: []string{"/sys/fs/cgroup/spire-injector-default"}}}
	spec := c.specFor(link{outside: netip.MustParseAddr("198.18.0.1"), inside: netip.MustParseAddr("198.18.0.2")})
	if diff := cmp.Diff([]string{"/cache"}, spec.Keep); diff != "" {
		t.Errorf("the cache must stay visible (-want +got):\n%s", diff)
	}
	second := spec.Nodes[0].Spec
	if diff := cmp.Diff([]string{"/cache", "/tmp/hostpath_pv"}, second.Keep); diff != "" {
		t.Errorf("the cache and the volumes must be the same on the second node (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"/sys/fs/cgroup/spire-injector-default/node2/daemons"}, second.Cgroups); diff != "" {
		t.Errorf("cgroups of the second node's daemons (-want +got):\n%s", diff)
	}
	names := map[string]bool{}
	for _, d := range slices.Concat(spec.Daemons, second.Daemons) {
		if !strings.HasPrefix(d.Path, "/cache/") || !strings.HasPrefix(d.Log, c.dir+"/") || names[d.Name] {
			t.Errorf("%s: program %s, log %s, there already: %t", d.Name, d.Path, d.Log, names[d.Name])
		}
		names[d.Name] = true
	}
	if len(spec.Nodes) != 1 || len(names) != 7+3 {
		t.Errorf("expected a second node and the seven daemons of a cluster and three for it, got %d nodes and %v", 1+len(spec.Nodes), names)
	}
	containerd := containerdConfig(c.layout, controlPlane, p)
	if root := containerd["root"].(string); !strings.HasPrefix(root, "/var/lib/") {
		t.Errorf("containerd's root %s is not on the cluster's own file system", root)
	}
	for node, want := range map[node]string{1: "/spire-injector-default", 2: "/spire-injector-default/node2"} {
		if got := kubeletConfig(c.layout, n, node)["cgroupRoot"]; got != want {
			t.Errorf("the cgroup of the kubelet of node %d: %v, want %s", node, got, want)
		}
	}
}

func TestAddonsUseTheClustersAddressAndImage(t *testing.T) {
	found := map[string]bool{}
	for _, document := range strings.Split(string(addons), "\n---\n") {
		var object struct {
			Kind string
			Spec struct {
				ClusterIP string
				Template  struct {
					Spec struct{ Containers []struct{ Image string } }
				}
			}
		}
		if err := yaml.Unmarshal([]byte(document), &object); err != nil {
			t.Fatal(err)
		}
		switch object.Kind {
		case "Service":
			found["address"] = object.Spec.ClusterIP == clusterDNS
		case "Deployment":
			found["image"] = object.Spec.Template.Spec.Containers[0].Image == images.CoreDNS
		}
	}
	if !found["address"] || !found["image"] {
		t.Errorf("addons.yaml: the name server has the address %s: %t, and the image %s: %t", clusterDNS, found["address"], images.CoreDNS, found["image"])
	}
}

func TestNameOf(t *testing.T) {
	cache := parts.Cache{Dir: t.TempDir()}
	if name, ok := NameOf(cache, layoutOf(cache, "mine").kubeconfig()); !ok || name != "mine" {
		t.Errorf("got %q, %t; want \"mine\", true", name, ok)
	}
	for _, foreign := range []string{"/root/.kube/config", filepath.Join(cache.Dir, "kubeconfig"), filepath.Join(cache.Dir, "clusters", "a", "b", "kubeconfig")} {
		if name, ok := NameOf(cache, foreign); ok {
			t.Errorf("%s belongs to %q", foreign, name)
		}
	}
}
