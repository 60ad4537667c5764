package scene

import (
	"context"
	"fmt"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/spire-injector/spire-injector/test/install"
)

// ApplyCommand is how a reader would apply a kustomization, given from the project's top folder.
func ApplyCommand(kustomization string) Command {
	return Command{Args: []string{"apply", "-k", kustomization}}
}

// Apply applies a kustomization with the images as the cluster has them, and returns it as ApplyCommand.
func (s Scene) Apply(ctx context.Context, kustomization string) (Ran, error) {
	manifests, err := s.Rendered(ctx, kustomization)
	if err != nil {
		return Ran{}, err
	}
	r := Ran{Command: ApplyCommand(kustomization), Start: time.Now()}
	r.Stdout, err = s.K.With(ctx, manifests, "apply", "-f", "-")
	r.End = time.Now()
	return r, err
}

// Rendered is what a kustomization stands for, with the images as the cluster has them.
func (s Scene) Rendered(ctx context.Context, kustomization string) (string, error) {
	r, err := s.Run(ctx, Command{Args: []string{"kustomize", s.Path(kustomization)}})
	return install.WithImages(s.Env, r.Stdout), err
}

// RolledOut waits until all pods of Deployments are ready.
func (s Scene) RolledOut(ctx context.Context, namespace string, deployments ...string) error {
	for _, name := range deployments {
		c := In(namespace, "rollout", "status", "deployment/"+name, "--timeout=120s")
		r, err := s.Try(ctx, c)
		if err == nil && r.Failed {
			err = &Mismatch{
				What: c.String(), Expected: "success", Got: strings.TrimSpace(r.Output()) + s.NotCreated(ctx, namespace),
				Look: In(namespace, "get", "pods,events").String(),
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// NotCreated is why the API server refused pods of Deployments in a namespace, if it did: the end of an error's text.
func (s Scene) NotCreated(ctx context.Context, namespace string) string {
	var list appsv1.DeploymentList
	if err := s.K.Get(ctx, &list, "-n", namespace, "deployments"); err != nil {
		return ""
	}
	var b strings.Builder
	for _, d := range list.Items {
		for _, c := range d.Status.Conditions {
			if c.Type == appsv1.DeploymentReplicaFailure && c.Status == corev1.ConditionTrue {
				fmt.Fprintf(&b, "; %s: %s", d.Name, c.Message)
			}
		}
	}
	return b.String()
}

// Pod is the one pod of a label selector.
func (s Scene) Pod(ctx context.Context, namespace, selector string) (corev1.Pod, error) {
	var list corev1.PodList
	if err := s.K.Get(ctx, &list, "-n", namespace, "pods", "-l", selector); err != nil {
		return corev1.Pod{}, err
	}
	if len(list.Items) != 1 {
		var names []string
		for _, p := range list.Items {
			names = append(names, p.Name)
		}
		return corev1.Pod{}, &Mismatch{What: "pods with " + selector + " in namespace " + namespace, Expected: "one", Got: strings.Join(names, ", ")}
	}
	return list.Items[0], nil
}
