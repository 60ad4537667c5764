package monitoring

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestExported(t *testing.T) {
	t.Parallel()
	got, err := Exported(`# TYPE calls_total counter
calls_total{code="OK",method="a"} 1
calls_total{code="Unknown",method="a"} 2
# TYPE took_seconds histogram
took_seconds_bucket{method="a",le="1"} 1
took_seconds_bucket{method="a",le="+Inf"} 1
took_seconds_sum{method="a"} 0.5
took_seconds_count{method="a"} 1
# TYPE ready gauge
ready 1
`)
	if err != nil {
		t.Fatal(err)
	}
	want := Metrics{
		"calls_total":         {"code": {"OK", "Unknown"}, "method": {"a"}},
		"took_seconds_bucket": {"method": {"a"}, "le": nil},
		"took_seconds_sum":    {"method": {"a"}},
		"took_seconds_count":  {"method": {"a"}},
		"ready":               {},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if _, err := Exported("{"); err == nil {
		t.Error("expected an error of text that is no metrics")
	}
}

func TestLacks(t *testing.T) {
	t.Parallel()
	metrics := Metrics{"calls_total": {"code": {"OK", "Unknown"}, "method": nil}}
	reading := func(metric string, matcher Matcher) Reading {
		return Reading{Selectors: []Selector{{Metric: metric, Matchers: []Matcher{matcher}}}}
	}
	for _, test := range []struct {
		name    string
		reading Reading
		want    []string
	}{
		{"known", reading("calls_total", Matcher{"code", "=", "OK"}), nil},
		{"alternatives", reading("calls_total", Matcher{"code", "=~", "OK|Unknown"}), nil},
		{"any value", reading("calls_total", Matcher{"method", "=", "whatever"}), nil},
		{"label of the scrape", reading("calls_total", Matcher{"namespace", "=~", "$namespace"}), nil},
		{"metric", reading("call_total", Matcher{}), []string{`here: there is no metric "call_total": in expr`}},
		{"label", reading("calls_total", Matcher{"cod", "=", "OK"}), []string{`here: calls_total has no label "cod": in expr`}},
		{"value", reading("calls_total", Matcher{"code", "!=", "ok"}), []string{`here: the label "code" of calls_total is never "ok": in expr`}},
		{"alternative", reading("calls_total", Matcher{"code", "!~", "OK|ok"}), []string{`here: the label "code" of calls_total is never "ok": in expr`}},
		{"grouping", Reading{Groupings: []Grouping{{Labels: []string{"method", "pod", "cod"}, Metrics: []string{"calls_total"}}}},
			[]string{`here: calls_total has no label "cod": in expr`}},
	} {
		if diff := cmp.Diff(test.want, metrics.Lacks(Expression{Where: "here", PromQL: "expr"}, test.reading)); diff != "" {
			t.Errorf("%s: -want +got:\n%s", test.name, diff)
		}
	}
	if got := metrics.WithoutValues().Lacks(Expression{}, reading("calls_total", Matcher{"code", "=", "ok"})); got != nil {
		t.Errorf("expected every value to be possible, got %q", got)
	}
}

func TestExceeds(t *testing.T) {
	t.Parallel()
	known := Metrics{"own_calls_total": {"code": {"OK", "Unknown"}, "method": nil}}
	got := Metrics{
		"own_calls_total": {"code": {"OK", "ok"}, "method": {"any"}, "pod": {"a"}},
		"own_secret":      {},
		"others":          {},
	}.Exceeds(known, "own_")
	slices.Sort(got)
	want := []string{`own_calls_total has code="ok", expected one of OK, Unknown`, `own_calls_total has the label "pod", which is not known`, "own_secret is not known"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
