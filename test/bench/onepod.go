package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// onePodFigures are of single pods while SPIRE has many entries of others.
type onePodFigures struct {
	Registrant string `json:"registrant"`
	Present    int    `json:"present"`
	Creation   spread `json:"creation"`   // until the API server answers
	Registered spread `json:"registered"` // from the same beginning, until SPIRE has the entry
}

// measureOnePod measures single pods, each of a service account of its own, while SPIRE has many entries of others.
func (c *cluster) measureOnePod(ctx context.Context, both []registrant, s settings, into *registrationFigures) (err error) {
	c.tell("registering %d entries that concern nobody", s.present)
	ids, err := c.addForeign(ctx, s.present)
	defer func() {
		tidying, cancel := context.WithTimeout(context.WithoutCancel(ctx), longTidyTimeout)
		defer cancel()
		err = errors.Join(err, c.removeAll(tidying, ids))
	}()
	if err != nil {
		return err
	}
	for _, r := range both {
		var creation, registered []seconds
		err := c.registering(ctx, r, s.times, func(namespace string) error {
			for i := range s.times {
				start := time.Now()
				_, err := c.client.CoreV1().Pods(namespace).Create(ctx, boundPod(namespace, accountName(i), r), metav1.CreateOptions{})
				if err != nil {
					return err
				}
				creation = append(creation, seconds(time.Since(start)))
				if err := c.awaitEntries(ctx, r.filter(namespace), warmUpPods+i+1, registrationTimeout); err != nil {
					return err
				}
				registered = append(registered, seconds(time.Since(start)))
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("%s, one pod with %d entries present: %w", r.name, s.present, err)
		}
		into.OnePod = append(into.OnePod, onePodFigures{Registrant: r.name, Present: s.present, Creation: spreadOf(creation), Registered: spreadOf(registered)})
	}
	return nil
}
