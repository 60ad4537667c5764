package verdict

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/spire-injector/spire-injector/templates"
)

const (
	lds  = templates.ListenersFile
	cds  = templates.ClustersFile
	ecds = templates.AuthorizationFile
)

func TestFirst(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		now  templates.Updates
		want Verdict
	}{
		"nothing known":     {nil, Verdict{Outcome: Pending}},
		"not read":          {templates.Updates{lds: {}, cds: {}}, Verdict{Outcome: Pending}},
		"read in part":      {templates.Updates{lds: {}, cds: {Taken: 1}}, Verdict{Outcome: Pending}},
		"taken":             {templates.Updates{lds: {Taken: 1}, cds: {Taken: 1}}, Verdict{Outcome: Taken}},
		"refused later":     {templates.Updates{lds: {Taken: 1, Refused: 1}, cds: {Taken: 2}}, Verdict{Outcome: Taken}},
		"listeners refused": {templates.Updates{lds: {Refused: 1}, cds: {Taken: 1}}, Verdict{Rejected, []string{lds}}},
		"all refused": {
			templates.Updates{lds: {Refused: 1}, cds: {Refused: 2}, ecds: {}}, Verdict{Rejected, []string{cds, lds}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(test.want, First(test.now)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestJudge(t *testing.T) {
	t.Parallel()
	first := templates.Updates{lds: {Taken: 1}, cds: {Taken: 1}}
	later := templates.Updates{lds: {Taken: 7, Refused: 2}, cds: {Taken: 9}}
	tests := []struct {
		name          string
		before, after templates.Updates
		want          Verdict
	}{
		{"not read", first, first, Verdict{Outcome: Pending}},
		{"read in part", first, templates.Updates{lds: {Taken: 2}, cds: {Taken: 1}}, Verdict{Outcome: Pending}},
		{"taken", first, templates.Updates{lds: {Taken: 2}, cds: {Taken: 2}}, Verdict{Outcome: Taken}},
		{
			"listeners refused",
			first,
			templates.Updates{lds: {Taken: 1, Refused: 1}, cds: {Taken: 2}},
			Verdict{Rejected, []string{lds}},
		},
		{
			"clusters refused before the listeners are read",
			first,
			templates.Updates{lds: {Taken: 1}, cds: {Taken: 1, Refused: 1}},
			Verdict{Rejected, []string{cds}},
		},
		{
			"all refused",
			first,
			templates.Updates{lds: {Taken: 1, Refused: 1}, cds: {Taken: 1, Refused: 1}},
			Verdict{Rejected, []string{cds, lds}},
		},
		{
			"refused long ago, taken now",
			later,
			templates.Updates{lds: {Taken: 8, Refused: 2}, cds: {Taken: 10}},
			Verdict{Outcome: Taken},
		},
		{"restarted", later, templates.Updates{lds: {Taken: 1}, cds: {Taken: 1}}, Verdict{Outcome: Taken}},
		{
			"restarted, and refused",
			later,
			templates.Updates{lds: {Refused: 1}, cds: {Taken: 1}},
			Verdict{Rejected, []string{lds}},
		},
		{
			"a file more than before",
			first,
			templates.Updates{lds: {Taken: 2}, cds: {Taken: 2}, ecds: {}},
			Verdict{Outcome: Pending},
		},
		{"nothing known before", nil, templates.Updates{lds: {Taken: 1}}, Verdict{Outcome: Taken}},
		{"nothing known after", first, nil, Verdict{Outcome: Pending}},
	}
	for _, test := range tests {
		if diff := cmp.Diff(test.want, Judge(test.before, test.after)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
	}
}

func TestStanding(t *testing.T) {
	t.Parallel()
	at := time.UnixMilli
	tests := []struct {
		name string
		now  templates.Updates
		want Verdict
	}{
		{
			"never refused",
			templates.Updates{lds: {Taken: 1, Last: at(1000)}, cds: {Taken: 2, Last: at(9000)}},
			Verdict{Outcome: Taken},
		},
		{
			"refused, then taken",
			templates.Updates{lds: {Taken: 1, Refused: 1, Last: at(9000)}, cds: {Taken: 2, Last: at(9005)}},
			Verdict{Outcome: Taken},
		},
		{
			"refused last",
			templates.Updates{lds: {Taken: 1, Refused: 1, Last: at(1000)}, cds: {Taken: 2, Last: at(9005)}},
			Verdict{Rejected, []string{lds}},
		},
		{
			"refused ever",
			templates.Updates{lds: {Refused: 1}, cds: {Taken: 2, Last: at(9005)}},
			Verdict{Rejected, []string{lds}},
		},
	}
	for _, test := range tests {
		if diff := cmp.Diff(test.want, Standing(test.now)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
	}
}
