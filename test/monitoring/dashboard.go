package monitoring

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// Dashboard is the part of Grafana's model that the tests look at.
type Dashboard struct {
	UID        string  `json:"uid"`
	Title      string  `json:"title"`
	Panels     []Panel `json:"panels"`
	Templating struct {
		List []Variable `json:"list"`
	} `json:"templating"`
}

// Panel is one panel, or the heading of a row.
type Panel struct {
	ID         int         `json:"id"`
	Type       string      `json:"type"`
	Title      string      `json:"title"`
	Datasource *Datasource `json:"datasource"`
	GridPos    GridPos     `json:"gridPos"`
	Targets    []Target    `json:"targets"`
}

// GridPos is a place in the grid, which is 24 columns wide.
type GridPos struct {
	X int `json:"x"`
	Y int `json:"y"`
	W int `json:"w"`
	H int `json:"h"`
}

// Target is a query of a panel.
type Target struct {
	RefID        string      `json:"refId"`
	Datasource   *Datasource `json:"datasource"`
	Expr         string      `json:"expr"`
	LegendFormat string      `json:"legendFormat"`
}

// Datasource says whom to ask.
type Datasource struct {
	Type string `json:"type"`
	UID  string `json:"uid"`
}

// Variable is what people choose at the top of the dashboard. Its query is a word or an object, by its type.
type Variable struct {
	Name       string          `json:"name"`
	Type       string          `json:"type"`
	Query      json.RawMessage `json:"query"`
	Datasource *Datasource     `json:"datasource"`
	Definition string          `json:"definition"`
}

// ReadDashboard reads the dashboard of the folder manifests/injector/monitoring.
func ReadDashboard(folder string) (Dashboard, error) {
	data, err := os.ReadFile(filepath.Join(folder, "dashboard.json"))
	if err != nil {
		return Dashboard{}, err
	}
	var d Dashboard
	if err := json.Unmarshal(data, &d); err != nil {
		return Dashboard{}, fmt.Errorf("dashboard.json: %w", err)
	}
	return d, nil
}

// labelValues is Grafana's query for the values of a label.
var labelValues = regexp.MustCompile(`^label_values\((\w+), (\w+)\)$`)

// Expressions are those of all panels and variables, as Prometheus gets them.
func (d Dashboard) Expressions() ([]Expression, error) {
	var out []Expression
	for _, v := range d.Templating.List {
		if v.Type != "query" {
			continue
		}
		parts := labelValues.FindStringSubmatch(v.Definition)
		if parts == nil {
			return nil, fmt.Errorf("dashboard.json: variable %s: expected label_values(METRIC, LABEL), got %s", v.Name, v.Definition)
		}
		out = append(out, Expression{Where: "variable " + v.Name, PromQL: fmt.Sprintf("group by (%s) (%s)", parts[2], parts[1])})
	}
	for _, p := range d.Panels {
		for _, t := range p.Targets {
			out = append(out, Expression{
				Where:  fmt.Sprintf("panel %q, query %s", p.Title, t.RefID),
				PromQL: strings.ReplaceAll(t.Expr, "$__rate_interval", "5m"),
			})
		}
	}
	return out, nil
}
