package registrar_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/spire-injector/spire-injector/registrar"
)

func pod(name string) registrar.Owner {
	return registrar.Owner{Kind: "Pod", Namespace: "default", Name: name}
}

func needs(workloads ...registrar.Workload) registrar.Needs {
	return registrar.Needs{Workloads: workloads}
}

func TestDemandTellsWhatChanged(t *testing.T) {
	c := demoCluster(t)
	api, web := c.WorkloadEntry(workload("/api", 0)).ID, c.WorkloadEntry(workload("/web", 0)).ID
	d := registrar.NewDemand(c)
	for i, step := range []struct {
		what    string
		owner   registrar.Owner
		needs   registrar.Needs
		changed []string
	}{
		{"the first owner", pod("a"), needs(workload("/api", 0)), []string{api}},
		{"the same again", pod("a"), needs(workload("/api", 0)), nil},
		{"a second owner with the same attributes", pod("b"), needs(workload("/api", 0)), nil},
		{"a third one with others", pod("c"), needs(workload("/api", time.Minute)), []string{api}},
		{"it goes", pod("c"), registrar.Needs{}, []string{api}},
		{"it was not there", pod("c"), registrar.Needs{}, nil},
		{"one of two goes", pod("a"), registrar.Needs{}, nil},
		{"another identity", pod("b"), needs(workload("/web", 0)), []string{api, web}},
		{"held as well", pod("d"), registrar.Needs{Held: []string{web}}, []string{web}},
		{"only held", pod("b"), registrar.Needs{}, []string{web}},
		{"not even held", pod("d"), registrar.Needs{}, []string{web}},
	} {
		slices.Sort(step.changed)
		if got := d.Set(step.owner, step.needs); !slices.Equal(got, step.changed) {
			t.Errorf("%d, %s: changed %v, want %v", i, step.what, got, step.changed)
		}
	}
	if n := d.Len(); n != 0 {
		t.Errorf("%d entries are wanted by nobody", n)
	}
}

func TestDemandConverges(t *testing.T) {
	c := demoCluster(t)
	d := registrar.NewDemand(c)
	for i := range 100 {
		d.Set(pod(fmt.Sprint("long-", i)), needs(workload("/api", time.Hour)))
	}
	short := workload("/api", time.Minute)
	short.DNSNames = []string{"api.example.org"}
	d.Set(pod("a-short"), needs(short))
	id := c.WorkloadEntry(short).ID

	w, ok := d.Of(id)
	if !ok || w.Entry == nil || w.Entry.X509SVIDTTL != time.Minute || !slices.Equal(w.Entry.DNSNames, short.DNSNames) {
		t.Errorf("wanted %+v, %v; want the shorter TTL and the DNS name", w.Entry, ok)
	}
	if len(w.Owners) != 3 {
		t.Errorf("%d owners are named, want 3 of them: %v", len(w.Owners), w.Owners)
	}
	d.Set(pod("a-short"), registrar.Needs{Held: []string{id}})
	if w, _ = d.Of(id); w.Entry == nil || w.Entry.X509SVIDTTL != time.Hour || w.Entry.DNSNames != nil {
		t.Errorf("wanted %+v when the one with the shorter TTL only holds the entry; want what the others need", w.Entry)
	}
	for i := range 100 {
		d.Set(pod(fmt.Sprint("long-", i)), registrar.Needs{})
	}
	if w, ok = d.Of(id); !ok || w.Entry != nil || !slices.Equal(w.Owners, []registrar.Owner{pod("a-short")}) {
		t.Errorf("wanted %+v, %v; want that it is only held, by a-short", w, ok)
	}
}

// Whoever runs with an entry confirms it for the next one.
func TestDemandConfirms(t *testing.T) {
	c := demoCluster(t)
	d := registrar.NewDemand(c)
	template := registrar.Owner{Kind: "Deployment", Namespace: "default", Name: "api"}
	wanted := func(ttl time.Duration) registrar.Entry { return c.WorkloadEntry(workload("/api", ttl)) }
	for i, step := range []struct {
		what  string
		owner registrar.Owner
		needs registrar.Needs
		want  bool
	}{
		{"a template", template, needs(workload("/api", time.Hour)), false},
		{"a pod that SPIRE did not answer for", pod("late"), registrar.Needs{Workloads: []registrar.Workload{workload("/api", time.Hour)}, Unconfirmed: true}, false},
		{"a pod of another identity", pod("web"), needs(workload("/web", time.Hour)), false},
		{"a pod that only holds it", pod("old"), registrar.Needs{Held: []string{wanted(0).ID}}, false},
		{"a pod", pod("a"), needs(workload("/api", time.Hour)), true},
		{"another one", pod("b"), needs(workload("/api", time.Hour)), true},
		{"one is gone", pod("a"), registrar.Needs{}, true},
		{"the other one is gone", pod("b"), registrar.Needs{}, false},
		{"a pod with another TTL", pod("short"), needs(workload("/api", time.Minute)), true},
		{"whose answer is taken back", pod("short"), registrar.Needs{Workloads: []registrar.Workload{workload("/api", time.Minute)}, Unconfirmed: true}, false},
	} {
		d.Set(step.owner, step.needs)
		if got := d.Confirmed(wanted(time.Hour).ID); got != step.want {
			t.Errorf("%d, %s: confirmed %t, want %t", i, step.what, got, step.want)
		}
	}
	if got := d.Pods(slices.Values([]string{wanted(0).ID})); got != 3 {
		t.Errorf("%d pods need the entry, want 3: late, old and short", got)
	}
}
