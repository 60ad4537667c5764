package networkpolicies

import (
	"context"
	"fmt"

	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/pager"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// page is how many policies are read at a time.
const page = 500

// list reads all policies that the injector keeps.
func (c *Controller) list(ctx context.Context) ([]networkingv1.NetworkPolicy, error) {
	var all []networkingv1.NetworkPolicy
	pages := pager.New(func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
		var policies networkingv1.NetworkPolicyList
		err := c.config.Direct.List(ctx, &policies, client.MatchingLabels(Labels(c.config.Injector)),
			client.Limit(o.Limit), client.Continue(o.Continue))
		return &policies, err
	})
	pages.PageSize = page
	err := pages.EachListItem(ctx, metav1.ListOptions{}, func(object runtime.Object) error {
		if policy, ok := object.(*networkingv1.NetworkPolicy); ok {
			all = append(all, *policy)
		}
		return nil
	})
	if err != nil {
		return nil, withRights(fmt.Errorf("listing the injector's NetworkPolicies: %w", err))
	}
	return all, nil
}

// delete removes one policy, as it was read.
func (c *Controller) delete(ctx context.Context, policy *networkingv1.NetworkPolicy) error {
	uid, version := policy.UID, policy.ResourceVersion
	err := c.config.Writer.Delete(ctx, policy, client.Preconditions{UID: &uid, ResourceVersion: &version})
	if err != nil && !apierrors.IsNotFound(err) {
		return failed("removing", policy, err)
	}
	return nil
}

func failed(what string, policy *networkingv1.NetworkPolicy, err error) error {
	return withRights(fmt.Errorf("%s NetworkPolicy %s/%s: %w", what, policy.Namespace, policy.Name, err))
}

// withRights says what to do where rights are missing.
func withRights(err error) error {
	if apierrors.IsForbidden(err) {
		return fmt.Errorf("%w; the component workload-network-policies of manifests/injector gives the rights", err)
	}
	return err
}
