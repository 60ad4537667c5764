package main

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"text/tabwriter"

	"github.com/google/go-cmp/cmp"
)

func roundCosting(plain, others float64) map[string]creation {
	round := map[string]creation{}
	for _, v := range variants() {
		c := cost{APIServer: others, Webhook: 1}
		if v == withoutWebhook() {
			c.APIServer = plain
		}
		update := cost{APIServer: 2 * c.APIServer}
		round[v.name] = creation{Cost: &c, UpdateCost: &update}
	}
	return round
}

func TestCostsAreOfNeighbours(t *testing.T) {
	rounds := []map[string]creation{roundCosting(2, 4), roundCosting(4, 4), roundCosting(3, 9)}
	all := costsOf(rounds)
	want := costs{
		Creation: cost{APIServer: 4, Webhook: 1}, StatusUpdate: cost{APIServer: 8},
		CreationRatio: ratios{Median: 2, All: []float64{2, 1, 3}}, StatusUpdateRatio: ratios{Median: 2, All: []float64{2, 1, 3}},
	}
	if diff := cmp.Diff(want, all[ours().name]); diff != "" {
		t.Errorf("costs of ours (-want +got):\n%s", diff)
	}
	var out bytes.Buffer
	table := tabwriter.NewWriter(&out, 0, 0, 1, ' ', 0)
	printCosts(table, creationFigures{Rounds: rounds, Costs: all})
	if err := table.Flush(); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(strings.Fields(out.String()), " "); !strings.Contains(got, "ours 4.00 2.00 × 1.00 8.00 2.00 × 0.00") {
		t.Errorf("printed:\n%s", &out)
	}
}

// Where no processor time can be read, the rest is measured and the table says why it is empty.
func TestCostsThatCannotBeRead(t *testing.T) {
	operated := false
	c, err := noCost(context.Background(), 1, func() error { operated = true; return errors.New("failed") })
	if c != nil || err == nil || !operated {
		t.Errorf("expected the operation and its error alone, got cost %v, error %v, operated: %t", c, err, operated)
	}
	rounds := []map[string]creation{{"none": {}, "ours": {}}}
	if got := costsOf(rounds); got != nil {
		t.Errorf("expected no costs, got %v", got)
	}
	var out bytes.Buffer
	printCosts(&out, creationFigures{Rounds: rounds, Unreadable: "measure on the node"})
	if !strings.Contains(out.String(), "measure on the node") {
		t.Errorf("printed:\n%s", &out)
	}
}
