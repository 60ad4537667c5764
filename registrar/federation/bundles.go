package federation

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spire-injector/spire-injector/registrar"
)

// fetched is how a fetch ended.
type fetched struct {
	domain *domain
	bundle registrar.Bundle
	err    error
}

// fetch has SPIRE fetch a bundle, and tells how it ended.
func (s *Syncer) fetch(ctx context.Context, d *domain, r registrar.Relationship) {
	f := fetched{domain: d}
	within, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	if f.err = s.config.SPIRE.RefreshBundle(within, r.TrustDomain); f.err == nil {
		f.bundle, f.err = s.config.SPIRE.FederatedBundle(within, r.TrustDomain)
	}
	if within.Err() != nil {
		f.err = fmt.Errorf("SPIRE did not get the bundle of %s within %s: look whether it reaches %s: %w", r.TrustDomain, fetchTimeout, r.BundleEndpointURL, f.err)
	}
	select {
	case s.fetched <- f:
	case <-ctx.Done():
	}
}

// take takes note of the end of a fetch.
func (s *Syncer) take(f fetched) {
	d, now := f.domain, time.Now()
	if s.domains[d.TrustDomain] != d {
		return // no longer of interest
	}
	before := *d
	d.end(now, f.err, spread())
	s.metrics.fetched(d, f.err)
	if f.err != nil {
		s.report.notFetched(d, f.err, now)
		if errors.Is(f.err, registrar.ErrNoRelationship) && !d.rejected {
			s.look, d.inPlace = now, false // somebody removed it
		}
		s.metrics.seen(d)
		return
	}
	d.seen, d.present, d.keys = true, true, f.bundle.Keys
	s.metrics.seen(d)
	if before.keys != "" && before.keys != d.keys {
		s.metrics.changed(d)
	}
	s.report.fetched(d, before)
	if !before.present {
		s.config.Arrived()
	}
}
