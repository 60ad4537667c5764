package main

import (
	"context"
	"errors"
	"fmt"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/spire-injector/spire-injector/webhook/inject"
)

// provide brings a webhook of the bench to the point where the API server calls it. The returned function ends that.
func (c *cluster) provide(ctx context.Context, namespace string, v variant, answer []inject.Operation) (func() error, error) {
	authorities, err := c.startNoop(ctx, namespace, v.name, answer)
	if err != nil {
		return nil, fmt.Errorf("starting webhook %s: %w", v.name, err)
	}
	service := &admissionv1.ServiceReference{Namespace: namespace, Name: v.name, Path: new("/mutate-pod")}
	unregister, err := c.register(ctx, namespace, admissionv1.WebhookClientConfig{Service: service, CABundle: authorities}, v)
	if err != nil {
		return nil, fmt.Errorf("registering webhook %s: %w", v.name, err)
	}
	if err := c.awaitCalls(ctx, namespace, v); err != nil {
		return nil, errors.Join(err, unregister())
	}
	return unregister, nil
}

// register makes the API server call a webhook of the bench for the pods of one namespace that carry its label, on the
// same terms as the injector, but for creations alone: nobody updates these pods, and a constant patch would not fit.
// The returned function undoes that.
func (c *cluster) register(
	ctx context.Context, namespace string, at admissionv1.WebhookClientConfig, v variant,
) (func() error, error) {
	configurations := c.client.AdmissionregistrationV1().MutatingWebhookConfigurations()
	made, err := configurations.Create(ctx, &admissionv1.MutatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{GenerateName: namespace + "-" + v.name + "-"},
		Webhooks: []admissionv1.MutatingWebhook{{
			Name:                    v.webhook,
			AdmissionReviewVersions: []string{"v1"},
			ClientConfig:            at,
			Rules: []admissionv1.RuleWithOperations{{
				Operations: []admissionv1.OperationType{admissionv1.Create},
				Rule: admissionv1.Rule{
					APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"pods"}, Scope: new(admissionv1.NamespacedScope),
				},
			}},
			NamespaceSelector:  &metav1.LabelSelector{MatchLabels: map[string]string{"kubernetes.io/metadata.name": namespace}},
			ObjectSelector:     &metav1.LabelSelector{MatchLabels: map[string]string{v.label: v.value}},
			FailurePolicy:      new(admissionv1.Fail),
			SideEffects:        new(admissionv1.SideEffectClassNone),
			ReinvocationPolicy: new(admissionv1.IfNeededReinvocationPolicy),
			TimeoutSeconds:     new(int32(10)),
		}},
	}, metav1.CreateOptions{})
	if err != nil {
		return nil, err
	}
	return func() error {
		tidying, cancel := context.WithTimeout(context.WithoutCancel(ctx), tidyTimeout)
		defer cancel()
		return configurations.Delete(tidying, made.Name, metav1.DeleteOptions{})
	}, nil
}

// awaitCalls creates pods, without keeping them, until the API server calls a webhook that was just registered.
func (c *cluster) awaitCalls(ctx context.Context, namespace string, v variant) error {
	before, err := c.webhookCalls(ctx, v.webhook)
	if err != nil {
		return err
	}
	err = wait.PollUntilContextTimeout(ctx, poll, startTimeout, true, func(ctx context.Context) (bool, error) {
		_, err := c.client.CoreV1().Pods(namespace).Create(ctx, pendingPod(namespace, v), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		if err != nil {
			c.tell("not called yet: %v", err)
			return false, nil
		}
		now, err := c.webhookCalls(ctx, v.webhook)
		return now.count > before.count, err
	})
	if err != nil {
		return fmt.Errorf("waiting for the API server to call %s: %w", v.webhook, err)
	}
	return nil
}
