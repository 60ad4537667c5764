package monitoring

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

func dashboard(t *testing.T) Dashboard {
	t.Helper()
	d, err := ReadDashboard(folder)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestExpressionsReadWhatThereIs(t *testing.T) {
	t.Parallel()
	panels, err := dashboard(t).Expressions()
	if err != nil {
		t.Fatal(err)
	}
	alerts := rules(t).Expressions()
	if len(panels) == 0 || len(alerts) == 0 {
		t.Fatalf("expected expressions of panels and of alerts, got %d and %d", len(panels), len(alerts))
	}
	all := slices.Concat(alerts, panels)
	readings, err := Read(t.Context(), programs.Expressions, all)
	if err != nil {
		t.Fatal(err)
	}
	own := Known()
	known := Metrics{}
	known.Add(own)
	known.Add(KnownOfEnvoys())
	read := map[string]bool{}
	for i, reading := range readings {
		for _, mistake := range known.Lacks(all[i], reading) {
			t.Error(mistake)
		}
		if len(reading.Selectors) == 0 {
			t.Errorf("%s reads no metric: %s", all[i].Where, all[i].PromQL)
		}
		for _, s := range reading.Selectors {
			read[s.Metric] = true
		}
	}
	// Nothing is exported for nobody.
	for name := range own {
		if !read[name] && !strings.HasSuffix(name, "_sum") && !strings.HasSuffix(name, "_count") {
			t.Errorf("neither an alert nor the dashboard reads %s", name)
		}
	}
}

// templateLabel is a label in a legend.
var templateLabel = regexp.MustCompile(`{{(\w+)}}`)

func TestLegendsNameLabelsThatAreThere(t *testing.T) {
	t.Parallel()
	d := dashboard(t)
	for _, panel := range d.Panels {
		for _, target := range panel.Targets {
			for _, label := range templateLabel.FindAllStringSubmatch(target.LegendFormat, -1) {
				e := Expression{Where: panel.Title, PromQL: strings.ReplaceAll(target.Expr, "$__rate_interval", "5m")}
				readings, err := Read(t.Context(), programs.Expressions, []Expression{e})
				if err != nil {
					t.Fatal(err)
				}
				kept := len(readings[0].Groupings) == 0 && (label[1] == "pod" || label[1] == "namespace")
				for _, g := range readings[0].Groupings {
					kept = kept || slices.Contains(g.Labels, label[1])
				}
				if !kept {
					t.Errorf("%s: the legend names %q, which %s does not keep", panel.Title, label[1], target.Expr)
				}
			}
		}
	}
}

func TestDashboardIsWellFormed(t *testing.T) {
	t.Parallel()
	d := dashboard(t)
	if d.UID == "" || d.Title == "" {
		t.Error("expected a uid, so that links to the dashboard last, and a title")
	}
	const columns = 24
	ids, titles := map[int]string{}, map[string]bool{}
	for i, panel := range d.Panels {
		if other, taken := ids[panel.ID]; taken || panel.ID <= 0 {
			t.Errorf("panel %q has the id %d, as %q has", panel.Title, panel.ID, other)
		}
		if panel.Title == "" || titles[panel.Type+panel.Title] {
			t.Errorf("panel %d: expected a title of its own, got %q", panel.ID, panel.Title)
		}
		ids[panel.ID], titles[panel.Type+panel.Title] = panel.Title, true
		pos := panel.GridPos
		if pos.X < 0 || pos.Y < 0 || pos.W <= 0 || pos.H <= 0 || pos.X+pos.W > columns {
			t.Errorf("panel %q is not inside the %d columns: %+v", panel.Title, columns, pos)
		}
		for _, other := range d.Panels[:i] {
			if o := other.GridPos; pos.X < o.X+o.W && o.X < pos.X+pos.W && pos.Y < o.Y+o.H && o.Y < pos.Y+pos.H {
				t.Errorf("panel %q %+v overlaps %q %+v", panel.Title, pos, other.Title, o)
			}
		}
		if panel.Type == "row" {
			continue
		}
		if len(panel.Targets) == 0 {
			t.Errorf("panel %q has no query", panel.Title)
		}
		wantDatasource(t, panel.Title, panel.Datasource)
		refs := map[string]bool{}
		for _, target := range panel.Targets {
			wantDatasource(t, panel.Title, target.Datasource)
			if target.RefID == "" || refs[target.RefID] {
				t.Errorf("panel %q: expected a refId of its own, got %q", panel.Title, target.RefID)
			}
			refs[target.RefID] = true
		}
	}
}

// The dashboard works with whatever data source it is given.
func wantDatasource(t *testing.T, where string, d *Datasource) {
	t.Helper()
	if d == nil || d.Type != "prometheus" || d.UID != "${datasource}" {
		t.Errorf("%s: expected the data source ${datasource} of type prometheus, got %+v", where, d)
	}
}

// variable is a variable in a query, other than Grafana's own.
var variable = regexp.MustCompile(`\$\{?([a-zA-Z]\w*)`)

func TestDashboardHasItsVariables(t *testing.T) {
	t.Parallel()
	d := dashboard(t)
	types := map[string]string{}
	for _, v := range d.Templating.List {
		types[v.Name] = v.Type
		if v.Type == "query" {
			wantDatasource(t, "variable "+v.Name, v.Datasource)
		}
	}
	if types["datasource"] != "datasource" {
		t.Errorf("expected a variable datasource of type datasource, got %v", types)
	}
	for _, panel := range d.Panels {
		for _, target := range panel.Targets {
			for _, name := range variable.FindAllStringSubmatch(target.Expr, -1) {
				if types[name[1]] == "" {
					t.Errorf("panel %q uses the variable %s, which is not defined", panel.Title, name[1])
				}
			}
			// Injectors are told apart in each query, and so are the namespaces of their pods.
			by := `namespace=~"$namespace"`
			if strings.Contains(target.Expr, "envoy_") {
				by = `namespace=~"$workloads"`
			}
			if !strings.Contains(target.Expr, by) {
				t.Errorf("panel %q does not choose by %s: %s", panel.Title, by, target.Expr)
			}
		}
	}
}
