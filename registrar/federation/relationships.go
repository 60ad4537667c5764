package federation

import (
	"context"
	"slices"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/spire-injector/spire-injector/registrar"
)

// lookAtRelationships makes what the platform file says so, and sets when to look again.
func (k *Keeper) lookAtRelationships(ctx context.Context) {
	now := time.Now()
	for _, d := range k.domains.adopt(k.config.Wanted(), now, now.Add(k.config.Settle)) {
		k.metrics.forget(d)
		k.report.dropped(d)
	}
	for _, d := range k.domains {
		k.metrics.adopted(d)
	}
	err := k.keep(ctx)
	for _, d := range k.domains {
		k.metrics.seen(d)
	}
	if err != nil && ctx.Err() == nil {
		k.report.failed(err)
		k.look, k.retry = time.Now().Add(jittered(k.retry)), min(2*k.retry, maxRetry)
		return
	}
	k.look, k.retry = time.Now().Add(jittered(k.config.Interval)), minRetry
}

// keep creates and updates what differs.
func (k *Keeper) keep(ctx context.Context) error {
	if len(k.domains) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	bundles, err := k.config.SPIRE.FederatedBundles(ctx)
	if err != nil {
		return err
	}
	k.compare(bundles)
	create, update, err := k.Plan(ctx)
	if err != nil {
		return err
	}
	for _, d := range k.domains {
		d.rejected, d.compared, d.inPlace = false, true, !slices.ContainsFunc(slices.Concat(create, update), d.isOf)
	}
	if err := k.set(ctx, create, "created", k.config.SPIRE.CreateFederationRelationships); err != nil {
		return err
	}
	return k.set(ctx, update, "updated", k.config.SPIRE.UpdateFederationRelationships)
}

// Plan returns what there is to create and to update, and does nothing.
func (k *Keeper) Plan(ctx context.Context) (create, update []registrar.Relationship, err error) {
	var wanted []registrar.Relationship
	for _, f := range k.config.Wanted() {
		wanted = append(wanted, f.Relationship)
	}
	if len(wanted) == 0 {
		return nil, nil, nil
	}
	current, err := k.config.SPIRE.ListFederationRelationships(ctx)
	if err != nil {
		return nil, nil, err
	}
	create, update = registrar.PlanFederation(wanted, current)
	return create, update, nil
}

// set sends one at a time: an authorization policy may deny a call for one of many.
func (k *Keeper) set(ctx context.Context, all []registrar.Relationship, done string, send func(context.Context, []registrar.Relationship) ([]error, error)) error {
	for _, r := range all {
		results, err := send(ctx, []registrar.Relationship{r})
		if err == nil {
			err = results[0]
		}
		d := k.domains[r.TrustDomain]
		switch {
		case d == nil:
		case err == nil:
			k.report.made(r, done)
			d.inPlace = true
			then := time.Now().Add(k.config.Settle)
			k.domains.postpone(then)
			d.hurry(then)
		case registrar.KindOf(err) == registrar.Unavailable:
			return err
		default:
			k.report.rejected(r, err)
			d.rejected = true
		}
	}
	return nil
}

// compare takes note of the bundles that SPIRE has.
func (k *Keeper) compare(bundles []spiffeid.TrustDomain) {
	for td, d := range k.domains {
		arrived := d.seen && !d.present
		if d.seen, d.present = true, slices.Contains(bundles, td); d.present && arrived {
			k.config.Arrived()
		}
	}
}
