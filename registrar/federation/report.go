package federation

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"

	"github.com/spire-injector/spire-injector/registrar"
	"github.com/spire-injector/spire-injector/registrar/reason"
)

// reporter reports what the syncer does: everything in the log, and what somebody has to mend in events about the
// platform file.
type reporter struct {
	logger logr.Logger
	event  func(eventType string, why reason.Reason, note string)
}

func (r reporter) warn(why reason.Reason, note string) { r.event(corev1.EventTypeWarning, why, note) }

// failed reports that the relationships could not be compared.
func (r reporter) failed(err error) {
	r.logger.Error(err, "federation relationships are compared again soon")
}

// made reports that a relationship was created or updated.
func (r reporter) made(of registrar.Relationship, done string) {
	r.logger.Info(
		"federation relationship "+done,
		"trustDomain", of.TrustDomain.Name(),
		"bundleEndpoint", of.BundleEndpointURL,
		"profile", of.Profile,
	)
}

func (r reporter) rejected(of registrar.Relationship, err error) {
	r.logger.Info(
		"federation relationship rejected",
		"reason", reason.RelationshipRejected,
		"trustDomain", of.TrustDomain.Name(),
		"error", err.Error(),
	)
	r.warn(
		reason.RelationshipRejected,
		fmt.Sprintf("spire.federation: SPIRE does not take the relationship with %s: %v", of.TrustDomain, err),
	)
}

// dropped reports a trust domain that the platform file does not have any more.
func (r reporter) dropped(d *domain) {
	r.logger.Info(
		"bundle is not kept fresh any more; the federation relationship stays in SPIRE until it is removed there: spire-server federation delete",
		"trustDomain", d.TrustDomain.Name(),
	)
}

// fetched reports a fetch, loudly if it is the first, follows on failures or brought other keys.
func (r reporter) fetched(d *domain, before domain) {
	log := r.logger.WithValues("trustDomain", d.TrustDomain.Name())
	switch {
	case before.keys != "" && before.keys != d.keys:
		log.Info("bundle fetched, with other keys than before")
	case before.keys == "" || before.failing:
		log.Info("bundle fetched")
	default:
		log.V(4).Info("bundle fetched")
	}
}

func (r reporter) notFetched(d *domain, err error, now time.Time) {
	log := r.logger.WithValues("trustDomain", d.TrustDomain.Name(), "failures", d.freshness.Failures, "error", err.Error())
	if !d.freshness.Stale(now) {
		log.Info("bundle not fetched")
		return
	}
	since := now.Sub(d.freshness.Fetched).Round(time.Second)
	log.Info("bundle not fetched", "reason", reason.BundleStale, "since", since.String())
	r.warn(
		reason.BundleStale,
		fmt.Sprintf(
			"spire.federation: the bundle of %s has not been fetched for %s, although it should be every %s; when its trust domain "+
				"changes its keys, its workloads are refused here: %v",
			d.TrustDomain,
			since,
			d.Refresh,
			err,
		),
	)
}

// WritePlan prints relationships to create and to update as a table for people.
func WritePlan(out io.Writer, create, update []registrar.Relationship) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ACTION\tTRUST DOMAIN\tBUNDLE ENDPOINT\tPROFILE")
	for _, of := range []struct {
		action string
		all    []registrar.Relationship
	}{{"create", create}, {"update", update}} {
		for _, r := range of.all {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", of.action, r.TrustDomain, r.BundleEndpointURL, r.Profile)
		}
	}
	return w.Flush()
}
