package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spire-injector/spire-injector/webhook/intent"
)

// policyFigures are how long after kubectl annotate has returned the pod obeys.
type policyFigures struct {
	Allowed spread `json:"allowed"` // until a new peer gets ok
	Refused spread `json:"refused"` // until a removed peer is refused, although its Envoy holds a connection open
}

const (
	policyCallEvery = 20 * time.Millisecond
	// settling keeps changes apart, as they are in real life: the kubelet delays those that follow each other at once.
	settling = 3 * time.Second
)

func measurePolicy(ctx context.Context, s settings, c *cluster, r *report) error {
	var allowed, refused []seconds
	defer func() {
		if len(allowed) > 0 {
			r.Policy = &policyFigures{Allowed: spreadOf(allowed), Refused: spreadOf(refused)}
		}
	}()
	return c.in(ctx, "policy", func(namespace string) error {
		w := workloads{
			namespace: namespace, image: c.env.Images[sampleImage], every: policyCallEvery.String(),
			allowed: "/ns/" + namespace + "/somebody-else",
		}
		manifest, err := w.manifest()
		if err != nil {
			return err
		}
		if _, err := c.kubectl.With(ctx, manifest, "apply", "-f", "-"); err != nil {
			return err
		}
		for _, name := range []string{"api", "client"} {
			if err := c.waitRollout(ctx, namespace, name); err != nil {
				return err
			}
		}
		for i := range s.times {
			yes, err := c.obeyed(ctx, w, w.allowed+", "+w.clientID(), true)
			if err != nil {
				return fmt.Errorf("allowing the client: %w", err)
			}
			no, err := c.obeyed(ctx, w, w.allowed, false)
			if err != nil {
				return fmt.Errorf("removing the client: %w", err)
			}
			allowed, refused = append(allowed, seconds(yes)), append(refused, seconds(no))
			c.tell("%d of %d: allowed after %.3f s, refused after %.3f s", i+1, s.times, yes.Seconds(), no.Seconds())
		}
		return nil
	})
}

// obeyed changes the API's peers and returns how long after that the client's calls have the wanted outcome; zero if
// they have it before kubectl is back.
func (c *cluster) obeyed(ctx context.Context, w workloads, peers string, ok bool) (time.Duration, error) {
	select {
	case <-time.After(settling):
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	api, err := c.podOf(ctx, w.namespace, "api")
	if err != nil {
		return 0, err
	}
	client, err := c.podOf(ctx, w.namespace, "client")
	if err != nil {
		return 0, err
	}
	started := time.Now()
	if _, err := c.kubectl.Run(ctx, "--namespace", w.namespace, "annotate", "--overwrite", "pod", api, intent.AnnotationAllowedPeers+"="+peers); err != nil {
		return 0, err
	}
	returned := time.Now()
	var change time.Time
	var before int
	err = c.follow(ctx, w.namespace, client, "client", started, func(l logLine) bool {
		change = l.at
		if l.ok() != ok {
			before++
		}
		return l.ok() == ok
	})
	switch {
	case err != nil:
		return 0, err
	case before == 0:
		return 0, errors.New("the calls had the wanted outcome already before the change, so that nothing was measured")
	}
	return max(0, change.Sub(returned)), nil
}
