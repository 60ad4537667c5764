package main

import (
	"os"
	"strings"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/spire-injector/spire-injector/cmd/spire-injector/replica"
	"github.com/spire-injector/spire-injector/webhook"
)

// flagsOf are those of a command line.
func flagsOf(t *testing.T, arguments ...string) serveFlags {
	t.Helper()
	var f serveFlags
	if err := serveCommand(&f).ParseFlags(arguments); err != nil {
		t.Fatal(err)
	}
	return f
}

func TestFlagsOfServe(t *testing.T) {
	t.Parallel()
	for arguments, want := range map[string]string{ // part of the error, empty for none
		"":                                 "",
		"--serving-cert-rotation=self":     "",
		"--serving-cert-rotation=external": "",
		"--serving-cert-rotation=nobody":   "--serving-cert-rotation: expected self or external, got \"nobody\"",
		"--entry-grace-time=1m":            "",
		"--entry-grace-time=59s":           "--entry-grace-time: expected 1m0s or more, got 59s",
		"--resync-interval=1s":             "",
		"--resync-interval=999ms":          "--resync-interval: expected 1s or more, got 999ms",
	} {
		err := flagsOf(t, strings.Fields(arguments)...).check()
		if (err != nil) != (want != "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v", arguments, err)
		}
	}
	f := flagsOf(t, "--service=injector", "--namespace=system", "--metrics-address=:1")
	if got := f.host(); got != "injector.system.svc" {
		t.Errorf("the API server calls %s", got)
	}
	if got := f.listening(f.metricsAddress); got != ":1" {
		t.Errorf("metrics are at %s", got)
	}
	f.dryRun = true
	if got := f.listening(f.metricsAddress); got != "0" {
		t.Errorf("a dry run has metrics at %s", got)
	}
	if _, err := newLogger("loud"); err == nil {
		t.Error("expected an error of a level that is none")
	}
	if logger, err := newLogger("warn"); err != nil || logger.Enabled() {
		t.Errorf("a logger of warnings: %v, %v", logger.Enabled(), err)
	}
}

func TestAgentAddress(t *testing.T) {
	t.Parallel()
	p := webhook.Platform{AgentSocket: webhook.AgentSocket{HostPath: "/run/spire/sockets", File: "agent.sock"}}
	if got := agentAddress(serveFlags{}, p); got != "unix:///run/spire/sockets/agent.sock" {
		t.Errorf("got %s", got)
	}
	if got := agentAddress(serveFlags{workloadAPI: "unix:///own.sock"}, p); got != "unix:///own.sock" {
		t.Errorf("got %s", got)
	}
}

// What is watched is no more than what there is a right to see, and of pods the digest of their configuration is kept.
func TestWatchedObjects(t *testing.T) {
	t.Parallel()
	f := flagsOf(t, "--config-map=platform", "--namespace=system", "--serving-cert-secret=cert",
		"--webhook-configuration=hooks")
	watched, err := watchedObjects(f)
	if err != nil {
		t.Fatal(err)
	}
	of := func(kind client.Object) cache.ByObject {
		for object, by := range watched {
			switch object.(type) {
			case *corev1.Pod:
				if _, is := kind.(*corev1.Pod); is {
					return by
				}
			case *corev1.Secret:
				if _, is := kind.(*corev1.Secret); is {
					return by
				}
			case *corev1.ConfigMap:
				if _, is := kind.(*corev1.ConfigMap); is {
					return by
				}
			case *admissionregistrationv1.MutatingWebhookConfiguration:
				if _, is := kind.(*admissionregistrationv1.MutatingWebhookConfiguration); is {
					return by
				}
			}
		}
		t.Errorf("no %T is watched", kind)
		return cache.ByObject{}
	}
	selects := func(what string, selector fields.Selector, name string) {
		t.Helper()
		if selector == nil || selector.String() != "metadata.name="+name {
			t.Errorf("%s: selected by %v, expected the name %s", what, selector, name)
		}
	}
	selects("ConfigMap", of(&corev1.ConfigMap{}).Namespaces["system"].FieldSelector, "platform")
	selects("Secret", of(&corev1.Secret{}).Namespaces["system"].FieldSelector, "cert")
	selects("configuration", of(&admissionregistrationv1.MutatingWebhookConfiguration{}).Field, "hooks")
	pod := &corev1.Pod{}
	pod.Annotations = map[string]string{webhook.AnnotationListeners: strings.Repeat("x", 1000)}
	kept, err := of(&corev1.Pod{}).Transform(pod)
	if err != nil {
		t.Fatal(err)
	}
	annotations := kept.(*corev1.Pod).Annotations
	if len(annotations) != 1 || annotations[webhook.AnnotationListeners] != "" {
		t.Errorf("expected nothing but a digest, got %v", annotations)
	}
	without, err := watchedObjects(flagsOf(t))
	if err != nil {
		t.Fatal(err)
	}
	for object := range without {
		if _, is := object.(*corev1.ConfigMap); is {
			t.Error("ConfigMaps are watched although none is named")
		}
	}
}

// A new leader changes no pod before replicas of the version before have ended, and none ends while the API server
// waits for it.
func TestTimeouts(t *testing.T) {
	t.Parallel()
	if ends := replica.ShutdownDelay + gracefulShutdown; calm <= ends {
		t.Errorf("a new leader changes nothing for %s, and a replica takes up to %s to end", calm, ends)
	}
	data, err := os.ReadFile("../../manifests/injector/base/webhook.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var c admissionregistrationv1.MutatingWebhookConfiguration
	if err := yaml.Unmarshal(data, &c); err != nil || len(c.Webhooks) == 0 {
		t.Fatalf("got %d webhooks, %v", len(c.Webhooks), err)
	}
	for _, hook := range c.Webhooks {
		timeout := 10 * time.Second // Kubernetes' own
		if hook.TimeoutSeconds != nil {
			timeout = time.Duration(*hook.TimeoutSeconds) * time.Second
		}
		if gracefulShutdown < timeout {
			t.Errorf("%s: the API server waits for %s, and a replica ends after %s", hook.Name, timeout, gracefulShutdown)
		}
	}
}
