package federation

import (
	"slices"
	"strings"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/spire-injector/spire-injector/registrar"
)

// domain is a foreign trust domain of the platform file.
type domain struct {
	registrar.Federated
	freshness registrar.Freshness
	due       time.Time // when to fetch its bundle
	fetching  bool
	failing   bool      // the last fetch failed
	again     time.Time // when to fetch once more, although a fetch is under way; zero for not at all
	seen      bool      // SPIRE was asked whether it has its bundle,
	present   bool      // and had
	compared  bool      // SPIRE was asked whether it has its relationship,
	inPlace   bool      // and has it
	rejected  bool      // SPIRE does not take it
	keys      string    // of the bundle that was fetched last
}

// domains are those of the platform file.
type domains map[spiffeid.TrustDomain]*domain

// adopt makes them those that are wanted, and returns the others. What is new or has another relationship is due then.
func (all domains) adopt(wanted []registrar.Federated, now, then time.Time) (gone []*domain) {
	kept := map[spiffeid.TrustDomain]bool{}
	for _, w := range wanted {
		w.Relationship = w.Canonical()
		kept[w.TrustDomain] = true
		d, known := all[w.TrustDomain]
		if !known {
			d = &domain{freshness: registrar.Freshness{Fetched: now}}
			all[w.TrustDomain] = d
		}
		changed := d.Relationship != w.Relationship
		d.Federated, d.freshness.Interval = w, w.Refresh
		if changed {
			d.inPlace = false
			d.hurry(then)
		} else if next := d.freshness.Next(1); next.Before(d.due) {
			d.due = next // the interval is shorter than it was
		}
	}
	for td, d := range all {
		if !kept[td] {
			gone = append(gone, d)
			delete(all, td)
		}
	}
	return gone
}

// begin returns those that are due, in order, and takes them to be fetched.
func (all domains) begin(now time.Time) []*domain {
	var due []*domain
	for _, d := range all {
		if !d.fetching && !d.due.After(now) {
			d.fetching = true
			due = append(due, d)
		}
	}
	slices.SortFunc(due, func(a, b *domain) int { return strings.Compare(a.TrustDomain.Name(), b.TrustDomain.Name()) })
	return due
}

// next is when the first is due, or then if that is earlier.
func (all domains) next(then time.Time) time.Time {
	for _, d := range all {
		if !d.fetching && d.due.Before(then) {
			then = d.due
		}
	}
	return then
}

// postpone has none fetched before then.
func (all domains) postpone(then time.Time) {
	for _, d := range all {
		if d.due.Before(then) {
			d.due = then
		}
	}
}

// hurry has all fetched then.
func (all domains) hurry(then time.Time) {
	for _, d := range all {
		d.hurry(then)
	}
}

// hurryFailing has those fetched then whose last fetch failed.
func (all domains) hurryFailing(then time.Time) {
	for _, d := range all {
		if d.failing {
			d.hurry(then)
		}
	}
}

// hurry has the bundle fetched then, and soon again if that fails.
func (d *domain) hurry(then time.Time) {
	d.freshness.Failures, d.due = 0, then
	if d.fetching {
		d.again = then
	}
}

// isOf says whether a relationship is with the domain.
func (d *domain) isOf(r registrar.Relationship) bool { return r.TrustDomain == d.TrustDomain }

// end takes a fetch to have ended; with a spread as [registrar.Freshness.Next] has it.
func (d *domain) end(now time.Time, err error, spread float64) {
	d.fetching, d.failing = false, err != nil
	d.freshness = d.freshness.After(now, err)
	if d.due = d.freshness.Next(spread); !d.again.IsZero() {
		d.due, d.again = d.again, time.Time{}
	}
}
