package main

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
)

// standIn is a node without a machine: thousands of pods can be on it, and nothing runs them. No agent is there that
// would fetch what spire-controller-manager registers for it, while the nodes' real agents fetch the injector's
// entries, which are for every node: their work is in the figures of the injector alone.
const standIn = "bench-stand-in"

// burstApp is the label app of all pods on the stand-in.
const burstApp = "burst"

// withStandIn runs use while the stand-in is there. Until it is gone, no DaemonSet that tolerates everything is
// complete.
func (c *cluster) withStandIn(ctx context.Context, use func(types.UID) error) (err error) {
	node, err := c.client.CoreV1().Nodes().Create(ctx, &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: standIn},
		Spec:       corev1.NodeSpec{Unschedulable: true},
	}, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) { // of a run that was killed
		node, err = c.client.CoreV1().Nodes().Get(ctx, standIn, metav1.GetOptions{})
	}
	if err != nil {
		return fmt.Errorf("making the node %s: %w", standIn, err)
	}
	defer func() {
		tidying, cancel := context.WithTimeout(context.WithoutCancel(ctx), tidyTimeout)
		defer cancel()
		err = errors.Join(err, ignoreNotFound(c.client.CoreV1().Nodes().Delete(tidying, standIn, metav1.DeleteOptions{})))
	}()
	return use(node.UID)
}

// removeBound removes the pods that are on the stand-in, and returns when they are gone.
func (c *cluster) removeBound(ctx context.Context, namespace string) error {
	burst := metav1.ListOptions{LabelSelector: "app=" + burstApp}
	// At once: nobody there says that they have ended.
	now := metav1.DeleteOptions{GracePeriodSeconds: new(int64)}
	var failed error
	err := wait.PollUntilContextTimeout(ctx, poll, longTidyTimeout, true, func(ctx context.Context) (bool, error) {
		// Of thousands of pods the API server deletes as many as it can in a minute, its limit for a request, and then fails.
		failed = c.client.CoreV1().Pods(namespace).DeleteCollection(ctx, now, burst)
		pods, err := c.client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: burst.LabelSelector, Limit: 1})
		return err == nil && len(pods.Items) == 0, err
	})
	if err != nil {
		return errors.Join(err, failed)
	}
	return nil
}
