package charts

import (
	"regexp"
	"strings"
	"testing"
)

// ordinary are the names of the kustomizations in places where an installation has its own. A role's lists of objects'
// names, which stay, are indented less than those of namespaces.
var ordinary = regexp.MustCompile(`(?m)example\.org|demo-cluster|namespace: "?spire(-injector)?"?$|\bspire-server\.spire\b|\.spire-injector\.svc|` +
	`/ns/spire(-injector)?/|"ns:spire|serviceaccount:spire:|"spire:|/run/spire/sockets|^ {4,}- (spire|spire-injector)$|inject-ca-from: spire-injector/`)

func TestNamesFollowTheValues(t *testing.T) {
	for _, c := range []struct{ name, chart, namespace, values string }{
		{"the injector", InjectorChart, "identity", `
platform:
  trustDomain: other.test
  clusterName: other
  spire: {server: {address: "server.spiffe:8081"}, agentSocket: {hostPath: /run/other, file: other.sock}}
spireNamespace: spiffe
servingCertificate: cert-manager
monitoring: {enabled: true}
`},
		{"the injector over the server's socket, by CSI", InjectorChart, "identity", `
platform:
  trustDomain: other.test
  clusterName: other
  spire: {server: {address: "unix:///run/private/api.sock"}, agentSocket: {hostPath: null, csi: other.csi, file: other.sock}}
spireNamespace: spiffe
openshift: {enabled: true}
`},
		{"SPIRE", SPIREChart, "spiffe", `
trustDomain: other.test
clusterName: other
agent: {socketDirectory: /run/other}
csi: {enabled: true}
openshift: {enabled: true}
injector: {namespace: identity}
upstreamAuthority: {secretName: upstream, hasRoot: true}
`},
		{"SPIRE on PostgreSQL", SPIREChart, "spiffe", `
trustDomain: other.test
clusterName: other
server: {replicas: 3}
database: {type: postgres, secretName: database}
agent: {socketDirectory: /run/other}
injector: {namespace: identity}
`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			rendered, err := render(t.Context(), c.chart, c.namespace, c.values)
			if err != nil {
				t.Fatal(err)
			}
			// Inside a container the directory keeps its name where CSI mounts it.
			if strings.Contains(c.values, "csi: other.csi") {
				rendered = strings.NewReplacer("mountPath: /run/spire/sockets", "", "unix:///run/spire/sockets/other.sock", "").Replace(rendered)
			}
			for n, line := range strings.Split(rendered, "\n") {
				if found := ordinary.FindString(line); found != "" {
					t.Errorf("line %d has %q, which the values do not say: %s", n+1, found, line)
				}
			}
		})
	}
}

func TestValuesArriveWhereTheyBelong(t *testing.T) {
	for _, c := range []struct {
		name, chart, values string
		want                []string
	}{
		{"the injector", InjectorChart, `
replicas: 5
image: {repository: registry.test/injector, tag: v7, pullPolicy: Always}
imagePullSecrets: [pull]
args: [--rollout-rate=5]
resources: {requests: {cpu: 99m}}
nodeSelector: {disk: ssd}
tolerations: [{key: k, operator: Exists}]
excludedNamespaces: [left-alone]
monitoring: {enabled: true, labels: {release: prometheus}}
`, []string{"replicas: 5", "image: registry.test/injector:v7", "imagePullPolicy: Always", "- name: pull", "- --rollout-rate=5", "cpu: 99m",
			"disk: ssd", "key: k", "- left-alone", "release: prometheus"}},
		{"SPIRE", SPIREChart, `
logLevel: DEBUG
server: {storage: {size: 7Gi, storageClassName: fast}, image: {repository: registry.test/server, tag: v7}, resources: {requests: {cpu: 99m}}}
agent: {image: {repository: registry.test/agent}, skipKubeletVerification: false}
imagePullSecrets: [pull]
upstreamAuthority: {secretName: upstream, hasRoot: true}
csi: {enabled: true, image: registry.test/csi:1, registrarImage: registry.test/registrar:1}
injector: {policy: {paths: [/only/*], except: [/not], federation: ["*"]}}
`, []string{`log_level    = "DEBUG"`, "storage: 7Gi", "storageClassName: fast", "image: registry.test/server:v7", "cpu: 99m", "image: registry.test/agent:1.15.3",
			"skip_kubelet_verification = false", "- name: pull", `UpstreamAuthority "disk"`, `bundle_file_path = "/run/spire/upstream/ca.crt"`, "secretName: upstream",
			"image: registry.test/csi:1", "image: registry.test/registrar:1", `"/only/*"`, `"/not"`, `"/ns/spire-injector/*"`}},
		{"SPIRE on PostgreSQL", SPIREChart, "database: {type: postgres, secretName: database, maxOpenConns: 7}", []string{"max_open_conns = 7", "name: database"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			rendered, err := render(t.Context(), c.chart, "elsewhere", c.values)
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range c.want {
				if !strings.Contains(rendered, want) {
					t.Errorf("expected %q in what the chart makes", want)
				}
			}
		})
	}
}
