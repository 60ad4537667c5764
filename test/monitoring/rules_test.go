package monitoring

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"sigs.k8s.io/yaml"
)

func rules(t *testing.T) Rules {
	t.Helper()
	rules, err := ReadRules(folder)
	if err != nil {
		t.Fatal(err)
	}
	return rules
}

// write writes a rule file for promtool.
func write(t *testing.T, rules Rules, path string) {
	t.Helper()
	data, err := rules.File()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func promtool(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), programs.Promtool, args...).CombinedOutput(); err != nil {
		t.Errorf("promtool %q: %v:\n%s", args, err, out)
	}
}

func TestRulesAreValid(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "rules.yaml")
	write(t, rules(t), file)
	promtool(t, "check", "rules", "--lint=all", "--lint-fatal", file)
}

func TestAlertsFireInTheirCases(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	reduced := rules(t)
	for _, alert := range reduced.Alerts() {
		// The others would be the manifest's text once more.
		for name := range alert.Annotations {
			if name != "description" {
				delete(alert.Annotations, name)
			}
		}
	}
	write(t, reduced, filepath.Join(dir, "rules.yaml"))
	cases, err := os.ReadFile("testdata/alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "alerts.yaml"), cases, 0o600); err != nil {
		t.Fatal(err)
	}
	promtool(t, "test", "rules", filepath.Join(dir, "alerts.yaml"))
}

// Of each alert and severity there is a case in which it fires, and of each alert one in which it does not.
func TestEveryAlertHasItsCases(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("testdata/alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Tests []struct {
			Cases []struct {
				Alert    string `json:"alertname"`
				Expected []struct {
					Labels map[string]string `json:"exp_labels"`
				} `json:"exp_alerts"`
			} `json:"alert_rule_test"`
		} `json:"tests"`
	}
	if err := yaml.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	fires, silent := map[string]bool{}, map[string]bool{}
	for _, test := range file.Tests {
		for _, c := range test.Cases {
			silent[c.Alert] = silent[c.Alert] || len(c.Expected) == 0
			for _, expected := range c.Expected {
				fires[c.Alert+" "+expected.Labels["severity"]] = true
			}
		}
	}
	for _, alert := range rules(t).Alerts() {
		if severity := alert.Labels["severity"]; !fires[alert.Alert+" "+severity] {
			t.Errorf("testdata/alerts.yaml has no case in which %s fires as %s", alert.Alert, severity)
		}
		if !silent[alert.Alert] {
			t.Errorf("testdata/alerts.yaml has no case in which %s does not fire", alert.Alert)
		}
	}
}

func TestEveryAlertSaysWhatToDo(t *testing.T) {
	t.Parallel()
	alerts := rules(t).Alerts()
	if len(alerts) < 15 {
		t.Errorf("expected 15 alerts or more, got %d", len(alerts))
	}
	for _, alert := range alerts {
		for _, name := range []string{"summary", "description", "remedy"} {
			if alert.Annotations[name] == "" {
				t.Errorf("%s has no annotation %s", alert.Alert, name)
			}
		}
		if severity := alert.Labels["severity"]; !slices.Contains([]string{"warning", "critical"}, severity) {
			t.Errorf("%s: expected the severity warning or critical, got %q", alert.Alert, severity)
		}
		if alert.For == "" {
			t.Errorf("%s fires at once: expected how long it has to last", alert.Alert)
		}
	}
}
