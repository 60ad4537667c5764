package monitoring

import (
	"fmt"
	"os"
	"path/filepath"

	"sigs.k8s.io/yaml"
)

// Rules are the groups of a PrometheusRule, which are also those of a rule file of Prometheus.
type Rules struct {
	Groups []Group `json:"groups"`
}

// Group is a group of rules.
type Group struct {
	Name  string  `json:"name"`
	Rules []Alert `json:"rules"`
}

// Alert is a rule that alerts.
type Alert struct {
	Alert       string            `json:"alert"`
	Expr        string            `json:"expr"`
	For         string            `json:"for,omitempty"`
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
}

// ReadRules reads the rules of the folder manifests/injector/monitoring.
func ReadRules(folder string) (Rules, error) {
	data, err := os.ReadFile(filepath.Join(folder, "rules.yaml"))
	if err != nil {
		return Rules{}, err
	}
	var manifest struct {
		APIVersion string         `json:"apiVersion"`
		Kind       string         `json:"kind"`
		Metadata   map[string]any `json:"metadata"`
		Spec       Rules          `json:"spec"`
	}
	if err := yaml.UnmarshalStrict(data, &manifest); err != nil {
		return Rules{}, fmt.Errorf("rules.yaml: %w", err)
	}
	if manifest.APIVersion != "monitoring.coreos.com/v1" || manifest.Kind != "PrometheusRule" {
		return Rules{}, fmt.Errorf("rules.yaml: expected a PrometheusRule of monitoring.coreos.com/v1, got a %s of %s", manifest.Kind, manifest.APIVersion)
	}
	return manifest.Spec, nil
}

// Alerts are the rules of all groups.
func (r Rules) Alerts() []Alert {
	var out []Alert
	for _, g := range r.Groups {
		out = append(out, g.Rules...)
	}
	return out
}

// Expressions are those of all alerts.
func (r Rules) Expressions() []Expression {
	var out []Expression
	for _, a := range r.Alerts() {
		out = append(out, Expression{Where: "alert " + a.Alert, PromQL: a.Expr})
	}
	return out
}

// File is the rule file of Prometheus.
func (r Rules) File() ([]byte, error) { return yaml.Marshal(r) }
