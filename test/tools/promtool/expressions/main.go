// Expressions reads a JSON list of PromQL expressions from standard input and prints, in the same order, what each of them
// reads: the selectors, and by which labels of which metrics it groups and joins.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

type expression struct {
	Selectors []selector `json:"selectors"`
	Groupings []grouping `json:"groupings"`
}

type selector struct {
	Metric   string    `json:"metric"`
	Matchers []matcher `json:"matchers"`
}

type matcher struct {
	Label string `json:"label"`
	Op    string `json:"op"`
	Value string `json:"value"`
}

// grouping is labels that each of the metrics should have.
type grouping struct {
	Labels  []string `json:"labels"`
	Metrics []string `json:"metrics"`
}

func main() {
	if err := run(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "expressions:", err)
		os.Exit(1)
	}
}

func run(stdin io.Reader, stdout io.Writer) error {
	var texts []string
	if err := json.NewDecoder(stdin).Decode(&texts); err != nil {
		return fmt.Errorf("expected a JSON list of expressions: %w", err)
	}
	out := make([]expression, 0, len(texts))
	for _, text := range texts {
		parsed, err := parser.ParseExpr(text)
		if err != nil {
			return fmt.Errorf("%s: %w", text, err)
		}
		out = append(out, read(parsed))
	}
	return json.NewEncoder(stdout).Encode(out)
}

func read(expr parser.Expr) expression {
	var out expression
	parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
		switch n := node.(type) {
		case *parser.VectorSelector:
			out.Selectors = append(out.Selectors, selectorOf(n))
		case *parser.AggregateExpr:
			if len(n.Grouping) > 0 {
				out.Groupings = append(out.Groupings, grouping{Labels: n.Grouping, Metrics: metricsOf(n.Expr)})
			}
		case *parser.BinaryExpr:
			if m := n.VectorMatching; m != nil && len(m.MatchingLabels) > 0 {
				out.Groupings = append(out.Groupings, grouping{Labels: m.MatchingLabels, Metrics: metricsOf(n)})
			}
			if m := n.VectorMatching; m != nil && len(m.Include) > 0 {
				one := n.RHS
				if m.Card == parser.CardOneToMany {
					one = n.LHS
				}
				out.Groupings = append(out.Groupings, grouping{Labels: m.Include, Metrics: metricsOf(one)})
			}
		}
		return nil
	})
	return out
}

func selectorOf(v *parser.VectorSelector) selector {
	out := selector{Metric: v.Name}
	for _, m := range v.LabelMatchers {
		if m.Name == labels.MetricName {
			if m.Type == labels.MatchEqual {
				out.Metric = m.Value
			}
			continue
		}
		out.Matchers = append(out.Matchers, matcher{Label: m.Name, Op: m.Type.String(), Value: m.Value})
	}
	return out
}

func metricsOf(expr parser.Expr) []string {
	var out []string
	parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
		if v, ok := node.(*parser.VectorSelector); ok {
			out = append(out, selectorOf(v).Metric)
		}
		return nil
	})
	return out
}
