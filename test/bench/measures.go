package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"
)

// measure is one thing that can be measured; it puts its figures into the report.
type measure struct {
	name, short string
	needs       need
	take        func(ctx context.Context, s settings, c *cluster, r *report) error
}

// need is what a measure cannot do without.
type need bool

const (
	sources    need = false
	theCluster need = true
)

func measures() []measure {
	return []measure{
		{"size", "Bytes of generated configuration", sources, measureSize},
		{"answers", "Time and memory of one answer of the mutating webhook, beside Istio's", sources, measureAnswers},
		{"proxy", "Latency, processor time and memory of the generated configuration beside one that is written by hand", sources, measureProxy},
		{"scale", "Work of the registrar and the rollout for an event and for a full pass, and how it grows, in simulated clusters", sources, measureScale},
		{"identities", "Entries, calls to SPIRE and SVIDs that are signed for many pods on two nodes, beside spire-controller-manager", sources, measureIdentities},
		{"starts", "Seconds from a pod's binding to its SVID on two nodes, with rows of single nodes and of all", sources, measureStarts},
		{"replica", "Memory of a replica with many injected pods and workloads, and whether it stays", sources, measureReplica},
		{"creations", "Pods created per second, and processor time of creations and status updates, without a webhook, with one that does nothing, with a constant patch, and with ours", theCluster, measureCreations},
		{"first-ok", "Seconds from kubectl apply to the first answered call, and where they go", theCluster, measureFirstOK},
		{"policy", "Seconds until a changed list of allowed peers is in force on a running pod", theCluster, measurePolicy},
		{"quarantine", "Seconds until the peers of an identity refuse it, after it was put on the list quarantine", theCluster, measureQuarantine},
		{"registration", "Seconds until SPIRE has the entries of many pods and of one, calls, processor time and memory, beside spire-controller-manager", theCluster, measureRegistration},
		{"hostile", "Seconds until honest pods are created while another tenant sends pods that are small for what they ask for", theCluster, measureHostile},
		{"memory", "Memory of idle sidecars", theCluster, measureMemory},
		{"questions", "Seconds that the commands take which answer questions about a cluster of 2,000 injected pods", theCluster, measureQuestions},
	}
}

// takeAll goes on after a measure that failed; the error has all failures.
func takeAll(ctx context.Context, s settings, chosen []measure, progress io.Writer) (report, error) {
	r := report{Machine: thisMachine()}
	s.progress = progress
	var c *cluster
	if slices.ContainsFunc(chosen, func(m measure) bool { return m.needs == theCluster }) {
		var err error
		if c, err = openCluster(ctx, progress); err != nil {
			return r, err
		}
		r.Cluster = c.versions(ctx)
	}
	var errs []error
	for _, m := range chosen {
		start := time.Now()
		fmt.Fprintf(progress, "measuring %s\n", m.name)
		if err := m.take(ctx, s, c, &r); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", m.name, err))
		}
		fmt.Fprintf(progress, "measuring %s … %.0f s\n", m.name, time.Since(start).Seconds())
		if ctx.Err() != nil {
			break
		}
	}
	return r, errors.Join(errs...)
}
