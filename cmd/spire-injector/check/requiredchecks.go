package check

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"github.com/spire-injector/spire-injector/webhook"
	"github.com/spire-injector/spire-injector/webhook/inject"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

// RequiredPod is a running pod of a namespace that requires injection. It may be older than that.
type RequiredPod struct {
	Injected bool
	Pod      corev1.Pod // without what injection added; of one that is not injected its metadata alone
}

// required reads the pods of namespaces that require injection.
func (g Gatherer) required(ctx context.Context, f *Facts) error {
	for _, ns := range f.Namespaces {
		if ns.Labels[intent.LabelInject] != intent.InjectRequired {
			continue
		}
		if err := g.eachPod(ctx, ns.Name, "", func(pod corev1.Pod) {
			if intent.Ended(&pod) || pod.DeletionTimestamp != nil {
				return
			}
			r := RequiredPod{Injected: pod.Labels[intent.LabelIdentity] != "", Pod: corev1.Pod{ObjectMeta: pod.ObjectMeta}}
			if r.Injected {
				r.Pod = *inject.Original(&pod)
			}
			r.Pod.ManagedFields = nil
			f.Required = append(f.Required, r)
		}); err != nil {
			return err
		}
	}
	return nil
}

// mostShortfalls bounds the findings of one report: a namespace may have thousands of pods.
const mostShortfalls = 20

// shortfall is what pods of one owner lack.
type shortfall struct{ where, found, remedy string }

// requiredPods finds the pods that run in a namespace which requires mutual TLS, and would not be admitted there now.
// They came before the label, or before what was allowed changed, and go on: nobody ends them but who made them.
func requiredPods(f Facts) []Finding {
	p, ok := f.platform()
	if !ok || f.Mutating == nil {
		return nil
	}
	serves, err := webhook.Served(f.Mutating)
	if err != nil {
		return nil // the check of the webhooks says so
	}
	pods := map[shortfall]int{}
	var order []shortfall
	short := 0
	for _, r := range f.Required {
		lacks := f.shortfalls(p, serves, r)
		if len(lacks) > 0 {
			short++
		}
		for _, s := range lacks {
			if pods[s]++; pods[s] == 1 {
				order = append(order, s)
			}
		}
	}
	var out []Finding
	for _, s := range order[:min(len(order), mostShortfalls)] {
		out = append(out, found(Warning, s.where, "running without the mutual TLS that their namespace requires: %s: %s",
			plural(pods[s], "pod"), s.found).expected("mutual TLS for all that the app is called with").remedy("%s", s.remedy))
	}
	if more := len(order) - len(out); more > 0 {
		out = append(out, found(Warning, "", "%s of that kind more than are listed; %d of %s fall short in all",
			plural(more, "finding"), short, plural(len(f.Required), "pod")).
			expected("pods that are as their namespace requires").remedy("mend those above, and check again"))
	}
	return orFine(out, fine("", "%s in namespaces that require mutual TLS, all of them with it", plural(len(f.Required), "pod")))
}

// shortfalls are what keeps a pod from what its namespace requires.
func (f Facts) shortfalls(p intent.Platform, serves webhook.Serves, r RequiredPod) []shortfall {
	ns := f.namespace(r.Pod.Namespace)
	if !serves(ns.Labels) {
		return []shortfall{{
			where: "Namespace " + ns.Name,
			found: "the webhooks' namespaceSelectors leave the namespace out",
			remedy: fmt.Sprintf("kubectl label namespace %s %s-, or take it out of the excluded namespaces",
				ns.Name, intent.LabelInject),
		}}
	}
	owner := ownerOf(r.Pod)
	if !r.Injected {
		s := shortfall{
			where: owner, found: "not injected",
			remedy: "make it anew, such as by kubectl rollout restart: new pods are injected",
		}
		if r.Pod.Labels[intent.LabelInject] == intent.InjectDisabled {
			s.remedy = fmt.Sprintf("take the label %s: %s off its template, and make it anew: until then new pods are denied",
				intent.LabelInject, intent.InjectDisabled)
		}
		return []shortfall{s}
	}
	in, _ := intent.ParseIntent(p, ns, &r.Pod) // what of it is understood
	var lacks []shortfall
	for _, m := range p.RefusedExceptions(ns, in) {
		lacks = append(lacks, shortfall{
			where: owner, found: m.Where + ": " + m.What, remedy: m.Hint + "; then make it anew",
		})
	}
	return lacks
}
