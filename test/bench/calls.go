package main

import (
	"context"
	"strings"
)

// ownCalls is the injector's count of its calls to SPIRE.
const ownCalls = "spire_injector_spire_requests_total"

// ownCallsOf is nil before the injector has counted any, and for everybody else.
func ownCallsOf(replicas []sums) *float64 {
	var total *float64
	for _, s := range replicas {
		if n, ok := s[ownCalls]; ok {
			if total == nil {
				total = new(float64)
			}
			*total += n
		}
	}
	return total
}

// difference is nil without a count after; without one before, there was none yet.
func difference(before, after *float64) *int {
	if after == nil {
		return nil
	}
	d := int(*after)
	if before != nil {
		d -= int(*before)
	}
	return &d
}

// serverCalls begins the server's count of calls; the rest of the name is the method.
const serverCalls = "spire_server_rpc_"

// calls are those that SPIRE has had so far, by method: those that change or list entries or federation relationships.
// Agents have others, and so have the questions of the bench.
type calls map[string]int

func callsOf(replicas []sums) calls {
	out := calls{}
	for _, s := range replicas {
		for name, n := range s {
			if method, ok := strings.CutPrefix(name, serverCalls); ok && ofRegistrants(method) {
				out[method] += int(n)
			}
		}
	}
	return out
}

// ofRegistrants says whether those who register workloads make this call, and nobody else here.
func ofRegistrants(method string) bool {
	if strings.HasPrefix(method, "trustdomain_v1_") {
		return true
	}
	call, ok := strings.CutPrefix(method, "entry_v1_entry_")
	return ok && (strings.HasPrefix(call, "batch_") || call == "list_entries" || call == "get_entry")
}

// since are the calls after an earlier look.
func (c calls) since(earlier calls) calls {
	out := calls{}
	for method, n := range c {
		if n > earlier[method] {
			out[method] = n - earlier[method]
		}
	}
	return out
}

func (c calls) total() (n int) {
	for _, one := range c {
		n += one
	}
	return n
}

// countCalls counts the calls to SPIRE from now on.
func (c *cluster) countCalls(ctx context.Context, r registrant) (end func() (calls, *int, error), err error) {
	look := func() (calls, *float64, error) {
		server, err := c.scrape(ctx, theServer())
		if err != nil {
			return nil, nil, err
		}
		own, err := c.scrape(ctx, r.processes)
		if err != nil {
			return nil, nil, err
		}
		return callsOf(server), ownCallsOf(own), nil
	}
	first, firstOwn, err := look()
	if err != nil {
		return nil, err
	}
	return func() (calls, *int, error) {
		last, lastOwn, err := look()
		if err != nil {
			return nil, nil, err
		}
		return last.since(first), difference(firstOwn, lastOwn), nil
	}, nil
}
