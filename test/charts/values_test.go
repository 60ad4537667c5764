package charts

import (
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/spire-injector/spire-injector/webhook/intent"
)

func replaced(t *testing.T, text, old, with string) string {
	t.Helper()
	if !strings.Contains(text, old) {
		t.Fatalf("expected %q in %q", old, text)
	}
	return strings.Replace(text, old, with, 1)
}

func TestMistakesInValuesAreRefused(t *testing.T) {
	for _, c := range []struct {
		name, chart, values string
		want                string // part of the error
	}{
		{"an unknown value", InjectorChart, "replica: 3", "additional properties 'replica' not allowed"},
		{"an unknown field of the platform file", InjectorChart, "platform: {trustDomains: a}", "at '/platform': additional properties 'trustDomains' not allowed"},
		{"text for a number", InjectorChart, "replicas: two", "at '/replicas': got string, want integer"},
		{"no replica", InjectorChart, "replicas: 0", "at '/replicas': minimum"},
		{"a trust domain with a scheme", InjectorChart, "platform: {trustDomain: spiffe://a}", "at '/platform/trustDomain'"},
		{"an address without port", InjectorChart, "platform: {spire: {server: {address: spire}}}", "at '/platform/spire/server/address'"},
		{"a duration without unit", InjectorChart, "platform: {defaults: {drain: '10'}}", "at '/platform/defaults/drain'"},
		{"two sockets", InjectorChart, "platform: {spire: {agentSocket: {csi: csi.spiffe.io}}}", "say hostPath: null beside csi"},
		{"no socket", InjectorChart, "platform: {spire: {agentSocket: {hostPath: null}}}", "neither hostPath nor csi"},
		{"OpenShift with a directory of the host", InjectorChart, "openshift: {enabled: true}", "csi: csi.spiffe.io"},
		{"a digest that is none", InjectorChart, "image: {digest: 'sha256:abc'}", "at '/image/digest'"},
		{"a digest that is none", SPIREChart, "server: {image: {digest: latest}}", "at '/server/image/digest'"},
		{"SPIRE's namespace", InjectorChart, "spireNamespace: spire-injector", "say --namespace spire-injector"},

		{"an unknown value", SPIREChart, "servers: 2", "additional properties 'servers' not allowed"},
		{"a database that SPIRE does not know", SPIREChart, "database: {type: postgresql}", "value must be one of 'sqlite3', 'postgres'"},
		{"several servers on a file", SPIREChart, "server: {replicas: 2}", "say database.type: postgres"},
		{"several servers with one socket", SPIREChart, "{server: {replicas: 2, socketOnHost: true}, database: {type: postgres}}", "say server.replicas: 1"},
		{"a size without unit", SPIREChart, "server: {storage: {size: '1'}}", "at '/server/storage/size'"},
		{"an identity that is no path", SPIREChart, "injector: {policy: {paths: [api]}}", "at '/injector/policy/paths/0'"},
		{"OpenShift without CSI", SPIREChart, "openshift: {enabled: true}", "say csi.enabled: true"},
	} {
		t.Run(c.chart+" "+c.name, func(t *testing.T) {
			t.Parallel()
			out, err := render(t.Context(), c.chart, "spire-injector", c.values)
			if err == nil {
				t.Fatalf("expected a refusal, got\n%s", out)
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("expected %q in the error, got %v", c.want, err)
			}
		})
	}
}

// An image is taken by its digest where there is one, also for what the platform file has of it.
func TestImagesByDigest(t *testing.T) {
	digest := "sha256:" + strings.Repeat("0123456789abcdef", 4)
	for _, c := range []struct{ chart, values, want string }{
		{InjectorChart, "image: {repository: r, digest: '" + digest + "'}", "image: r@" + digest},
		{InjectorChart, "image: {repository: r, tag: v1, digest: '" + digest + "'}", "image: r:v1@" + digest},
		{InjectorChart, "image: {repository: r, tag: v1}", "image: r:v1"},
		{SPIREChart, "server: {image: {repository: r, digest: '" + digest + "'}}", "image: r@" + digest},
		{SPIREChart, "agent: {image: {repository: r, tag: v1, digest: '" + digest + "'}}", "image: r:v1@" + digest},
		{SPIREChart, "csi: {enabled: true, image: 'r@" + digest + "'}", "image: r@" + digest},
	} {
		out, err := render(t.Context(), c.chart, "spire-injector", c.values)
		if err != nil {
			t.Errorf("%s, %s: %v", c.chart, c.values, err)
		} else if !strings.Contains(out, " "+c.want+"\n") {
			t.Errorf("%s, %s: expected %q in\n%s", c.chart, c.values, c.want, out)
		}
	}
	values := "image: {repository: r, digest: '" + digest + "'}\nplatform: {sidecar: {image: 'envoy@" + digest + "'}}"
	if p := platformOf(t, values); p.Sidecar.JWT.Image != "r@"+digest ||
		p.Sidecar.Capture.Image != "r@"+digest || p.Sidecar.Image != "envoy@"+digest {
		t.Errorf("the platform file has the images %s, %s and %s", p.Sidecar.Image, p.Sidecar.JWT.Image, p.Sidecar.Capture.Image)
	}
}

// What values change is a platform file that the injector takes.
func TestInjectorTakesThePlatformFile(t *testing.T) {
	for _, v := range Variants() {
		if v.Chart != InjectorChart {
			continue
		}
		t.Run(v.Name, func(t *testing.T) {
			t.Parallel()
			platform := platformOf(t, v.Values)
			if platform.Cluster.Name != "demo-cluster" {
				t.Errorf("expected cluster demo-cluster, got %s", platform.Cluster.Name)
			}
		})
	}
	platform := platformOf(t, "platform: {clusterName: other, trustDomain: other.test, sidecar: {resources: {limits: {memory: 1Gi}}}}")
	if got := platform.Cluster.NodeSelectors; len(got) != 1 || got[0].Value != "cluster:other" {
		t.Errorf("expected the nodes of cluster other, got %v", got)
	}
}

func platformOf(t *testing.T, values string) intent.Platform {
	t.Helper()
	rendered, err := render(t.Context(), InjectorChart, "spire-injector", values, "--show-only", "templates/platform.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var config struct {
		Data map[string]string `json:"data"`
	}
	if err := yaml.Unmarshal([]byte(rendered), &config); err != nil {
		t.Fatal(err)
	}
	platform, err := intent.ParsePlatform([]byte(config.Data["config.yaml"]))
	if err != nil {
		t.Fatal(err)
	}
	return platform
}
