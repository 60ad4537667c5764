package golden

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/spire-injector/spire-injector/test/cluster/parts"
	"github.com/spire-injector/spire-injector/test/netns"
	"github.com/spire-injector/spire-injector/webhook/inject"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

// Addresses of the networks: a node, a pod on it, and who calls the pod by way of the node.
const (
	nodeIP, podIP, callerIP = "10.77.1.1", "10.77.1.2", "10.77.2.2"
	gatewayIP               = "10.77.2.1" // the node's for the caller
)

// routed are the three networks.
type routed struct{ node, pod, caller *netns.Network }

func newRouted(t *testing.T) routed {
	t.Helper()
	network := func() *netns.Network {
		n, err := netns.New(t.Context())
		must(t, err)
		t.Cleanup(func() { _ = n.Close() })
		return n
	}
	r := routed{network(), network(), network()}
	for name, end := range map[string]struct {
		network          *netns.Network
		address, gateway string
	}{"pod": {r.pod, podIP, nodeIP}, "caller": {r.caller, callerIP, gatewayIP}} {
		must(t, r.node.IP(t.Context(), "link add "+name+" type veth peer name eth0 netns "+end.network.Path()))
		must(t, r.node.IP(t.Context(), "address add "+end.gateway+"/24 dev "+name))
		must(t, r.node.IP(t.Context(), "link set "+name+" up"))
		must(t, end.network.IP(t.Context(), "address add "+end.address+"/24 dev eth0"))
		must(t, end.network.IP(t.Context(), "link set eth0 up"))
		must(t, end.network.IP(t.Context(), "route add default via "+end.gateway))
	}
	must(t, r.node.Do(func() error { return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o600) }))
	return r
}

// enforce runs what enforces NetworkPolicies on the node, until the test ends.
func (s *apiServer) enforce(t *testing.T, r routed, node string) {
	t.Helper()
	cache, err := parts.UserCache()
	must(t, err)
	engine, err := parts.EnsurePolicyEngine(t.Context(), cache, os.Stderr)
	must(t, err)
	log, err := os.Create(filepath.Join(t.TempDir(), "engine.log"))
	must(t, err)
	program := exec.Command(engine.Program, "--kubeconfig", kubeconfig(t, s.config, relay(t, r.node, s.config)), "--node", node, "--services", "10.96.0.0/16")
	program.Env = append(os.Environ(), engine.Env...)
	program.Stdout, program.Stderr = log, log
	must(t, r.node.Do(program.Start))
	t.Cleanup(func() {
		must(t, program.Process.Signal(syscall.SIGTERM))
		err := program.Wait()
		_ = log.Close()
		if text, _ := os.ReadFile(log.Name()); err != nil || t.Failed() {
			t.Errorf("the engine: %v\n%.4000s", err, text)
		}
	})
}

// relay lets the node reach the API server, at the port that it returns.
func relay(t *testing.T, node *netns.Network, config *rest.Config) (address string) {
	t.Helper()
	server, err := url.Parse(config.Host)
	must(t, err)
	if server.Host == "" {
		server = &url.URL{Host: config.Host}
	}
	listener, err := node.Listen(t.Context(), "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			caller, err := listener.Accept()
			if err != nil {
				return
			}
			callee, err := net.Dial("tcp", server.Host)
			if err != nil {
				_ = caller.Close()
				continue
			}
			for _, ends := range [][2]net.Conn{{caller, callee}, {callee, caller}} {
				go func() {
					_, _ = io.Copy(ends[0], ends[1])
					_ = ends[0].Close()
				}()
			}
		}
	}()
	return listener.Addr().String()
}

// kubeconfig is a file by which a program calls the API server at an address.
func kubeconfig(t *testing.T, config *rest.Config, address string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "kubeconfig")
	must(t, clientcmd.WriteToFile(clientcmdapi.Config{
		Clusters: map[string]*clientcmdapi.Cluster{"x": {Server: "https://" + address, CertificateAuthorityData: config.CAData}},
		AuthInfos: map[string]*clientcmdapi.AuthInfo{"x": {
			ClientCertificateData: config.CertData, ClientKeyData: config.KeyData, Token: config.BearerToken,
		}},
		Contexts:       map[string]*clientcmdapi.Context{"x": {Cluster: "x", AuthInfo: "x"}},
		CurrentContext: "x",
	}, file))
	return file
}

// reaches says whether a port of the pod takes a connection from a network.
func (r routed) reaches(t *testing.T, from *netns.Network, port int) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	connection, err := from.Dial(ctx, "tcp", fmt.Sprintf("%s:%d", podIP, port))
	if err == nil {
		_ = connection.Close()
	}
	return err == nil
}

// What the injector keeps closes an app's port to callers and leaves Envoy's open, as an engine enforces it that people
// run; the pod's node reaches all.
func testPolicyEngine(t *testing.T, s *apiServer) {
	const ns, node = "enforced", "node-of-policies"
	platform, err := intent.ParsePlatform(defaultPlatform)
	must(t, err)
	s.use(inject.Injector{Platform: platform, Version: "test"})
	s.prepare(t, intent.Namespace{Name: ns}, "enforced")
	admin, err := client.New(s.config, client.Options{Scheme: clientgoscheme.Scheme})
	must(t, err)
	must(t, admin.Create(t.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: node}}))
	addresses := `{"status": {"addresses": [{"type": "InternalIP", "address": "` + nodeIP + `"}, {"type": "Hostname", "address": "` + node + `"}]}}`
	must(t, admin.Status().Patch(t.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: node}}, client.RawPatch(types.MergePatchType, []byte(addresses))))
	created, err := s.create(t, []byte(`{apiVersion: v1, kind: Pod, metadata: {name: api, namespace: `+ns+`, labels: {spiffe.io/inject: enabled},
		annotations: {spiffe.io/app-port: "8080", spiffe.io/allowed-peers: /ns/enforced/web}}, spec: {nodeName: `+node+`, containers: [{name: app, image: app}]}}`))
	must(t, err)
	pod := decodedPod(created)
	defer s.remove(t, created)
	runs := `{"status": {"phase": "Running", "hostIP": "` + nodeIP + `", "podIP": "` + podIP + `", "podIPs": [{"ip": "` + podIP + `"}]}}`
	must(t, admin.Status().Patch(t.Context(), pod, client.RawPatch(types.MergePatchType, []byte(runs))))

	r := newRouted(t)
	const app, envoy, readiness = 8080, 8443, 15021
	for _, port := range []int{app, envoy, readiness} {
		listener, err := r.pod.Listen(t.Context(), fmt.Sprintf(":%d", port))
		must(t, err)
		t.Cleanup(func() { _ = listener.Close() })
	}
	await := func(what string, want map[int]bool) {
		t.Helper()
		s.eventually(t, what, func() error {
			for port, open := range want {
				if got := r.reaches(t, r.caller, port); got != open {
					return fmt.Errorf("port %d: open is %t", port, got)
				}
			}
			return nil
		})
	}
	all, closed := map[int]bool{app: true, envoy: true, readiness: true}, map[int]bool{app: false, envoy: true, readiness: true}
	await("before any policy", all)
	asking := platform
	asking.NetworkPolicies = true
	i := s.isolate(t, asking)
	s.enforce(t, r, node)
	await("the policy", closed)
	for port := range all {
		if !r.reaches(t, r.node, port) {
			t.Errorf("port %d is closed to the pod's node, whose kubelet probes it", port)
		}
	}
	plain := `{"metadata": {"annotations": {"spiffe.io/plain-ports": "8080"}}}`
	must(t, admin.Patch(t.Context(), pod, client.RawPatch(types.MergePatchType, []byte(plain))))
	await("a plain port", all)
	plain = `{"metadata": {"annotations": {"spiffe.io/plain-ports": null}}}`
	must(t, admin.Patch(t.Context(), pod, client.RawPatch(types.MergePatchType, []byte(plain))))
	await("no plain port", closed)
	i.platform.Store(&platform)
	i.PlatformChanged()
	await("nothing is asked for any more", all)
}
