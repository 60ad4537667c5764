package e2e

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"

	"github.com/spire-injector/spire-injector/test/cluster/parts"
	"github.com/spire-injector/spire-injector/test/monitoring"
)

// exported are a replica's metrics, as Prometheus gets them.
func exported(t *testing.T, replica string) string {
	t.Helper()
	text, err := shared.k.Run(t.Context(), "get", "--raw", "/api/v1/namespaces/spire-injector/pods/"+replica+":8080/proxy/metrics")
	must(t, err)
	return text
}

// statistics are those of a pod's Envoy, as Prometheus gets them.
func statistics(t *testing.T, pod corev1.Pod) string {
	t.Helper()
	text, err := shared.k.Run(t.Context(), "get", "--raw", "/api/v1/namespaces/"+pod.Namespace+"/pods/"+pod.Name+":15090/proxy/stats/prometheus")
	must(t, err)
	return text
}

// What the alerts and the dashboard read is really exported, and nothing is exported that is not known or has no
// bounds.
func TestWatchedMetricsAreExported(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	cache, err := parts.UserCache()
	must(t, err)
	programs, err := parts.EnsurePromtool(t.Context(), cache, os.Stderr)
	must(t, err)
	// Nobody federates here; what is exported then is held against the same list where real servers do.
	expressions := slices.DeleteFunc(watched(t), func(e monitoring.Expression) bool { return strings.Contains(e.PromQL, monitoring.FederationPrefix) })
	readings, err := monitoring.Read(t.Context(), programs.Expressions, expressions)
	must(t, err)

	deploy(t, ns, polyglot(ns, "server", id(ns, "valid")), client(ns, "valid")) // identities that are new, pods that run
	mistaken := api(ns, "no peer").pod(ns)
	mistaken.Name = "mistaken"
	refused(t, neverScheduled(mistaken))

	var texts []string
	union := monitoring.Metrics{}
	eventually(t, "what alerts and dashboard read", func() error {
		texts = nil
		for _, replica := range replicas(t) {
			text := exported(t, replica)
			metrics, err := monitoring.Exported(text)
			must(t, err)
			union.Add(metrics)
			texts = append(texts, text)
		}
		for _, app := range []string{"server", "valid"} {
			metrics, err := monitoring.Exported(statistics(t, onlyPod(t, ns, app)))
			must(t, err)
			union.Add(metrics)
		}
		var mistakes []error
		for i, reading := range readings {
			for _, mistake := range union.WithoutValues().Lacks(expressions[i], reading) {
				mistakes = append(mistakes, errors.New(mistake))
			}
		}
		return errors.Join(mistakes...)
	})
	for _, mistake := range union.Exceeds(monitoring.Known(), monitoring.Prefix) {
		t.Error(mistake)
	}
	for _, text := range texts {
		cmd := exec.CommandContext(t.Context(), programs.Promtool, "check", "metrics")
		cmd.Stdin = strings.NewReader(own(text))
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("promtool check metrics: %v:\n%s", err, out)
		}
	}
}

// watched are the expressions of the alerts and the dashboard.
func watched(t *testing.T) []monitoring.Expression {
	t.Helper()
	folder := manifests("injector/monitoring")
	rules, err := monitoring.ReadRules(folder)
	must(t, err)
	dashboard, err := monitoring.ReadDashboard(folder)
	must(t, err)
	panels, err := dashboard.Expressions()
	must(t, err)
	return slices.Concat(rules.Expressions(), panels)
}

// own are the lines of the injector's own metrics, without those of its libraries.
func own(text string) string {
	var out strings.Builder
	for line := range strings.Lines(text) {
		name := strings.TrimPrefix(strings.TrimPrefix(line, "# HELP "), "# TYPE ")
		if strings.HasPrefix(name, monitoring.Prefix) {
			out.WriteString(line)
		}
	}
	return out.String()
}

// The replicas work by one platform file, and say so.
func TestReplicasHaveOneConfigHash(t *testing.T) {
	t.Parallel()
	if hashes := configHashes(t); len(hashes) != 1 || hashes[""] {
		t.Errorf("expected one hash, got %v", hashes)
	}
}

// configHashes are those of the platform files that replicas work by.
func configHashes(t *testing.T) map[string]bool {
	t.Helper()
	hashes := map[string]bool{}
	for _, replica := range replicas(t) {
		hashes[scrape(t, replica)["spire_injector_config_hash"]] = true
	}
	return hashes
}

// What watches the injector is found by the operator by its kind, and by Grafana by its label.
func TestMonitoringManifests(t *testing.T) {
	t.Parallel()
	out, err := shared.k.Run(t.Context(), "kustomize", manifests("injector/monitoring"))
	must(t, err)
	decoder := utilyaml.NewYAMLOrJSONDecoder(strings.NewReader(out), 4096)
	var kinds []string
	for {
		var object unstructured.Unstructured
		if err := decoder.Decode(&object); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		kinds = append(kinds, object.GetKind())
		if object.GetNamespace() != "spire-injector" {
			t.Errorf("%s %s is in the namespace %q", object.GetKind(), object.GetName(), object.GetNamespace())
		}
		if object.GetKind() != "ConfigMap" {
			continue
		}
		dashboard, _, err := unstructured.NestedString(object.Object, "data", "dashboard.json")
		must(t, err)
		want, err := os.ReadFile(filepath.Join(manifests("injector/monitoring"), "dashboard.json"))
		must(t, err)
		if object.GetLabels()["grafana_dashboard"] != "1" || dashboard != string(want) {
			t.Errorf("expected the dashboard with its label, got %v and %d bytes of %d", object.GetLabels(), len(dashboard), len(want))
		}
	}
	slices.Sort(kinds)
	if want := []string{"ConfigMap", "PodMonitor", "PodMonitor", "PrometheusRule"}; !slices.Equal(kinds, want) {
		t.Errorf("expected %v, got %v", want, kinds)
	}
}
