package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/spire-injector/spire-injector/test/install"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

// creationFigures compare the webhooks. Rounds are told apart because a machine is not equally quiet all the time: each
// ratio is of neighbours.
type creationFigures struct {
	Pods           int                   `json:"pods"`
	AtOnce         int                   `json:"atOnce"`
	Rounds         []map[string]creation `json:"rounds"` // by the variant's name
	OursToNoop     ratios                `json:"oursToNoop"`
	OursToConstant ratios                `json:"oursToConstant"`
	// Costs are medians of the rounds; nil where processor time cannot be read, and then Unreadable says why.
	Costs      map[string]costs `json:"costs,omitempty"`
	Unreadable string           `json:"unreadable,omitempty"`
	// WithoutIstio is why its webhook is not compared.
	WithoutIstio string `json:"withoutIstio,omitempty"`
}

// creation is of the pods of one variant in one round.
type creation struct {
	load
	PodBytes int   `json:"podBytes"`       // of one of them in JSON
	Cost     *cost `json:"cost,omitempty"` // of one creation
	Update   *load `json:"statusUpdate"`
	// UpdateCost is of one update of the status.
	UpdateCost *cost `json:"statusUpdateCost,omitempty"`
}

// warmUp is how many pods each variant creates first, uncounted: connections get opened, and the identity, which is one
// for all pods, gets its entry.
const warmUp = 50

func measureCreations(ctx context.Context, s settings, c *cluster, r *report) error {
	figures := creationFigures{Pods: s.pods, AtOnce: s.atOnce}
	defer func() {
		if len(figures.Rounds) > 0 {
			figures.OursToNoop = ratiosOf(figures.Rounds, ours(), doingNothing())
			figures.OursToConstant = ratiosOf(figures.Rounds, ours(), patchingConstantly())
			figures.Costs = costsOf(figures.Rounds)
			r.Creations = &figures
		}
	}()
	return c.in(ctx, "creations", func(namespace string) (err error) {
		patch, err := c.patchOfOurs(ctx, namespace)
		if err != nil {
			return fmt.Errorf("making the constant patch: %w", err)
		}
		endNoop, err := c.provide(ctx, namespace, doingNothing(), nil)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, endNoop()) }()
		if err := c.leaveTo(ctx, namespace, patchingConstantly()); err != nil {
			return err
		}
		endConstant, err := c.provide(ctx, namespace, patchingConstantly(), patch)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, endConstant()) }()
		compared, endIstio := c.comparedWithIstio(ctx, namespace, &figures)
		defer func() { err = errors.Join(err, endIstio()) }()
		for _, v := range compared {
			if _, err := c.create(ctx, namespace, v, min(warmUp, s.pods), s.atOnce); err != nil {
				return err
			}
		}
		defer func() {
			tidy := context.WithoutCancel(ctx)
			left, leftErr := c.entriesOf(tidy, namespace)
			err = errors.Join(err, leftErr, c.removeEntries(tidy, left))
		}()
		if err := c.removePending(ctx, namespace); err != nil {
			return err
		}
		if _, err := c.findProcesses(ctx, namespace, ours()); err != nil {
			figures.Unreadable = err.Error()
		}
		for i := range s.rounds {
			round := map[string]creation{}
			for _, v := range inTurn(compared, i) {
				made, err := c.createCounted(ctx, namespace, v, s, figures.Unreadable == "")
				if err != nil {
					return fmt.Errorf("round %d, webhook %s: %w", i+1, v.name, err)
				}
				c.tell("round %d, webhook %s: %.1f pods/s", i+1, v.name, made.PerSecond)
				round[v.name] = made
			}
			figures.Rounds = append(figures.Rounds, round)
		}
		return nil
	})
}

// create creates pods and measures that alone.
func (c *cluster) create(ctx context.Context, namespace string, v variant, n, atOnce int) (load, error) {
	body, err := request(pendingPod(namespace, v))
	if err != nil {
		return load{}, err
	}
	if err := c.leaveTo(ctx, namespace, v); err != nil {
		return load{}, err
	}
	// The answer is read but not decoded: what a bigger pod costs this program is not what is asked.
	return drive(ctx, n, atOnce, func(ctx context.Context) error {
		return c.client.CoreV1().RESTClient().Post().Namespace(namespace).Resource("pods").
			SetHeader("Content-Type", "application/json").Body(body).Do(ctx).Error()
	})
}

// leaveTo lets the injector's webhooks and policies see the namespace only when it is their turn: they would refuse
// what the constant patch makes.
func (c *cluster) leaveTo(ctx context.Context, namespace string, v variant) error {
	release := `"bench"`
	if v.seen {
		release = "null"
	}
	patch := fmt.Sprintf(`{"metadata": {"labels": {%q: %s}}}`, install.ReleaseLabel, release)
	if _, err := c.client.CoreV1().Namespaces().Patch(ctx, namespace, types.MergePatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
		return fmt.Errorf("labelling namespace %s: %w", namespace, err)
	}
	select { // the API server matches namespaces as its cache has them
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(time.Second):
		return nil
	}
}

// createCounted creates the pods of one round, makes sure that the webhook in question saw them, updates the status of
// each, and removes them. With cost, it says what that took of processors.
func (c *cluster) createCounted(ctx context.Context, namespace string, v variant, s settings, cost bool) (creation, error) {
	var made creation
	spent := noCost
	if cost {
		p, err := c.findProcesses(ctx, namespace, v)
		if err != nil {
			return creation{}, err
		}
		spent = p.spent
	}
	before, err := c.webhookCalls(ctx, v.webhook)
	if err != nil {
		return creation{}, err
	}
	if made.Cost, err = spent(ctx, s.pods, func() (err error) {
		made.load, err = c.create(ctx, namespace, v, s.pods, s.atOnce)
		return err
	}); err != nil {
		return creation{}, err
	}
	after, err := c.webhookCalls(ctx, v.webhook)
	if err != nil {
		return creation{}, err
	}
	calls, mean := after.since(before)
	if v.webhook != "" && calls == 0 {
		return creation{}, fmt.Errorf("the API server did not call %s once, so that nothing was measured: look at the MutatingWebhookConfigurations", v.webhook)
	}
	made.Calls, made.InWebhook = calls, seconds(mean)
	names, err := c.namesOf(ctx, namespace, v, s.pods-made.Errors)
	if err != nil {
		return creation{}, err
	}
	if len(names) > 0 {
		if made.PodBytes, err = c.bytesOf(ctx, namespace, names[0]); err != nil {
			return creation{}, err
		}
	}
	if made.UpdateCost, err = spent(ctx, len(names), func() error {
		l, err := c.updateStatus(ctx, namespace, names, s.atOnce)
		made.Update = &l
		return err
	}); err != nil {
		return creation{}, err
	}
	return made, c.removePending(ctx, namespace)
}

// namesOf are the names of the pods of a round. It makes sure that what was measured is what is meant: all of them are
// injected, or none.
func (c *cluster) namesOf(ctx context.Context, namespace string, v variant, created int) ([]string, error) {
	// Without specs: the API server, and its collector of garbage, have their measured work to do.
	list, err := c.client.CoreV1().RESTClient().Get().Namespace(namespace).Resource("pods").
		Param("labelSelector", "app=api").
		SetHeader("Accept", "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1").DoRaw(ctx)
	if err != nil {
		return nil, err
	}
	var pods metav1.PartialObjectMetadataList
	if err := json.Unmarshal(list, &pods); err != nil {
		return nil, fmt.Errorf("decoding the list of pods: %w", err)
	}
	var names []string
	injected, want := 0, 0
	for _, pod := range pods.Items {
		names = append(names, pod.Name)
		if _, ok := pod.Labels[cmp.Or(v.mark, intent.LabelIdentity)]; ok {
			injected++
		}
	}
	if v.injects {
		want = created
	}
	if len(names) != created || injected != want {
		return nil, fmt.Errorf("expected %d pods, %d of them injected, got %d and %d", created, want, len(names), injected)
	}
	return names, nil
}

// bytesOf is the size of a pod.
func (c *cluster) bytesOf(ctx context.Context, namespace, pod string) (int, error) {
	object, err := c.client.CoreV1().RESTClient().Get().Namespace(namespace).Resource("pods").Name(pod).
		SetHeader("Accept", "application/json").DoRaw(ctx)
	return len(object), err
}

// removePending removes all pending pods at once and returns when they are gone.
func (c *cluster) removePending(ctx context.Context, namespace string) error {
	pending := metav1.ListOptions{LabelSelector: "app=api"}
	if err := c.client.CoreV1().Pods(namespace).DeleteCollection(ctx, metav1.DeleteOptions{}, pending); err != nil {
		return err
	}
	pending.Limit = 1
	return wait.PollUntilContextTimeout(ctx, poll, tidyTimeout, true, func(ctx context.Context) (bool, error) {
		pods, err := c.client.CoreV1().Pods(namespace).List(ctx, pending)
		return err == nil && len(pods.Items) == 0, err
	})
}

// comparedWithIstio are all variants, with Istio's webhook where it can be had, until what is returned is called.
func (c *cluster) comparedWithIstio(ctx context.Context, namespace string, f *creationFigures) ([]variant, func() error) {
	end, err := c.provideIstio(ctx, namespace)
	if err == nil {
		return variants(), end
	}
	f.WithoutIstio = err.Error()
	c.tell("without Istio: %v", err)
	without := slices.DeleteFunc(variants(), func(v variant) bool { return v == injectedByIstio() })
	return without, func() error { return nil }
}

// variantsOf are those of rounds, in their order.
func variantsOf(rounds []map[string]creation) []variant {
	return slices.DeleteFunc(variants(), func(v variant) bool {
		return !slices.ContainsFunc(rounds, func(round map[string]creation) bool { _, ok := round[v.name]; return ok })
	})
}

// inTurn begins each round with another item, so that none always follows the same one.
func inTurn[T any](items []T, round int) []T {
	first := round % len(items)
	return slices.Concat(items[first:], items[:first])
}
