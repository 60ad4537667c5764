package main

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// burstFigures are of many pods at once.
type burstFigures struct {
	Registrant string `json:"registrant"`
	Pods       int    `json:"pods"`
	Accounts   int    `json:"accounts"` // service accounts, so identities
	Entries    int    `json:"entries"`
	Creation   load   `json:"creation"` // P50 and P99 are what users wait, admission included
	// Registered is from the answer to the last pod's creation until SPIRE has the entries of all; at least what a look
	// takes.
	Registered seconds `json:"registered"`
	// Calls are all that SPIRE had from registrants from the first pod's creation until then, by its own count.
	Calls    calls   `json:"calls"`
	PerPod   float64 `json:"callsPerPod"`
	OwnCalls *int    `json:"ownCalls,omitempty"` // the registrant's own count of its calls, if it has one
	// Usage is during the same time, by program.
	Usage map[string]usage `json:"usage"`
}

// burst is how many pods of how many service accounts.
type burst struct{ pods, accounts int }

func (s settings) allBursts() []burst {
	var all []burst
	for _, pods := range s.bursts {
		all = append(all, burst{pods: pods, accounts: 1})
	}
	return append(all, burst{pods: s.accounts, accounts: s.accounts})
}

func (c *cluster) measureBurst(ctx context.Context, r registrant, b burst, atOnce int) (f burstFigures, err error) {
	f = burstFigures{Registrant: r.name, Pods: b.pods, Accounts: b.accounts, Entries: r.entries(b.pods, b.accounts)}
	err = c.registering(ctx, r, b.accounts, func(namespace string) error {
		count, err := c.countCalls(ctx, r)
		if err != nil {
			return err
		}
		used, err := c.watch(ctx, watched{r.name: r.processes, "spire-server": theServer()})
		if err != nil {
			return err
		}
		if f.Creation, err = c.createBound(ctx, namespace, r, b, atOnce); err != nil {
			return err
		}
		last := time.Now()
		if err := c.awaitEntries(ctx, r.filter(namespace), warmUpPods+f.Entries, registrationTimeout); err != nil {
			return err
		}
		f.Registered = seconds(time.Since(last))
		if f.Usage, err = used(); err != nil {
			return err
		}
		f.Calls, f.OwnCalls, err = count()
		f.PerPod = ratio(float64(f.Calls.total()), float64(b.pods))
		return err
	})
	return f, err
}

// createBound creates the pods of a burst; service accounts take turns.
func (c *cluster) createBound(ctx context.Context, namespace string, r registrant, b burst, atOnce int) (load, error) {
	var pods []*corev1.Pod
	for i := range b.accounts {
		pods = append(pods, boundPod(namespace, accountName(i), r))
	}
	return c.createPods(ctx, pods, b.pods, atOnce, 1)
}

// createPods creates n pods of one namespace, of which the given ones are taken in turn. One that is refused is tried
// again after a second, as its controller would, until there were so many tries; then it is an error.
func (c *cluster) createPods(ctx context.Context, pods []*corev1.Pod, n, atOnce, tries int) (load, error) {
	var bodies [][]byte
	for _, pod := range pods {
		body, err := request(pod)
		if err != nil {
			return load{}, err
		}
		bodies = append(bodies, body)
	}
	namespace := pods[0].Namespace
	var next atomic.Int64
	l, err := drive(ctx, n, atOnce, func(ctx context.Context) error {
		body := bodies[int(next.Add(1)-1)%len(bodies)]
		create := func(ctx context.Context) error {
			return c.client.CoreV1().RESTClient().Post().Namespace(namespace).Resource("pods").
				SetHeader("Content-Type", "application/json").Body(body).Do(ctx).Error()
		}
		err := create(ctx)
		for tried := 1; err != nil && tried < tries && ctx.Err() == nil; tried++ {
			time.Sleep(time.Second)
			err = create(ctx)
		}
		return err
	})
	if err == nil && l.Errors > 0 {
		err = fmt.Errorf("%d of %d pods were not created, so that their entries would be waited for in vain: %s", l.Errors, n, l.FirstError)
	}
	return l, err
}
