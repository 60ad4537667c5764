package frontproxy

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spire-injector/spire-injector/test/demo/scene"
)

// goneLimit is the grace time of entries, a minute in this demo, and as much again.
const goneLimit = 2 * time.Minute

func tellGone(ctx context.Context, d demo) (any, error) {
	facts := struct {
		Before  []string `json:"before"`
		Seconds float64  `json:"secondsToGone"`
		Left    []string `json:"left"`
	}{}
	before, err := d.scene.workloadEntries(ctx)
	if err != nil {
		return facts, err
	}
	facts.Before = before
	if want := []string{BackendID, GeneratorID, ProxyID}; !slices.Equal(slices.Sorted(slices.Values(before)), want) {
		return facts, &scene.Mismatch{What: scene.EntriesCommand().String(), Expected: strings.Join(want, ", "), Got: strings.Join(before, ", ")}
	}
	d.Story.Say("Until here SPIRE has an entry for each of the three, which nobody wrote: %s. The demo's namespaces are deleted, and nothing else "+
		"is done.", strings.Join(before, ", "))
	removed, err := d.Scene.Run(ctx, scene.Command{Args: []string{"delete", "namespace", Proxy, Backend, GeneratorNamespace, "--timeout=180s"}})
	if err != nil {
		return facts, err
	}
	d.Show(removed)
	done := d.Waiting("waiting for the entries to go, a minute after nobody needs them")
	found, err := scene.Poll(ctx, goneLimit, func() (bool, error) {
		var err error
		facts.Left, err = d.scene.workloadEntries(ctx)
		return len(facts.Left) == 0, err
	})
	done()
	facts.Seconds = removed.Until(time.Now())
	if err == nil && !found {
		err = &scene.Mismatch{What: scene.EntriesCommand().String(), Expected: "no entry of a workload", Got: strings.Join(facts.Left, ", ")}
	}
	if err != nil {
		return facts, err
	}
	r, err := d.Scene.Run(ctx, scene.EntriesCommand())
	if err != nil {
		return facts, err
	}
	r.Command.Pipe = "grep 'SPIFFE ID'"
	d.Story.Typed(r.Command.String())
	for _, e := range scene.ParseEntries(r.Stdout) {
		d.Story.Came("SPIFFE ID        : " + e.SPIFFEID + "\n")
	}
	d.Story.Checked("%.0f s after the deletion SPIRE knows nobody but the nodes and the injector", facts.Seconds)
	return facts, nil
}

// workloadEntries are the SPIFFE IDs in SPIRE other than those of the nodes and of the injector.
func (s stage) workloadEntries(ctx context.Context) ([]string, error) {
	all, err := s.Entries(ctx)
	ids := []string{}
	for _, e := range all {
		own := strings.HasPrefix(e.SPIFFEID, "spiffe://"+trustDomain+"/ns/spire-injector/") || strings.HasPrefix(e.SPIFFEID, "spiffe://"+trustDomain+"/spire-injector/") ||
			strings.HasPrefix(e.SPIFFEID, "spiffe://"+trustDomain+"/bootstrap/")
		if !own {
			ids = append(ids, e.SPIFFEID)
		}
	}
	return ids, err
}
