package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// cost is the processor time that one operation took, in milliseconds.
type cost struct {
	APIServer float64 `json:"apiServer"`
	// Webhook is of all replicas of the webhook in question, with all that they do at that time, such as watching; without
	// one, of the injector's.
	Webhook float64 `json:"webhook"`
}

// costs are those of a variant's pods, medians of all rounds.
type costs struct {
	Creation     cost `json:"creation"`
	StatusUpdate cost `json:"statusUpdate"`
	// These compare the API server's with those without any webhook, round by round.
	CreationRatio     ratios `json:"creationRatio"`
	StatusUpdateRatio ratios `json:"statusUpdateRatio"`
}

// costsOf is nil for rounds without costs.
func costsOf(rounds []map[string]creation) map[string]costs {
	all := map[string]costs{}
	plain := withoutWebhook().name
	for _, v := range variantsOf(rounds) {
		var creations, updates []cost
		var c costs
		for _, round := range rounds {
			one, base := round[v.name], round[plain]
			if one.Cost == nil || one.UpdateCost == nil || base.Cost == nil || base.UpdateCost == nil {
				return nil
			}
			creations, updates = append(creations, *one.Cost), append(updates, *one.UpdateCost)
			c.CreationRatio.All = append(c.CreationRatio.All, ratio(one.Cost.APIServer, base.Cost.APIServer))
			c.StatusUpdateRatio.All = append(c.StatusUpdateRatio.All, ratio(one.UpdateCost.APIServer, base.UpdateCost.APIServer))
		}
		c.Creation, c.StatusUpdate = medianCost(creations), medianCost(updates)
		c.CreationRatio.Median, c.StatusUpdateRatio.Median = median(c.CreationRatio.All), median(c.StatusUpdateRatio.All)
		all[v.name] = c
	}
	return all
}

// medianCost is the median of each part by itself.
func medianCost(all []cost) cost {
	var apiServer, webhook []float64
	for _, c := range all {
		apiServer, webhook = append(apiServer, c.APIServer), append(webhook, c.Webhook)
	}
	return cost{APIServer: median(apiServer), Webhook: median(webhook)}
}

// measuredProcesses are those whose time is read, by their folders in the kernel's tables.
type measuredProcesses struct{ apiServer, webhook []string }

// findProcesses finds them on this machine. Elsewhere there are none, and the error says so.
func (c *cluster) findProcesses(ctx context.Context, namespace string, v variant) (measuredProcesses, error) {
	const proc = "/proc"
	var found measuredProcesses
	var err error
	if found.apiServer, err = apiServerOf(proc, c.env.Kubeconfig); err != nil {
		return found, err
	}
	if v == injectedByIstio() {
		found.webhook = []string{c.istio}
		return found, nil
	}
	at := theInjector().processes
	if v.webhook != "" && v != ours() {
		at.namespace, at.selector = namespace, "app="+v.name
	}
	pods, err := c.client.CoreV1().Pods(at.namespace).List(ctx, metav1.ListOptions{LabelSelector: at.selector})
	if err != nil {
		return found, err
	}
	for _, pod := range pods.Items {
		of, err := processesOfPod(proc, string(pod.UID))
		if err != nil {
			return found, err
		}
		if len(of) == 0 {
			return found, fmt.Errorf("processor time is read from %s, and pod %s/%s does not run on this machine: measure on the node", proc, at.namespace, pod.Name)
		}
		found.webhook = append(found.webhook, of...)
	}
	switch {
	case len(found.apiServer) == 0:
		return found, fmt.Errorf("processor time is read from %s, and the API server of %s does not run on this machine as a cluster of the project's does: measure there", proc, c.env.Kubeconfig)
	case len(found.webhook) == 0:
		return found, fmt.Errorf("expected pods with %s in namespace %s, got none", at.selector, at.namespace)
	}
	return found, nil
}

// settled is when what an operation causes, in watchers and in registrars, is done.
const settled = 2 * time.Second

// spent says what n operations took, and what followed at once.
func (p measuredProcesses) spent(ctx context.Context, n int, operate func() error) (*cost, error) {
	apiServer, err := processorTime(p.apiServer)
	if err != nil {
		return nil, err
	}
	webhook, err := processorTime(p.webhook)
	if err != nil {
		return nil, err
	}
	if err := operate(); err != nil {
		return nil, err
	}
	select {
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-time.After(settled):
	}
	apiServerNow, err := processorTime(p.apiServer)
	webhookNow, err2 := processorTime(p.webhook)
	if err := errors.Join(err, err2); err != nil {
		return nil, err
	}
	each := func(d time.Duration) float64 { return ratio(1000*d.Seconds(), float64(n)) }
	return &cost{APIServer: each(apiServerNow - apiServer), Webhook: each(webhookNow - webhook)}, nil
}

// noCost is for where processor time cannot be read.
func noCost(_ context.Context, _ int, operate func() error) (*cost, error) { return nil, operate() }
