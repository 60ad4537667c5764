package monitoring

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"
)

// Expression is one that an alert or a panel evaluates.
type Expression struct {
	Where  string // for people: "alert SpireInjectorAbsent"
	PromQL string
}

// Reading is what an expression reads.
type Reading struct {
	Selectors []Selector `json:"selectors"`
	Groupings []Grouping `json:"groupings"`
}

// Selector selects series of one metric.
type Selector struct {
	Metric   string    `json:"metric"`
	Matchers []Matcher `json:"matchers"`
}

// Matcher is a condition on a label.
type Matcher struct {
	Label string `json:"label"`
	Op    string `json:"op"` // =, !=, =~ or !~
	Value string `json:"value"`
}

// values are those that the matcher names, as alternatives if it is a regular expression; none that a dashboard's
// variable gives.
func (m Matcher) values() []string {
	switch {
	case strings.HasPrefix(m.Value, "$"):
		return nil
	case strings.HasSuffix(m.Op, "~"):
		return strings.Split(m.Value, "|")
	default:
		return []string{m.Value}
	}
}

// Grouping is labels by which something is grouped or joined, and metrics that should have each of them.
type Grouping struct {
	Labels  []string `json:"labels"`
	Metrics []string `json:"metrics"`
}

// Read parses expressions by the program expressions of test/tools/promtool, and returns what they read, in the same
// order.
func Read(ctx context.Context, program string, expressions []Expression) ([]Reading, error) {
	texts := make([]string, len(expressions))
	for i, e := range expressions {
		texts[i] = e.PromQL
	}
	input, err := json.Marshal(texts)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, program)
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(input), &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("reading expressions: %w: %s", err, strings.TrimSpace(stderr.String()))
	}
	var readings []Reading
	if err := json.Unmarshal(stdout.Bytes(), &readings); err != nil {
		return nil, fmt.Errorf("decoding what %s printed: %w", program, err)
	}
	if len(readings) != len(expressions) {
		return nil, fmt.Errorf("%s read %d of %d expressions", program, len(readings), len(expressions))
	}
	return readings, nil
}
