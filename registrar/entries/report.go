package entries

import (
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/spire-injector/spire-injector/registrar"
	"github.com/spire-injector/spire-injector/registrar/reason"
)

// reporter reports what the reconciler does: everything in the log, and what concerns somebody in events on the owners.
type reporter struct {
	logger logr.Logger
	cache  cache.Cache
	event  func(about runtime.Object, eventType string, why reason.Reason, note string)
}

func (r reporter) outcome(ctx context.Context, o registrar.Outcome) {
	if o.Action == registrar.Keep && o.Err == nil {
		return
	}
	log := r.logger.WithValues(
		"action", o.Action.String(),
		"reason", o.Why,
		"entry", o.ID,
		"spiffeID", o.Entry.SPIFFEID.String(),
		"owners", o.Owners,
	)
	if fields := o.Fields.String(); fields != "" {
		log = log.WithValues("fields", fields)
	}
	if o.Err != nil {
		log.Info("entry not changed", "error", o.Err.Error())
	} else {
		log.Info("entry changed")
	}
	if eventType, note := eventOf(o); note != "" {
		for _, owner := range o.Owners {
			if object := r.object(ctx, owner); object != nil {
				r.event(object, eventType, o.Why, note)
			}
		}
	}
}

// pass reports a pass that failed, and entries that lack a federated trust domain.
func (r reporter) pass(ctx context.Context, p registrar.Pass) {
	if p.Err != nil {
		r.logger.Error(p.Err, "entries are compared again soon")
	}
	if debug := r.logger.V(4); debug.Enabled() && len(p.Steps) > 0 {
		var table strings.Builder
		if err := WritePlan(&table, p.Steps); err == nil {
			debug.Info("plan", "full", p.Full, "table", table.String())
		}
	}
	for _, s := range p.Steps {
		if len(s.Missing) == 0 {
			continue
		}
		note := fmt.Sprintf(
			"entry %s does without %v: SPIRE has no bundle of it; federate with it (spire.federation in the platform file), or set its "+
				"bundle with spire-server bundle set; it is added when the bundle comes",
			s.ID,
			s.Missing,
		)
		r.logger.Info(
			"entry without a federated trust domain",
			"reason", reason.BundleMissing,
			"entry", s.ID,
			"missing", fmt.Sprint(s.Missing),
			"owners", s.Owners,
		)
		for _, owner := range s.Owners {
			if object := r.object(ctx, owner); object != nil {
				r.event(object, reason.BundleMissing.EventType(nil), reason.BundleMissing, note)
			}
		}
	}
}

// eventOf is what the event on the owners says of an outcome; nothing where all went as it should.
func eventOf(o registrar.Outcome) (eventType, note string) {
	switch {
	case o.Err != nil:
		return o.Why.EventType(o.Err), o.Err.Error()
	case o.Why == reason.EntryDeletedByOthers:
		return o.Why.EventType(
				nil,
			), fmt.Sprintf(
				"entry %s of %s was deleted by something else and is created again: look what else writes entries on this SPIRE server, "+
					"such as a spire-controller-manager without entryIDPrefix",
				o.ID,
				o.Entry.SPIFFEID,
			)
	case o.Why == reason.RowDeletedByOthers:
		return o.Why.EventType(nil), fmt.Sprintf("entry %s, by which the agent of the pod's node is authorized for its identity, "+
			"was deleted by something else and is created again; without it the pod's certificate would have ended: look what "+
			"else writes entries on this SPIRE server, such as a spire-controller-manager without entryIDPrefix", o.ID)
	case o.Why == reason.RowDrifted:
		return o.Why.EventType(nil), fmt.Sprintf("entry %s, by which the agent of the pod's node is authorized for its identity, "+
			"was changed by something else (%s) and is made again: look what else writes entries on this SPIRE server",
			o.ID, o.Fields)
	case o.Why == reason.EntryMissing && onlyPods(o.Owners):
		return o.Why.EventType(nil), fmt.Sprintf("registered %s, which admission could not", o.Entry.SPIFFEID)
	}
	return "", ""
}

// onlyPods says whether admission should have registered it. A template has no admission of ours.
func onlyPods(owners []registrar.Owner) bool {
	for _, o := range owners {
		if o.Kind != registrar.KindPod {
			return false
		}
	}
	return len(owners) > 0
}

// object finds an owner; nil when it is gone.
func (r reporter) object(ctx context.Context, owner registrar.Owner) client.Object {
	for _, k := range kinds {
		if k.name != owner.Kind {
			continue
		}
		o := k.new()
		if err := r.cache.Get(ctx, client.ObjectKey{Namespace: owner.Namespace, Name: owner.Name}, o); err == nil {
			return o
		}
	}
	return nil
}

// WritePlan prints steps as a table for people.
func WritePlan(out io.Writer, steps []registrar.Step) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ACTION\tENTRY\tSPIFFE ID\tREASON\tDETAILS\tOWNERS")
	for _, s := range steps {
		var owners []string
		for _, o := range s.Owners {
			owners = append(owners, o.String())
		}
		fmt.Fprintf(
			w,
			"%s\t%s\t%s\t%s\t%s\t%s\n",
			s.Action,
			s.ID,
			s.Entry.SPIFFEID,
			s.Why,
			details(s),
			strings.Join(owners, ", "),
		)
	}
	return w.Flush()
}

func details(s registrar.Step) string {
	var all []string
	if fields := s.Fields.String(); fields != "" {
		all = append(all, fields)
	}
	if len(s.Missing) > 0 {
		all = append(all, fmt.Sprintf("without %v", s.Missing))
	}
	if !s.Entry.ExpiresAt.IsZero() {
		all = append(all, "expires "+s.Entry.ExpiresAt.Format("15:04:05"))
	}
	if s.Plan.Reason != "" {
		all = append(all, s.Plan.Reason)
	}
	return strings.Join(all, "; ")
}
