package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/spire-injector/spire-injector/webhook/inject"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

const (
	startTimeout = 2 * time.Minute // of pods
	tidyTimeout  = 2 * time.Minute
)

var listAll = metav1.ListOptions{}

// in runs use in a fresh namespace, and removes it and the registration entries of its pods whatever happens.
func (c *cluster) in(ctx context.Context, name string, use func(namespace string) error) (err error) {
	namespace, err := c.client.CoreV1().Namespaces().Create(ctx,
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "bench-" + name + "-"}}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	defer func() {
		// Also after an interrupt: what is left behind would disturb whoever comes next.
		tidying, cancel := context.WithTimeout(context.WithoutCancel(ctx), tidyTimeout)
		defer cancel()
		if tidy := c.removeNamespace(tidying, namespace.Name); tidy != nil {
			err = errors.Join(err, fmt.Errorf("removing namespace %s: %w", namespace.Name, tidy))
		}
	}()
	// A pod is refused as long as its namespace has no service account.
	err = wait.PollUntilContextTimeout(ctx, poll, startTimeout, true, func(ctx context.Context) (bool, error) {
		_, err := c.client.CoreV1().ServiceAccounts(namespace.Name).Get(ctx, "default", metav1.GetOptions{})
		return err == nil, ignoreNotFound(err)
	})
	if err != nil {
		return fmt.Errorf("waiting for the service account of namespace %s: %w", namespace.Name, err)
	}
	return use(namespace.Name)
}

// removeNamespace returns when all of it is gone, because pods that end take their time of the next measurement.
func (c *cluster) removeNamespace(ctx context.Context, name string) error {
	entries, listing := c.entriesOf(ctx, name)
	now := int64(1)
	err := c.client.CoreV1().Namespaces().Delete(ctx, name, metav1.DeleteOptions{GracePeriodSeconds: &now})
	if err != nil {
		return err
	}
	err = wait.PollUntilContextCancel(ctx, poll, true, func(ctx context.Context) (bool, error) {
		_, err := c.client.CoreV1().Namespaces().Get(ctx, name, metav1.GetOptions{})
		return apierrors.IsNotFound(err), ignoreNotFound(err)
	})
	return errors.Join(err, listing, c.removeEntries(ctx, entries))
}

// entriesOf are the IDs of the registration entries that the pods of a namespace have, by their status.
func (c *cluster) entriesOf(ctx context.Context, namespace string) ([]string, error) {
	pods, err := c.client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: intent.LabelIdentity})
	if err != nil {
		return nil, err
	}
	ids := map[string]bool{}
	for _, pod := range pods.Items {
		var status inject.Status
		if err := json.Unmarshal([]byte(pod.Annotations[intent.AnnotationStatus]), &status); err != nil {
			return nil, fmt.Errorf("annotation %s of pod %s/%s: %w", intent.AnnotationStatus, namespace, pod.Name, err)
		}
		for _, id := range status.EntryIDs {
			ids[id] = true
		}
	}
	return slices.Sorted(maps.Keys(ids)), nil
}

// removeEntries removes entries that no pod will need again.
func (c *cluster) removeEntries(ctx context.Context, ids []string) error {
	if len(ids) == 0 {
		return nil
	}
	input, err := json.Marshal(map[string][]string{"ids": ids})
	if err != nil {
		return err
	}
	_, err = c.kubectl.With(ctx, string(input), "--namespace", "spire", "exec", "--stdin", "spire-server-0", "--",
		"/opt/spire/bin/spire-server", "entry", "delete", "-file", "-", "-socketPath", "/run/spire/private/api.sock")
	return err
}

func ignoreNotFound(err error) error {
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}
