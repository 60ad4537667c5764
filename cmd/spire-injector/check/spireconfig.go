package check

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/hcl"
)

// spireConfig is a configuration file of SPIRE, in HCL or JSON, as SPIRE itself reads them.
type spireConfig struct{ root any }

func parseSPIREConfig(text string) (spireConfig, error) {
	root := map[string]any{}
	if err := hcl.Decode(&root, text); err != nil {
		return spireConfig{}, fmt.Errorf("expected HCL or JSON: %w", err)
	}
	if len(root) == 0 {
		return spireConfig{}, errors.New("expected settings, got nothing")
	}
	return spireConfig{root}, nil
}

// all are the values at a path. Blocks are lists in HCL, so that there may be several.
func (c spireConfig) all(path ...string) []any { return valuesAt(c.root, path) }

func valuesAt(node any, path []string) []any {
	var children []any
	switch n := node.(type) {
	case []any:
		children = n
	case []map[string]any:
		for _, child := range n {
			children = append(children, child)
		}
	case map[string]any:
		if len(path) == 0 {
			return []any{n}
		}
		child, ok := n[path[0]]
		if !ok {
			return nil
		}
		return valuesAt(child, path[1:])
	default:
		if len(path) > 0 {
			return nil
		}
		return []any{n}
	}
	var out []any
	for _, child := range children {
		out = append(out, valuesAt(child, path)...)
	}
	return out
}

// text is a setting. One that comes from the environment is not known, and not ok.
func (c spireConfig) text(path ...string) (value string, ok bool) {
	values := c.all(path...)
	if len(values) == 0 {
		return "", false
	}
	value = fmt.Sprint(values[len(values)-1])
	return value, !strings.Contains(value, "$")
}

// isTrue says whether a setting is on, in any of the ways that SPIRE takes.
func (c spireConfig) isTrue(path ...string) bool {
	text, _ := c.text(path...)
	on, err := strconv.ParseBool(text)
	return err == nil && on
}

// duration is a setting, or what it is when it is not there. SPIRE does not start with one that is not a duration.
func (c spireConfig) duration(otherwise time.Duration, path ...string) time.Duration {
	text, _ := c.text(path...)
	d, err := time.ParseDuration(text)
	if err != nil {
		return otherwise
	}
	return d
}
