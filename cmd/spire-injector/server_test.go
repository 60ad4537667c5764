package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/spire-injector/spire-injector/cmd/spire-injector/platformfile"
	"github.com/spire-injector/spire-injector/webhook/inject"
	"github.com/spire-injector/spire-injector/webhook/intent"
	"github.com/spire-injector/spire-injector/webhook/servingcert"
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
		"":                             "",
		"--serving-cert-source=self":   "",
		"--serving-cert-source=secret": "",
		"--serving-cert-source=spire":  "",
		"--serving-cert-source=nobody": "--serving-cert-source: expected secret, spire or self, got \"nobody\"",
		"--webhook-client-ca-file=ca.crt --webhook-client-allowed-names=a,b": "",
		"--webhook-client-allowed-names=a":                                   "--webhook-client-allowed-names: expected --webhook-client-ca-file beside it",
		"--entry-grace-time=1m":                                              "",
		"--entry-grace-time=59s":                                             "--entry-grace-time: expected 1m0s or more, got 59s",
		"--resync-interval=1s":                                               "",
		"--resync-interval=999ms":                                            "--resync-interval: expected 1s or more, got 999ms",
	} {
		err := flagsOf(t, strings.Fields(arguments)...).check()
		if (err != nil) != (want != "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v", arguments, err)
		}
	}
	f := flagsOf(t, "--service=injector", "--namespace=system")
	if got := f.host(); got != "injector.system.svc" {
		t.Errorf("the API server calls %s", got)
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
	p := intent.Platform{AgentSocket: intent.AgentSocket{HostPath: "/run/spire/sockets", File: "agent.sock"}}
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
	pod.Annotations = map[string]string{intent.AnnotationListeners: strings.Repeat("x", 1000)}
	kept, err := of(&corev1.Pod{}).Transform(pod)
	if err != nil {
		t.Fatal(err)
	}
	annotations := kept.(*corev1.Pod).Annotations
	if len(annotations) != 1 || annotations[intent.AnnotationListeners] != "" {
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

// Replicas seal what they make by a key that they have in common, as soon as there is one.
func TestReplicasShareSeals(t *testing.T) {
	t.Parallel()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	encodedKey, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	inPEM := func(kind string, der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}) }
	var sealings []inject.Sealing
	for range 2 {
		metrics, err := platformfile.NewMetrics(prometheus.NewRegistry())
		if err != nil {
			t.Fatal(err)
		}
		s := &server{
			certificate: &servingcert.Certificate{},
			logger:      logr.Discard(),
			inForce:     platformfile.New(platformfile.Config{Metrics: metrics, Logger: logr.Discard()}),
		}
		if got := s.sealing(); len(got.Sealing.Keys) != 0 {
			t.Error("there is a key before there is a certificate")
		}
		if err := s.certificate.Offer(inPEM("CERTIFICATE", certificate), inPEM("PRIVATE KEY", encodedKey), time.Now()); err != nil {
			t.Fatal(err)
		}
		sealings = append(sealings, s.sealing().Sealing)
	}
	if len(sealings[0].Keys) != 1 || !bytes.Equal(sealings[0].Keys[0], sealings[1].Keys[0]) {
		t.Error("expected one key of both replicas")
	}
	if age := time.Since(sealings[0].Now); age < 0 || age > time.Minute {
		t.Errorf("the sealing is %s old", age)
	}
}
