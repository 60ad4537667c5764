package federation

import (
	"context"
	"slices"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/spire-injector/spire-injector/registrar"
)

// syncRelationships makes what the platform file says so, and queues the next comparison.
func (s *Syncer) syncRelationships(ctx context.Context) {
	now := time.Now()
	for _, d := range s.domains.adopt(s.config.Wanted(), now, now.Add(s.config.Patience)) {
		s.metrics.forget(d)
		s.report.dropped(d)
	}
	for _, d := range s.domains {
		s.metrics.adopted(d)
	}
	err := s.sync(ctx)
	for _, d := range s.domains {
		s.metrics.seen(d)
	}
	if err != nil && ctx.Err() == nil {
		s.report.failed(err)
		s.queue.AddRateLimited(relationships)
		return
	}
	s.queue.Forget(relationships)
	s.queue.AddAfter(relationships, wait.Jitter(s.config.Interval*9/10, 2.0/9)) // up to a tenth earlier or later
}

// sync creates and updates what differs.
func (s *Syncer) sync(ctx context.Context) error {
	if len(s.domains) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, syncTimeout)
	defer cancel()
	bundles, err := s.config.SPIRE.FederatedBundles(ctx)
	if err != nil {
		return err
	}
	s.compare(bundles)
	create, update, err := s.Plan(ctx)
	if err != nil {
		return err
	}
	for _, d := range s.domains {
		d.rejected, d.compared, d.inPlace = false, true, !slices.ContainsFunc(slices.Concat(create, update), d.isOf)
	}
	if err := s.set(ctx, create, "created", s.config.SPIRE.CreateFederationRelationships); err != nil {
		return err
	}
	return s.set(ctx, update, "updated", s.config.SPIRE.UpdateFederationRelationships)
}

// Plan returns what there is to create and to update, and does nothing.
func (s *Syncer) Plan(ctx context.Context) (create, update []registrar.Relationship, err error) {
	var wanted []registrar.Relationship
	for _, f := range s.config.Wanted() {
		wanted = append(wanted, f.Relationship)
	}
	if len(wanted) == 0 {
		return nil, nil, nil
	}
	current, err := s.config.SPIRE.ListFederationRelationships(ctx)
	if err != nil {
		return nil, nil, err
	}
	create, update = registrar.PlanFederation(wanted, current)
	return create, update, nil
}

// set sends one at a time: an authorization policy may deny a call for one of many.
func (s *Syncer) set(
	ctx context.Context,
	all []registrar.Relationship,
	done string,
	send func(context.Context, []registrar.Relationship) ([]error, error),
) error {
	for _, r := range all {
		results, err := send(ctx, []registrar.Relationship{r})
		if err == nil {
			err = results[0]
		}
		d := s.domains[r.TrustDomain]
		switch {
		case d == nil:
		case err == nil:
			s.report.made(r, done)
			d.inPlace = true
			then := time.Now().Add(s.config.Patience)
			s.domains.postpone(then)
			d.hurry(then)
		case registrar.KindOf(err) == registrar.Unavailable:
			return err
		default:
			s.report.rejected(r, err)
			d.rejected = true
		}
	}
	return nil
}

// compare takes note of the bundles that SPIRE has.
func (s *Syncer) compare(bundles []spiffeid.TrustDomain) {
	for td, d := range s.domains {
		arrived := d.seen && !d.present
		if d.seen, d.present = true, slices.Contains(bundles, td); d.present && arrived {
			s.config.Arrived()
		}
	}
}
