package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/spire-injector/spire-injector/cmd/spire-injector/check"
)

// Not parallel: it looks at everybody's cluster, and changes how the injector runs.
func TestDisruptiveCheck(t *testing.T) {
	program := buildCommand(t)

	t.Run("a cluster that works", func(t *testing.T) {
		ns := namespaceNamed(t, "check")
		deploy(t, ns, api(ns, id(ns, "valid")), client(ns, "valid"))
		var report check.Report
		eventually(t, "no error", func() error {
			var code int
			report, code = checked(t, program)
			if code != 0 || report.Errors > 0 {
				return fmt.Errorf("exit code %d, %+v", code, complaints(report))
			}
			return nil
		})
		// What tests before this one did may still show. The platform file claims for demos that are not there, and lets
		// pods name their Envoy's image.
		expected := []string{"claims", "proxy-image", "spire-calls", "entries", "rollout", "workload-svids", "sidecars"}
		for _, f := range complaints(report) {
			if !slices.Contains(expected, f.Check) {
				t.Errorf("expected ok, got %+v", f)
			}
			t.Logf("%s %s: %s", f.Status, f.Check, f.Found)
		}
		for _, name := range []string{"kubernetes", "spire-server", "spire-server-settings", "spire-agents", "spire-agent-settings", "agent-socket",
			"other-spires", "spire-controller-manager", "replicas", "versions", "leader", "platform-file", "platform-in-force", "claims", "webhooks",
			"excluded-namespaces", "policies", "serving-certificate", "webhook-answers", "own-svid", "spire-calls", "federation", "entries", "reconciler", "rollout", "dns", "app-ports", "asked",
			"namespace-defaults", "next-pods", "altered", "app-listens", "workload-svids", "services", "calls", "sidecars", "proxy-image"} {
			if !slices.ContainsFunc(report.Findings, func(f check.Finding) bool { return f.Check == name }) {
				t.Errorf("%s: expected a finding", name)
			}
		}
	})

	t.Run("an app that declares its port", func(t *testing.T) {
		ns := namespaceNamed(t, "check")
		open := api(ns, id(ns, "valid"))
		open.edit = func(spec *corev1.PodSpec) {
			spec.Containers[0].Ports = []corev1.ContainerPort{{ContainerPort: 8080}}
		}
		apply(t, neverScheduled(open.pod(ns)))
		report, code := checked(t, program)
		wantFinding(t, report, "app-ports", check.Warning, ns, "port 8080")
		if code != 0 {
			t.Errorf("expected exit code 0 with warnings alone, got %d: %+v", code, complaints(report))
		}
	})

	t.Run("a rollout that is paused, and a trust domain that SPIRE's policy denies", func(t *testing.T) {
		ns := namespaceNamed(t, "check")
		deploy(t, ns, api(ns, id(ns, "valid")), client(ns, "valid"))
		federateWith(t, "auxiliary.org")
		serveWith(t, "--rollout-rate=0")
		k(t, ns, "annotate", "namespace", ns, "spiffe.io/enforcement=audit")
		policy := "its authorization policy denies calls (BatchCreateFederationRelationship " // and not a missing admin right
		eventually(t, "the paused rollout and the denied relationship", func() error {
			report, _ := checked(t, program)
			var missing []error
			for what, is := range map[string]func(check.Finding) bool{
				"rollout": func(f check.Finding) bool {
					return f.Status == check.Warning && strings.Contains(f.Found, "paused by --rollout-rate=0") && !strings.Contains(f.Found, ": 0 outdated")
				},
				"federation": func(f check.Finding) bool {
					return f.Status == check.Error && strings.Contains(f.Found, "the relationship with auxiliary.org")
				},
				"spire-calls": func(f check.Finding) bool { return strings.Contains(f.Remedy, policy) },
			} {
				if !slices.ContainsFunc(report.Findings, func(f check.Finding) bool { return f.Check == what && is(f) }) {
					missing = append(missing, fmt.Errorf("%s is not as expected: %+v", what, complaints(report)))
				}
			}
			return errors.Join(missing...)
		})
	})

	t.Run("a spire-controller-manager without prefix", func(t *testing.T) {
		ns := namespaceNamed(t, "check")
		settings := func(more string) *corev1.ConfigMap {
			return &corev1.ConfigMap{
				TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"},
				ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "manager"},
				Data: map[string]string{"config.yaml": "apiVersion: spire.spiffe.io/v1alpha1\nkind: ControllerManagerConfig\n" +
					"clusterName: demo-cluster\ntrustDomain: example.org\n" + more},
			}
		}
		apply(t, settings(""), idleManager(ns))
		report, code := checked(t, program)
		wantFinding(t, report, "spire-controller-manager", check.Error, "ConfigMap "+ns+"/manager", "no entryIDPrefix")
		if code != 1 {
			t.Errorf("expected exit code 1, got %d", code)
		}
		apply(t, settings("entryIDPrefix: demo-cluster\n"))
		report, _ = checked(t, program)
		wantFinding(t, report, "spire-controller-manager", check.OK, "ConfigMap "+ns+"/manager", "leaves the injector's entries alone")
	})
}

// federateWith gives the platform file a relationship, until the end of the test.
func federateWith(t *testing.T, td string) {
	t.Helper()
	original := platformInForce(t)
	t.Cleanup(func() { setPlatform(context.Background(), t, original) })
	related := fmt.Sprintf("\n  federation: [{trustDomain: %s, bundleEndpoint: \"https://%s\"}]\nidentity:\n", td, td)
	setPlatform(t.Context(), t, changed(t, original, "\nidentity:\n", related))
}

// buildCommand builds the command as people run it, outside the cluster, and as it is compiled for the tests already.
func buildCommand(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "spire-injector")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", program, "./cmd/spire-injector")
	cmd.Dir, cmd.Env = shared.root, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return program
}

// checked runs the check.
func checked(t *testing.T, program string) (check.Report, int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, "check", "--kubeconfig", shared.env.Kubeconfig, "-o", "json")
	out, err := cmd.Output()
	var failed *exec.ExitError
	if err != nil && !errors.As(err, &failed) {
		t.Fatal(err)
	}
	var report check.Report
	if err := json.Unmarshal(out, &report); err != nil {
		t.Fatalf("expected a report, got %v and %q", err, out)
	}
	return report, cmd.ProcessState.ExitCode()
}

func complaints(r check.Report) []check.Finding {
	return slices.DeleteFunc(slices.Clone(r.Findings), func(f check.Finding) bool { return f.Status == check.OK })
}

func wantFinding(t *testing.T, r check.Report, name string, status check.Status, where, part string) {
	t.Helper()
	if !slices.ContainsFunc(r.Findings, func(f check.Finding) bool {
		return f.Check == name && f.Status == status && strings.Contains(f.Where, where) && strings.Contains(f.Found, part)
	}) {
		t.Errorf("expected %s of %s about %s with %q, got %+v", status, name, where, part, r.Findings)
	}
}

// wantNoAgentFound checks that check says of a node that it has no agent.
func wantNoAgentFound(t *testing.T, program, node string) {
	t.Helper()
	report, _ := checked(t, program)
	wantFinding(t, report, "spire-agents", check.Error, "Node "+node, "no SPIRE agent")
}

// idleManager is a spire-controller-manager that does not run: what it would do is seen before.
func idleManager(namespace string) *appsv1.Deployment {
	labels := map[string]string{"app": "manager"}
	return &appsv1.Deployment{
		TypeMeta:   metav1.TypeMeta{APIVersion: "apps/v1", Kind: "Deployment"},
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "manager"},
		Spec: appsv1.DeploymentSpec{
			Replicas: new(int32(0)),
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: corev1.PodSpec{
				Containers: []corev1.Container{{
					Name: "manager", Image: "spiffe/spire-controller-manager:0.7.0", Args: []string{"--config", "/etc/manager/config.yaml"},
					VolumeMounts: []corev1.VolumeMount{{Name: "config", MountPath: "/etc/manager"}},
				}},
				Volumes: []corev1.Volume{{Name: "config", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{
					LocalObjectReference: corev1.LocalObjectReference{Name: "manager"},
				}}}},
			}},
		},
	}
}

func saysQuarantined(report check.Report) error {
	for _, f := range report.Findings {
		if f.Check == "rollout" && f.Status == check.Warning && strings.Contains(f.Found, "a quarantined identity is held by 1 pod") {
			return nil
		}
	}
	return fmt.Errorf("not among %+v", complaints(report))
}
