package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// measure is one thing that can be measured; it puts its figures into the report.
type measure struct {
	name, short string
	take        func(ctx context.Context, s settings, c *cluster, r *report) error
}

func measures() []measure {
	return []measure{
		{"size", "Bytes of generated configuration", measureSize},
		{"creations", "Pods created per second without a webhook, with one that does nothing, and with ours", measureCreations},
		{"first-ok", "Seconds from kubectl apply to the first answered call, and where they go", measureFirstOK},
		{"policy", "Seconds until a changed list of allowed peers is in force on a running pod", measurePolicy},
		{"memory", "Memory of idle sidecars", measureMemory},
	}
}

// takeAll goes on after a measure that failed; the error has all failures.
func takeAll(ctx context.Context, s settings, chosen []measure, progress io.Writer) (report, error) {
	c, err := openCluster(ctx, progress)
	if err != nil {
		return report{}, err
	}
	r := report{Machine: thisMachine(), Cluster: c.versions(ctx)}
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
