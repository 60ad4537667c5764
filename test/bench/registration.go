package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/spire-injector/spire-injector/test/cluster/parts"
	"github.com/spire-injector/spire-injector/test/install"
)

// registrationFigures compare the injector with spire-controller-manager on one cluster, in turn.
type registrationFigures struct {
	Bursts []burstFigures  `json:"bursts,omitempty"`
	OnePod []onePodFigures `json:"onePod,omitempty"`
}

const (
	// registrationTimeout is for all entries of one burst: spire-controller-manager took minutes for 8,000 pods.
	registrationTimeout = 30 * time.Minute
	longTidyTimeout     = 10 * time.Minute
)

func measureRegistration(ctx context.Context, s settings, c *cluster, r *report) (err error) {
	root, err := parts.Root()
	if err != nil {
		return err
	}
	manager, err := install.NewControllerManager(ctx, c.env, c.progress)
	if err != nil {
		return err
	}
	tidying := context.WithoutCancel(ctx)
	defer func() { err = errors.Join(err, manager.Uninstall(tidying)) }()
	defer func() {
		err = errors.Join(err, install.Platform(tidying, c.env, filepath.Join(root, filepath.FromSlash(platformFolder)), c.progress))
	}()
	overlay := filepath.Join(root, "manifests", "spire", "overlays", "unix-socket")
	if err := install.MeasuredSPIRE(ctx, c.env, overlay, c.progress); err != nil {
		return err
	}
	r.Registration = &registrationFigures{}
	return c.withStandIn(ctx, func(node types.UID) error {
		both := []registrant{theInjector(), theControllerManager(manager, node)}
		for i, b := range s.allBursts() {
			for _, registrant := range inTurn(both, i) {
				f, err := c.measureBurst(ctx, registrant, b, s.atOnce)
				if err != nil {
					return fmt.Errorf("%s, %d pods of %d service accounts: %w", registrant.name, b.pods, b.accounts, err)
				}
				c.tell("%s, %d pods of %d service accounts: registered after %.2f s", f.Registrant, f.Pods, f.Accounts, inSeconds(f.Registered))
				r.Registration.Bursts = append(r.Registration.Bursts, f)
			}
		}
		return c.measureOnePod(ctx, both, s, r.Registration)
	})
}

// registering runs use while a registrant is at work in a fresh namespace with service accounts, in which it has
// registered warmUpPods, and removes the pods and what was registered for them.
func (c *cluster) registering(ctx context.Context, r registrant, accounts int, use func(namespace string) error) error {
	return c.in(ctx, "registration", func(namespace string) (err error) {
		if err := c.makeAccounts(ctx, namespace, accounts); err != nil {
			return err
		}
		end, err := r.begin(ctx, c, namespace)
		if err != nil {
			return err
		}
		defer func() {
			tidying, cancel := context.WithTimeout(context.WithoutCancel(ctx), longTidyTimeout)
			defer cancel()
			// First who would register them again.
			err = errors.Join(err, end(tidying), c.removeBound(tidying, namespace), c.removeEntriesOf(tidying, namespace))
		}()
		if err := c.warmUp(ctx, namespace, r); err != nil {
			return fmt.Errorf("waiting for %s to be at work: %w", r.name, err)
		}
		return use(namespace)
	})
}

// warmUpPods is how many pods, and entries, each registrant gets before the first that counts.
const warmUpPods = 1

// warmUp returns when a registrant has registered a pod of a service account that comes for nothing else: it may have
// to connect to a SPIRE server that was just restarted, or to read what is in the cluster.
func (c *cluster) warmUp(ctx context.Context, namespace string, r registrant) error {
	const account = "warm-up"
	_, err := c.client.CoreV1().ServiceAccounts(namespace).Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: account}}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	err = wait.PollUntilContextTimeout(ctx, poll, startTimeout, true, func(ctx context.Context) (bool, error) {
		_, err := c.client.CoreV1().Pods(namespace).Create(ctx, boundPod(namespace, account, r), metav1.CreateOptions{})
		if err != nil {
			c.tell("not created yet: %v", err)
		}
		return err == nil, nil
	})
	if err != nil {
		return err
	}
	return c.awaitEntries(ctx, r.filter(namespace), warmUpPods, startTimeout)
}

func (c *cluster) makeAccounts(ctx context.Context, namespace string, n int) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(20)
	for i := range n {
		group.Go(func() error {
			_, err := c.client.CoreV1().ServiceAccounts(namespace).Create(ctx,
				&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: accountName(i)}}, metav1.CreateOptions{})
			return err
		})
	}
	return group.Wait()
}
