package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/spire-injector/spire-injector/registrar/reason"
	"github.com/spire-injector/spire-injector/test/demo/scene"
	"github.com/spire-injector/spire-injector/webhook/inject"
)

const platformMap = "spire-injector-config"

// A changed platform file is taken over by all replicas, without a restart; a bad one is reported and changes nothing.
// Not parallel: the platform is everybody's.
func TestDisruptivePlatformReload(t *testing.T) {
	ns := namespace(t)
	original := platformInForce(t)
	t.Cleanup(func() { setPlatform(context.Background(), t, original) })
	running := replicas(t)
	restartsBefore := injectorRestarts(t)
	logLevel := func() string {
		envoy := injectedBy(t, neverScheduled(api(ns, id(ns, "valid")).pod(ns))).Spec.InitContainers[0]
		return envoy.Args[slices.Index(envoy.Args, "--log-level")+1]
	}
	metrics := func(want map[string]string) {
		t.Helper()
		for _, replica := range running {
			eventually(t, "metrics of "+replica, func() error {
				got := scrape(t, replica)
				for name, value := range want {
					if got[name] != value {
						return fmt.Errorf("expected %s %s, got %q", name, value, got[name])
					}
				}
				return nil
			})
		}
	}
	count := func(replica, result string) string {
		return scrape(t, replica)[`spire_injector_config_reloads_total{result="`+result+`"}`]
	}
	good := changed(t, original, "logLevel: warning", "logLevel: info")
	succeeded := map[string]string{}
	for _, replica := range running {
		succeeded[replica] = count(replica, "success")
	}

	setPlatform(t.Context(), t, good)
	for _, replica := range running {
		eventually(t, "the new file at "+replica, func() error {
			if got := count(replica, "success"); got == succeeded[replica] {
				return fmt.Errorf("it has taken over %s files", got)
			}
			return nil
		})
	}
	metrics(map[string]string{"spire_injector_config_last_reload_successful": "1"})
	for range 10 { // whoever of the replicas is asked, by whichever of the webhooks
		if got := logLevel(); got != "info" {
			t.Errorf("expected log level info of the new file, got %s", got)
		}
	}

	// One mistake in what could be changed, one in what cannot.
	bad := strings.NewReplacer("logLevel: info", "logLevel: loud", "spire-server.spire:8081", "elsewhere:8081").Replace(good)
	setPlatform(t.Context(), t, bad)
	metrics(map[string]string{"spire_injector_config_last_reload_successful": "0"})
	if got := logLevel(); got != "info" {
		t.Errorf("expected log level info of the file in force, got %s", got)
	}
	wantReport(t, "sidecar.logLevel: expected one of")

	restart := strings.Replace(good, "spire-server.spire:8081", "elsewhere:8081", 1)
	setPlatform(t.Context(), t, restart)
	wantReport(t, "spire.server.address: a running injector cannot change it; restart its replicas")
	metrics(map[string]string{"spire_injector_config_last_reload_successful": "0"})

	setPlatform(t.Context(), t, original)
	metrics(map[string]string{"spire_injector_config_last_reload_successful": "1"})
	if got := logLevel(); got != "warning" {
		t.Errorf("expected log level warning of the first file, got %s", got)
	}
	if got := replicas(t); !slices.Equal(running, got) || injectorRestarts(t) != restartsBefore {
		t.Errorf("expected the replicas %v without restarts, got %v with %d", running, got, injectorRestarts(t)-restartsBefore)
	}
	// On the way, admissions were counted.
	if got := scrape(t, running[0]); got[`spire_injector_admissions_total{decision="admitted",operation="CREATE",reason="PodEnabled",webhook="mutate-pod"}`] == "" &&
		scrape(t, running[1])[`spire_injector_admissions_total{decision="admitted",operation="CREATE",reason="PodEnabled",webhook="mutate-pod"}`] == "" {
		t.Errorf("no admission was counted: %v", got)
	}
}

// injectorRestarts are the restarts of all replicas of the injector.
func injectorRestarts(t *testing.T) (n int32) {
	t.Helper()
	for _, pod := range podsOf(t, "spire-injector", "") {
		n += scene.Restarts(pod)
	}
	return n
}

// setPlatform writes the platform file as an operator does who edits the ConfigMap.
func setPlatform(ctx context.Context, t *testing.T, file string) {
	t.Helper()
	patch, err := json.Marshal(map[string]any{"data": map[string]string{"config.yaml": file}})
	must(t, err)
	if _, err := shared.k.Run(ctx, "--namespace", "spire-injector", "patch", "configmap", platformMap, "--type=merge", "--patch", string(patch)); err != nil {
		t.Error(err)
	}
}

// wantReport waits for an event on the ConfigMap and a line in the log.
func wantReport(t *testing.T, part string) {
	t.Helper()
	eventually(t, "the report of "+part, func() error {
		var events corev1.EventList
		must(t, shared.k.Get(t.Context(), &events, "events", "--namespace", "spire-injector", "--field-selector", "involvedObject.name="+platformMap))
		told := slices.ContainsFunc(events.Items, func(e corev1.Event) bool {
			return e.Type == corev1.EventTypeWarning && e.Reason == reason.PlatformRejected.String() && strings.Contains(e.Message, part)
		})
		logs, err := shared.k.Run(t.Context(), "--namespace", "spire-injector", "logs", "--selector", "app.kubernetes.io/name=spire-injector", "--tail=200")
		must(t, err)
		if logged := strings.Contains(logs, part); !told || !logged {
			return fmt.Errorf("in an event: %t, in the log: %t", told, logged)
		}
		return nil
	})
}

// scrape reads a replica's metrics: values by name with labels.
func scrape(t *testing.T, replica string) map[string]string {
	t.Helper()
	values := map[string]string{}
	for line := range strings.Lines(exported(t, replica)) {
		if i := strings.LastIndex(line, " "); !strings.HasPrefix(line, "#") && i > 0 {
			values[line[:i]] = strings.TrimSpace(line[i:])
		}
	}
	return values
}

// total is the sum of a metric over both replicas and all labels that begin as given.
func total(t *testing.T, prefix string) (n float64) {
	t.Helper()
	for _, replica := range replicas(t) {
		for name, value := range scrape(t, replica) {
			if strings.HasPrefix(name, prefix) {
				v, err := strconv.ParseFloat(value, 64)
				must(t, err)
				n += v
			}
		}
	}
	return n
}

// The version of the cluster is asked for at the start.
func TestKubernetesVersionIsKnown(t *testing.T) {
	t.Parallel()
	var version struct{ GitVersion string }
	must(t, json.Unmarshal([]byte(k(t, "", "get", "--raw", "/version")), &version))
	v, err := inject.ParseKubernetesVersion(version.GitVersion)
	must(t, err)
	logs, err := shared.k.Run(t.Context(), "--namespace", "spire-injector", "logs", "deployment/spire-injector")
	must(t, err)
	if want := fmt.Sprintf(`"kubernetes":"%d.%d"`, v.Major, v.Minor); !strings.Contains(logs, want) {
		t.Errorf("expected %s in the log of the start:\n%s", want, logs)
	}
}
