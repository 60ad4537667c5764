package federation

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spire-injector/spire-injector/registrar"
)

// fetch has SPIRE fetch a bundle, and takes note of how it ended.
func (s *Syncer) fetch(ctx context.Context, d *domain, r registrar.Relationship) {
	within, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	var bundle registrar.Bundle
	err := s.config.SPIRE.RefreshBundle(within, r.TrustDomain)
	if err == nil {
		bundle, err = s.config.SPIRE.FederatedBundle(within, r.TrustDomain)
	}
	if within.Err() != nil {
		err = fmt.Errorf(
			"SPIRE did not get the bundle of %s within %s: look whether it reaches %s: %w",
			r.TrustDomain,
			fetchTimeout,
			r.BundleEndpointURL,
			err,
		)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if ctx.Err() != nil || s.domains[d.TrustDomain] != d {
		return // no longer of interest
	}
	s.fetched(d, bundle, err)
	s.awaitBundles()
}

// fetched takes note of the end of a fetch.
func (s *Syncer) fetched(d *domain, bundle registrar.Bundle, err error) {
	before, now := *d, time.Now()
	d.end(now, err, spread())
	s.metrics.fetched(d, err)
	if err != nil {
		s.report.notFetched(d, err, now)
		if errors.Is(err, registrar.ErrNoRelationship) && !d.rejected {
			d.inPlace = false // somebody removed it
			s.queue.Add(relationships)
		}
		s.metrics.seen(d)
		return
	}
	d.seen, d.present, d.keys = true, true, bundle.Keys
	s.metrics.seen(d)
	if before.keys != "" && before.keys != d.keys {
		s.metrics.changed(d)
	}
	s.report.fetched(d, before)
	if !before.present {
		s.config.Arrived()
	}
}
