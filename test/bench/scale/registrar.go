package scale

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spire-injector/spire-injector/registrar"
)

// RegistrarFigures are the work of the leading replica's registrar in a cluster of one size.
type RegistrarFigures struct {
	Size    Size `json:"size"`
	Entries int  `json:"entries"` // workloads' entries and rows, of everything at rest
	// Start is the first pass, which makes all entries.
	Start Cost `json:"start"`
	// Pass is one in which nothing is to be done.
	Pass PerOne `json:"pass"`
	// Held is how many bytes the demand and what is known of SPIRE keep.
	Held   int            `json:"heldBytes"`
	Events []EventFigures `json:"events"`
	// Rollout is what it costs that every pod gives way to another one, on other nodes where there are any; Peak is how
	// many entries SPIRE has then, before the old rows go after the grace time.
	Rollout PerOne `json:"rolloutPerPod"`
	Peak    int    `json:"peakEntries"`
}

// EventFigures are the cost of one event, when they come one after the other.
type EventFigures struct {
	Event string `json:"event"`
	PerOne
}

const (
	// eventsOfAKind is how many of each kind of event are tried.
	eventsOfAKind = 100
	passes        = 3
	// passTimeout is far longer than any pass takes.
	passTimeout = 5 * time.Minute
)

// Registrar measures a cluster of one size.
func Registrar(ctx context.Context, size Size) (RegistrarFigures, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s, err := newSimulation(size)
	if err != nil {
		return RegistrarFigures{}, err
	}
	f := RegistrarFigures{Size: size}
	before := held()
	s.fill()
	if f.Start, err = s.cost(func() error {
		go s.reconciler.Run(ctx)
		return s.await(ctx, full)
	}); err != nil {
		return f, fmt.Errorf("first pass: %w", err)
	}
	f.Held, f.Entries = held()-before, s.entries()
	pass, err := s.cost(func() error { return s.resync(ctx, passes) })
	if err != nil {
		return f, fmt.Errorf("passes with nothing to do: %w", err)
	}
	f.Pass = pass.per(passes)
	for _, e := range s.events() {
		cost, err := s.cost(func() error { return s.each(ctx, e) })
		if err != nil {
			return f, fmt.Errorf("%s: %w", e.name, err)
		}
		f.Events = append(f.Events, EventFigures{e.name, cost.per(e.times)})
	}
	rollout, err := s.cost(func() error { return s.rollOut(ctx) })
	if err != nil {
		return f, fmt.Errorf("rollout: %w", err)
	}
	f.Rollout, f.Peak = rollout.per(size.Pods), s.entries()
	return f, nil
}

// simulation is a registrar at work in a cluster.
type simulation struct {
	identities
	size       Size
	demand     *registrar.Demand
	spire      *spire
	reconciler *registrar.Reconciler
	passes     chan registrar.Pass
}

func newSimulation(size Size) (*simulation, error) {
	all, err := newIdentities(size.Workloads + eventsOfAKind)
	if err != nil {
		return nil, err
	}
	s := &simulation{
		identities: all,
		size:       size,
		demand:     registrar.NewDemand(all.cluster),
		spire:      newSPIRE(),
		passes:     make(chan registrar.Pass, 1),
	}
	// No pass comes by itself during an experiment.
	s.reconciler = registrar.NewReconciler(all.cluster, s.spire, s.demand, registrar.ReconcilerOptions{
		Interval: 24 * time.Hour, Grace: 24 * time.Hour,
	})
	s.reconciler.OnPass(func(p registrar.Pass) {
		p.Steps = nil
		s.passes <- p
	})
	return s, nil
}

// fill makes the nodes and the pods.
func (s *simulation) fill() {
	for n := range s.size.Nodes {
		s.demand.SetNode(nodeName(n), nodeUID(n))
	}
	s.size.pods(0, func(p pod) { s.demand.Set(p.owner(), s.needs(p, s.size.node(p))) })
}

func (s *simulation) entries() int {
	entries, _ := s.spire.counts()
	return entries
}

// cost adds the calls to SPIRE.
func (s *simulation) cost(do func() error) (Cost, error) {
	_, before := s.spire.counts()
	cost, err := spent(do)
	_, after := s.spire.counts()
	cost.Calls = after - before
	return cost, err
}

// resync waits for some full passes, one after the other.
func (s *simulation) resync(ctx context.Context, times int) error {
	for range times {
		s.reconciler.Resync()
		if err := s.await(ctx, full); err != nil {
			return err
		}
	}
	return nil
}

func full(p registrar.Pass) bool { return p.Full }

func either(registrar.Pass) bool { return true }

// await waits for a pass.
func (s *simulation) await(ctx context.Context, which func(registrar.Pass) bool) error {
	deadline := time.After(passTimeout)
	for {
		select {
		case p := <-s.passes:
			if p.Err != nil || which(p) {
				return p.Err
			}
		case <-deadline:
			return errors.New("there was no pass")
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// event is something that happens many times, each to another pod.
type event struct {
	name  string
	times int
	// do lets it happen for the i-th time, and returns the IDs of the entries that are wanted otherwise.
	do func(i int) []string
	// silent says that nothing follows from it.
	silent bool
	// await is the pass that follows.
	await func(registrar.Pass) bool
}

// events are those that a cluster has all the time. What one leaves behind the next one finds.
func (s *simulation) events() []event {
	added := func(i int) pod { return pod{workload: i, replica: replicas} }
	fresh := func(i int) pod { return pod{workload: s.size.Workloads + i} }
	times := min(eventsOfAKind, s.size.Workloads)
	return []event{
		{
			name: "a pod's status changes", times: times, silent: true,
			do: func(i int) []string {
				p := pod{workload: i}
				return s.demand.Set(p.owner(), s.needs(p, s.size.node(p)))
			},
		},
		{
			name: "a workload has one pod more, on another node", times: times, await: either,
			do: func(i int) []string {
				p := added(i)
				return s.demand.Set(p.owner(), s.needs(p, s.size.node(p)))
			},
		},
		{
			name: "that pod goes", times: times, await: either,
			do: func(i int) []string { return s.demand.Set(added(i).owner(), registrar.Needs{}) },
		},
		{
			name: "a workload is new", times: eventsOfAKind, await: either,
			do: func(i int) []string {
				p := fresh(i)
				return s.demand.Set(p.owner(), s.needs(p, s.size.node(p)))
			},
		},
		{
			name: "that workload goes", times: eventsOfAKind, await: either,
			do: func(i int) []string { return s.demand.Set(fresh(i).owner(), registrar.Needs{}) },
		},
	}
}

// each lets an event happen as often as it says, one after the other.
func (s *simulation) each(ctx context.Context, e event) error {
	for i := range e.times {
		changed := e.do(i)
		if (len(changed) == 0) != e.silent {
			return fmt.Errorf("time %d: %d entries are wanted otherwise than before", i, len(changed))
		}
		if e.silent {
			continue
		}
		s.reconciler.Changed(changed...)
		if err := s.await(ctx, e.await); err != nil {
			return err
		}
	}
	return nil
}

// rollOut lets every pod give way to another one, workload by workload: the new one comes before the old one goes.
func (s *simulation) rollOut(ctx context.Context) error {
	changes := 0
	s.size.pods(1, func(p pod) {
		old := pod{workload: p.workload, replica: p.replica}
		for _, changed := range [][]string{
			s.demand.Set(p.owner(), s.needs(p, s.size.node(p))),
			s.demand.Set(old.owner(), registrar.Needs{}),
		} {
			changes += len(changed)
			s.reconciler.Changed(changed...)
		}
	})
	if changes == 0 { // all nodes have all identities
		return nil
	}
	return s.await(ctx, func(registrar.Pass) bool { return s.reconciler.Queued() == 0 })
}
