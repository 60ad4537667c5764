package migrate

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/spire-injector/spire-injector/test/demo/scene"
)

// specs are what must not change: of Services everything that they are, of Deployments everything but labels and
// annotations of their pods.
type specs map[string]string

// specs reads them.
func (s stage) specs(ctx context.Context) (specs, error) {
	var (
		deployments appsv1.DeploymentList
		services    corev1.ServiceList
	)
	if err := s.K.Get(ctx, &deployments, "-n", Namespace, "deployments"); err != nil {
		return nil, err
	}
	if err := s.K.Get(ctx, &services, "-n", Namespace, "services"); err != nil {
		return nil, err
	}
	out := specs{}
	for _, d := range deployments.Items {
		d.Spec.Template.ObjectMeta.Labels, d.Spec.Template.ObjectMeta.Annotations = nil, nil
		if err := out.add("Deployment "+d.Name, d.Spec); err != nil {
			return nil, err
		}
	}
	for _, service := range services.Items {
		if err := out.add("Service "+service.Name, service.Spec); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (s specs) add(name string, spec any) error {
	text, err := json.Marshal(spec)
	s[name] = string(text)
	return err
}

// same is nil if nothing has changed since.
func (s specs) same(now specs) error {
	if len(s) == 0 {
		return fmt.Errorf("expected Deployments and Services in the namespace %s, found none", Namespace)
	}
	names := maps.Clone(s)
	maps.Copy(names, now)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if s[name] != now[name] {
			return &scene.Mismatch{What: name, Expected: s[name], Got: now[name]}
		}
	}
	return nil
}
