package networkpolicies

import (
	"context"
	"time"

	"github.com/go-logr/logr"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/spire-injector/spire-injector/registrar/reason"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

// Config is what a [Controller] works with.
type Config struct {
	// Platform is the one in force.
	Platform func() intent.Platform
	// Injector is the injector's own namespace, by which its policies are known.
	Injector string
	// Cache has injected pods, as [KeepPorts] leaves them, namespaces and webhook configurations.
	Cache cache.Cache
	// Policies makes a cache of the policies of [Watched], which nobody has started.
	Policies func() (cache.Cache, error)
	Direct   client.Reader // reads policies past all caches
	Writer   client.Writer
	// Served says of which namespaces, by their labels, the API server asks this injector about pods.
	Served func(ctx context.Context) (func(namespaceLabels map[string]string) bool, error)
	// Event reports what goes wrong, about an object; about nil it is about the platform.
	Event   func(about runtime.Object, why reason.Reason, note string)
	Metrics *Metrics
	Logger  logr.Logger
}

// Controller keeps the policies of a cluster at what its pods are. It works only where Start runs, which is in the leading
// replica.
type Controller struct {
	config  Config
	changed chan struct{} // gets a value when another platform is in force
}

// New returns a controller that does nothing until it is started.
func New(config Config) *Controller {
	return &Controller{config: config, changed: make(chan struct{}, 1)}
}

// Watched narrows a cache to the policies that an injector keeps.
func Watched(injector string) map[client.Object]cache.ByObject {
	return map[client.Object]cache.ByObject{&networkingv1.NetworkPolicy{}: {
		Label: labels.SelectorFromSet(Labels(injector)),
		Transform: func(o any) (any, error) {
			if object, ok := o.(metav1.Object); ok {
				object.SetManagedFields(nil)
			}
			return o, nil
		},
	}}
}

// PlatformChanged says that another platform file is in force.
func (c *Controller) PlatformChanged() {
	select {
	case c.changed <- struct{}{}:
	default: // it is to be looked at already
	}
}

// NeedLeaderElection says that one replica does it for all.
func (c *Controller) NeedLeaderElection() bool { return true }

// retryAfter is the time between two tries of what the API server has denied as a whole.
const retryAfter = 30 * time.Second

// Start implements the manager's Runnable.
func (c *Controller) Start(ctx context.Context) error {
	asked := false // since this replica leads
	for ctx.Err() == nil {
		period, end := context.WithCancel(ctx)
		wanted := c.config.Platform().NetworkPolicies
		asked = asked || wanted
		work := c.remove(asked)
		resync := func() {}
		if wanted {
			s := newSyncer(c.config)
			work, resync = s.run, s.all
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			c.again(period, work)
		}()
		for ctx.Err() == nil && c.config.Platform().NetworkPolicies == wanted {
			select {
			case <-ctx.Done():
			case <-c.changed:
				resync()
			}
		}
		end()
		<-done
	}
	return nil
}

// again does something until it has succeeded or ctx is done.
func (c *Controller) again(ctx context.Context, work func(context.Context) error) {
	for {
		err := work(ctx)
		if err == nil || ctx.Err() != nil {
			return
		}
		c.config.Logger.Error(err, "NetworkPolicies are not what they should be", "reason", reason.NetworkPoliciesNotKept)
		c.config.Event(nil, reason.NetworkPoliciesNotKept, err.Error())
		select {
		case <-ctx.Done():
			return
		case <-time.After(retryAfter):
		}
	}
}

// remove removes all policies that the injector has kept. Who has never been asked for any may not be able to list
// them, and then there are none.
func (c *Controller) remove(asked bool) func(context.Context) error {
	return func(ctx context.Context) error {
		c.config.Metrics.reset()
		policies, err := c.list(ctx)
		if err != nil {
			if asked {
				return err
			}
			c.config.Logger.V(1).Info("NetworkPolicies cannot be listed, and are not asked for", "error", err.Error())
			return nil
		}
		for i := range policies {
			if err := c.delete(ctx, &policies[i]); err != nil {
				return err
			}
		}
		return nil
	}
}
