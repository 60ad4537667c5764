package monitoring

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Metrics are metrics by their names in Prometheus, where a histogram has three.
type Metrics map[string]Labels

// Labels are the labels of one metric, with their values; without any where every value is possible.
type Labels map[string][]string

// scraped are the labels that a metric gets where it is scraped.
func scraped() []string {
	return []string{"namespace", "pod", "container", "endpoint", "instance", "job"}
}

// Lacks lists what an expression reads and the metrics do not have: names, labels, and values that a label never takes.
func (m Metrics) Lacks(e Expression, r Reading) []string {
	var out []string
	say := func(format string, args ...any) {
		out = append(out, fmt.Sprintf("%s: %s: in %s", e.Where, fmt.Sprintf(format, args...), e.PromQL))
	}
	for _, s := range r.Selectors {
		labels, ok := m[s.Metric]
		if !ok {
			say("there is no metric %q", s.Metric)
			continue
		}
		for _, matcher := range s.Matchers {
			if !labels.has(matcher.Label) {
				say("%s has no label %q", s.Metric, matcher.Label)
				continue
			}
			for _, value := range matcher.values() {
				if known := labels[matcher.Label]; len(known) > 0 && !slices.Contains(known, value) {
					say("the label %q of %s is never %q", matcher.Label, s.Metric, value)
				}
			}
		}
	}
	for _, g := range r.Groupings {
		for _, metric := range g.Metrics {
			for _, label := range g.Labels {
				if labels, ok := m[metric]; ok && !labels.has(label) {
					say("%s has no label %q", metric, label)
				}
			}
		}
	}
	return out
}

// Exceeds lists what the metrics have and the known ones do not, among those whose names begin with the prefix.
func (m Metrics) Exceeds(known Metrics, prefix string) []string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(m)) {
		if !strings.HasPrefix(name, prefix) {
			continue
		}
		want, ok := known[name]
		if !ok {
			out = append(out, fmt.Sprintf("%s is not known", name))
			continue
		}
		for label, values := range m[name] {
			bounds, ok := want[label]
			if !ok {
				out = append(out, fmt.Sprintf("%s has the label %q, which is not known", name, label))
			}
			for _, value := range values {
				if len(bounds) > 0 && !slices.Contains(bounds, value) {
					out = append(out, fmt.Sprintf("%s has %s=%q, expected one of %s", name, label, value, strings.Join(bounds, ", ")))
				}
			}
		}
	}
	return out
}

// WithoutValues are the same names and labels, with every value possible.
func (m Metrics) WithoutValues() Metrics {
	out := Metrics{}
	for name, labels := range m {
		out[name] = Labels{}
		for label := range labels {
			out[name][label] = nil
		}
	}
	return out
}

// Add adds what others have.
func (m Metrics) Add(others Metrics) {
	for name, labels := range others {
		if m[name] == nil {
			m[name] = Labels{}
		}
		for label, values := range labels {
			all := slices.Concat(m[name][label], values)
			slices.Sort(all)
			m[name][label] = slices.Compact(all)
		}
	}
}

func (l Labels) has(label string) bool {
	_, ok := l[label]
	return ok || slices.Contains(scraped(), label)
}
