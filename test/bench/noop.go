package main

import (
	"bytes"
	"context"
	"encoding/pem"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/spire-injector/spire-injector/webhook/inject"
)

const noopReplicas = 2 // as many as the injector has

// startNoop starts a webhook that decides nothing, with the replicas and resources of the injector's manifest, and
// returns the CAs of its replicas: each makes its own. Its answer is always the given patch, if there is one.
func (c *cluster) startNoop(ctx context.Context, namespace, name string, patch []inject.Operation) ([]byte, error) {
	labels := map[string]string{"app": name}
	ephemeral := metav1.CreateOptions{}
	service := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       corev1.ServiceSpec{Selector: labels, Ports: []corev1.ServicePort{{Port: 443, TargetPort: intstr.FromInt32(9443)}}},
	}
	if _, err := c.client.CoreV1().Services(namespace).Create(ctx, service, ephemeral); err != nil {
		return nil, err
	}
	deployment := &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: appsv1.DeploymentSpec{
			Replicas: new(int32(noopReplicas)),
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec: corev1.PodSpec{Containers: []corev1.Container{{
					Name:            name,
					Image:           c.env.Images[podToolImage],
					ImagePullPolicy: corev1.PullIfNotPresent,
					Args:            []string{"noop-webhook", "--listen", ":9443", "--namespace", namespace, "--name", name},
					ReadinessProbe: &corev1.Probe{
						ProbeHandler:  corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromInt32(9443)}},
						PeriodSeconds: 1,
					},
					Resources: corev1.ResourceRequirements{
						Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("50m"), corev1.ResourceMemory: resource.MustParse("64Mi")},
						Limits:   corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("256Mi")},
					},
				}}},
			},
		},
	}
	if patch != nil {
		if err := c.mountPatch(ctx, namespace, name, patch, &deployment.Spec.Template.Spec); err != nil {
			return nil, fmt.Errorf("shipping its patch: %w", err)
		}
	}
	if _, err := c.client.AppsV1().Deployments(namespace).Create(ctx, deployment, ephemeral); err != nil {
		return nil, err
	}
	if err := c.waitRollout(ctx, namespace, name); err != nil {
		return nil, err
	}
	pods, err := c.client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: "app=" + name})
	if err != nil {
		return nil, err
	}
	var authorities []byte
	for _, pod := range pods.Items {
		log, err := c.client.CoreV1().Pods(namespace).GetLogs(pod.Name, &corev1.PodLogOptions{}).DoRaw(ctx)
		if err != nil {
			return nil, fmt.Errorf("reading the CA of %s from its log: %w", pod.Name, err)
		}
		found := certificates(log)
		if len(found) == 0 {
			return nil, fmt.Errorf("expected a CA certificate in the log of %s/%s, got:\n%s", namespace, pod.Name, log)
		}
		authorities = append(authorities, found...)
	}
	return authorities, nil
}

// certificates are the PEM certificates among other text.
func certificates(text []byte) []byte {
	var out bytes.Buffer
	for {
		block, rest := pem.Decode(text)
		if block == nil {
			return out.Bytes()
		}
		if block.Type == "CERTIFICATE" {
			out.Write(pem.EncodeToMemory(block))
		}
		text = rest
	}
}

func (c *cluster) waitRollout(ctx context.Context, namespace, deployment string) error {
	ready := int32(0)
	err := wait.PollUntilContextTimeout(ctx, poll, startTimeout, true, func(ctx context.Context) (bool, error) {
		d, err := c.client.AppsV1().Deployments(namespace).Get(ctx, deployment, metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		ready = d.Status.ReadyReplicas
		return ready == *d.Spec.Replicas, nil
	})
	if err != nil {
		return fmt.Errorf("waiting for deployment %s/%s, of which %d pods are ready: %w", namespace, deployment, ready, err)
	}
	return nil
}
