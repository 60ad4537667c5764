package answers

import (
	"encoding/json"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/spire-injector/spire-injector/webhook/inject"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

// Add takes an object of a manifest into the facts, if it is of a kind that they are of. Kind is such as
// "apps/v1/Deployment", and where it stands is for messages. Without a namespace it is in defaultNamespace.
func (f *Facts) Add(defaultNamespace, where, kind string, object []byte) error {
	err := f.add(defaultNamespace, where, kind, object)
	if err != nil {
		return fmt.Errorf("%s: %w", where, err)
	}
	return nil
}

func (f *Facts) add(defaultNamespace, where, kind string, object []byte) error {
	switch kind {
	case "v1/Namespace":
		var ns corev1.Namespace
		if err := json.Unmarshal(object, &ns); err != nil {
			return fmt.Errorf("expected a Namespace: %w", err)
		}
		f.addNamespace(&ns)
		return nil
	case "v1/Service":
		var s corev1.Service
		if err := json.Unmarshal(object, &s); err != nil {
			return fmt.Errorf("expected a Service: %w", err)
		}
		s.Namespace = orDefault(s.Namespace, defaultNamespace)
		f.Services = append(f.Services, trimService(&s))
		return nil
	}
	pointer, hasPod := inject.PodPointer(kind)
	if !hasPod {
		return nil
	}
	var header struct {
		Metadata metav1.ObjectMeta `json:"metadata"`
	}
	if err := json.Unmarshal(object, &header); err != nil {
		return fmt.Errorf("expected a Kubernetes object: %w", err)
	}
	raw, err := inject.At(object, pointer)
	if err != nil {
		return err
	}
	var pod corev1.Pod
	if err := json.Unmarshal(raw, &pod); err != nil {
		return fmt.Errorf("expected a pod at %q: %w", pointer, err)
	}
	meta := header.Metadata
	t := Template{
		Object: Object{
			Kind:      kind[strings.LastIndex(kind, "/")+1:],
			Namespace: orDefault(meta.Namespace, defaultNamespace),
			Name:      orDefault(meta.Name, meta.GenerateName),
		},
		Pod:   &pod,
		Where: where,
	}
	if pointer != "" {
		t.Labels, t.Annotations = meta.Labels, meta.Annotations
	}
	pod.Namespace = t.Namespace
	f.Templates = append(f.Templates, t)
	return nil
}

func (f *Facts) addNamespace(ns *corev1.Namespace) {
	if f.Namespaces == nil {
		f.Namespaces = map[string]intent.Namespace{}
	}
	if ns.DeletionTimestamp != nil || ns.Status.Phase == corev1.NamespaceTerminating {
		if f.ending == nil {
			f.ending = map[string]bool{}
		}
		f.ending[ns.Name] = true
	}
	f.Namespaces[ns.Name] = intent.Namespace{Name: ns.Name, Labels: ns.Labels, Annotations: ns.Annotations}
}

func trimService(s *corev1.Service) corev1.Service {
	return corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: s.Name, CreationTimestamp: s.CreationTimestamp},
		Spec: corev1.ServiceSpec{
			Type:      s.Spec.Type,
			ClusterIP: s.Spec.ClusterIP,
			Selector:  s.Spec.Selector,
			Ports:     s.Spec.Ports,
		},
	}
}

func orDefault(s, standard string) string {
	if s == "" {
		return standard
	}
	return s
}
