package scale

import (
	"errors"
	"time"

	"golang.org/x/time/rate"
	"k8s.io/apimachinery/pkg/types"

	"github.com/spire-injector/spire-injector/templates/verdict"
	"github.com/spire-injector/spire-injector/webhook/rollout"
)

// RolloutFigures are the work of planning which pod follows a changed platform next, until all have.
type RolloutFigures struct {
	Size Size `json:"size"`
	// Decision is to say which pod is next, how long to wait for the one after it, and to note what became of one.
	Decision PerOne `json:"decision"`
	// Held is how many bytes the plan keeps while all pods wait.
	Held int `json:"heldBytes"`
	// Took is how long it would have taken.
	Took time.Duration `json:"tookNanoseconds"`
}

const (
	rolloutRate = 10 // pods a second, the most that an operator can say
	// outcomes is how many changed pods have not said yet what became of it.
	outcomes = 20
)

// Rollout measures a plan in a cluster of one size, along a clock of its own.
func Rollout(size Size) (RolloutFigures, error) {
	f := RolloutFigures{Size: size}
	before := held()
	plan := rollout.NewPlan(rate.Limit(rolloutRate))
	for w := range size.Workloads {
		plan.Namespace(namespaceOf(w), "1")
	}
	plan.PlatformChanged()
	// Pods come as a list of the API server has them, namespace by namespace.
	size.pods(0, func(p pod) { plan.Want(planned(p), workloadName(p), false) })
	f.Held = held() - before
	cost, err := spent(func() (err error) {
		f.Took, err = follow(plan, size.Pods)
		return err
	})
	f.Decision = cost.per(size.Pods)
	return f, err
}

// follow has all pods changed, and returns how long that takes.
func follow(plan *rollout.Plan, pods int) (time.Duration, error) {
	began := time.Unix(0, 0)
	now := began
	var changed []rollout.Pod
	for taken := 0; taken < pods; {
		next, ok := plan.Next(now)
		if ok {
			taken++
			changed = append(changed, next)
		}
		wait, waits := plan.Wait(now)
		switch {
		case len(changed) > 0 && (!waits || len(changed) == outcomes):
			plan.Done(changed[0], verdict.Taken)
			changed = changed[1:]
		case waits:
			now = now.Add(max(wait, time.Millisecond))
		case !ok:
			return 0, errors.New("pods are left that the plan does not come to")
		}
	}
	return now.Sub(began), nil
}

func planned(p pod) rollout.Pod {
	o := p.owner()
	return rollout.Pod{
		NamespacedName: types.NamespacedName{Namespace: o.Namespace, Name: o.Name},
		UID:            types.UID(o.Name),
	}
}

func workloadName(p pod) string { return p.owner().Name }
