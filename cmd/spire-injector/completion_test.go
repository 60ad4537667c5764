package main

import (
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
)

// Names are completed step by step: a namespace, then what is in it.
func TestCompletion(t *testing.T) {
	t.Parallel()
	named := func(namespace, name string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Namespace: namespace, Name: name}
	}
	api := fake.NewClientset(
		&corev1.Namespace{ObjectMeta: named("", "shop")}, &corev1.Namespace{ObjectMeta: named("", "batch")},
		&appsv1.Deployment{ObjectMeta: named("shop", "api")}, &corev1.Service{ObjectMeta: named("shop", "api")},
		&corev1.Pod{ObjectMeta: named("shop", "api-1")}, &appsv1.StatefulSet{ObjectMeta: named("shop", "store")},
		&appsv1.Deployment{ObjectMeta: named("batch", "apart")},
	)
	for _, tt := range []struct{ namespace, typed, want string }{
		{"", "", "batch/ shop/"},
		{"", "sh", "shop/"},
		{"", "shop/", "shop/api shop/store shop/api-1"},
		{"", "shop/s", "shop/store"},
		{"shop", "a", "api api-1"},
		{"none", "a", ""},
	} {
		if got := strings.Join(namesLike(t.Context(), api, tt.namespace, tt.typed), " "); got != tt.want {
			t.Errorf("%q of %q: expected %q, got %q", tt.typed, tt.namespace, tt.want, got)
		}
	}
	if got := strings.Join(namespacesLike(t.Context(), api, "b", ""), " "); got != "batch" {
		t.Errorf("got %q", got)
	}
}

// As a plugin the command says the words by which people call it.
func TestPlugin(t *testing.T) {
	t.Parallel()
	for program, want := range map[string]string{
		"/usr/local/bin/spire-injector": "spire-injector explain", "/opt/krew/bin/kubectl-spiffe": "kubectl spiffe explain",
	} {
		root := newCommandAs(program)
		explain, _, err := root.Find([]string{"explain"})
		if err != nil || explain.CommandPath() != want {
			t.Errorf("expected %q, got %q, %v", want, explain.CommandPath(), err)
		}
		if !strings.Contains(explain.Example, "  "+want+" shop/api\n") {
			t.Errorf("%s: got example %q", program, explain.Example)
		}
	}
}
