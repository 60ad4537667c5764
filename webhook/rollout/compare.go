package rollout

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/spire-injector/spire-injector/webhook/inject"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

// comparison is one look at pods: those of a namespace, or all.
type comparison struct {
	rollout    *Rollout
	injector   inject.Injector
	namespaces map[string]*intent.Namespace // nil: it is going, or cannot be read at the moment
	seen       map[Pod]bool
	cannot     map[string]int // pods that cannot follow, by namespace
}

// compare compares pods with what they should be: those of a namespace, or all for the empty one.
func (r *Rollout) compare(ctx context.Context, namespace string) error {
	c := comparison{
		rollout:    r,
		injector:   r.config.Injector(),
		namespaces: map[string]*intent.Namespace{},
		seen:       map[Pod]bool{},
		cannot:     map[string]int{},
	}
	if err := r.config.Cluster.Each(ctx, namespace, func(pod *corev1.Pod) { c.look(ctx, pod) }); err != nil {
		return fmt.Errorf("looking at running pods: %w", err)
	}
	for _, pod := range r.known() {
		if !c.seen[pod] && (namespace == "" || pod.Namespace == namespace) {
			r.forget(pod)
		}
	}
	if namespace == "" {
		r.plan.Compared()
	}
	r.config.Logger.V(1).Info("compared running pods with what they should be",
		"namespace", namespace, "pods", len(c.seen), "outdated", r.plan.Outdated(), "cannotFollow", len(r.stuck.of))
	return nil
}

func (c comparison) look(ctx context.Context, pod *corev1.Pod) {
	ns := c.namespace(ctx, pod.Namespace)
	if ended(pod) {
		return
	}
	key := podOf(pod)
	c.seen[key] = true
	if ns == nil {
		return
	}
	c.rollout.holds(c.injector, pod)
	refresh, why := c.rollout.consider(c.injector, *ns, pod)
	switch {
	case len(refresh.NewPod) > 0:
	case refresh.Urgent:
		c.rollout.urge(ctx, pod, refresh)
	case refresh.Outdated:
		c.rollout.plan.Want(key, workloadOf(pod), refresh.Image != "")
	}
	if why == "" {
		return
	}
	if c.cannot[pod.Namespace]++; c.cannot[pod.Namespace] == 1 {
		c.rollout.config.Logger.Info(
			"a pod cannot follow its namespace and the platform; others of its namespace are only counted",
			"namespace", pod.Namespace, "pod", pod.Name, "state", c.rollout.stuck.of[key], "reason", why)
	}
}

// namespace reads a namespace once.
func (c comparison) namespace(ctx context.Context, name string) *intent.Namespace {
	ns, read := c.namespaces[name]
	if !read {
		if found, err := c.rollout.config.Cluster.Namespace(ctx, name); err == nil {
			ns = &found
			c.rollout.compared[name] = versionOf(found)
		}
		c.namespaces[name] = ns
	}
	return ns
}

// consider notes what a pod is, and says why it cannot follow, if it cannot.
func (r *Rollout) consider(injector inject.Injector, ns intent.Namespace, pod *corev1.Pod) (inject.Refresh, string) {
	key := podOf(pod)
	r.plan.Namespace(ns.Name, versionOf(ns))
	refresh, err := injector.Refresh(ns, pod)
	r.stuck.forget(key)
	if len(refresh.NewPod) == 0 || !refresh.Urgent {
		delete(r.unsafe, key)
	}
	switch {
	case err != nil:
		r.plan.Forget(key)
		r.stuck.set(key, stateInvalid)
		return inject.Refresh{}, err.Error()
	case len(refresh.NewPod) > 0:
		r.plan.Forget(key)
		r.stuck.set(key, stateNeedsNewPod)
		if refresh.Urgent {
			r.cannotRefuse(pod, refresh.NewPod[0].String())
		}
		return refresh, refresh.NewPod[0].String()
	case !refresh.Outdated:
		r.plan.Forget(key)
	}
	return refresh, ""
}

// versionOf distinguishes states of what pods follow in their namespace.
func versionOf(ns intent.Namespace) string {
	ours := func(all map[string]string) map[string]string {
		out := map[string]string{}
		for key, value := range all {
			if strings.HasPrefix(key, intent.Prefix) {
				out[key] = value
			}
		}
		return out
	}
	text, err := json.Marshal([]map[string]string{ours(ns.Labels), ours(ns.Annotations)})
	if err != nil {
		return "" // cannot be: there is nothing but strings
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:8])
}
