package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"

	"github.com/open-policy-agent/cert-controller/pkg/rotator"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
)

// servingCertificate is the webhook's certificate as the Secret has it now. It follows the Secret by a watch, because the
// files of a mounted Secret follow by up to two minutes: too late for a first start, and for a rotation.
type servingCertificate struct {
	current atomic.Pointer[tls.Certificate]
}

var errNoCertificate = errors.New("there is no serving certificate yet: the leading replica makes it within seconds of its election")

func (c *servingCertificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	if cert := c.current.Load(); cert != nil {
		return cert, nil
	}
	return nil, errNoCertificate
}

// load takes the pair of a Secret; one that is not complete leaves the old pair in force.
func (c *servingCertificate) load(secret *corev1.Secret) error {
	cert, err := tls.X509KeyPair(secret.Data[corev1.TLSCertKey], secret.Data[corev1.TLSPrivateKeyKey])
	if err != nil {
		return fmt.Errorf("secret %s/%s: expected a certificate and its key under %s and %s: %w",
			secret.Namespace, secret.Name, corev1.TLSCertKey, corev1.TLSPrivateKeyKey, err)
	}
	c.current.Store(&cert)
	return nil
}

// trusted checks that the API server knows the CA of the certificate.
func (c *servingCertificate) trusted(configurations client.Reader, name, host string) healthz.Checker {
	return func(r *http.Request) error {
		var registered admissionregistrationv1.MutatingWebhookConfiguration
		if err := configurations.Get(r.Context(), client.ObjectKey{Name: name}, &registered); err != nil {
			return fmt.Errorf("reading the webhook configuration: %w", err)
		}
		for _, w := range registered.Webhooks {
			if err := c.verifiedBy(w.ClientConfig.CABundle, host); err != nil {
				return fmt.Errorf("the API server cannot call %s yet: %w", w.Name, err)
			}
		}
		return nil
	}
}

func (c *servingCertificate) verifiedBy(caBundle []byte, host string) error {
	cert, err := c.get(nil)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(caBundle) {
		return errors.New("its caBundle is empty; the leading replica fills it within seconds of its election")
	}
	_, err = cert.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: host})
	return err
}

func watchServingCertificate(ctx context.Context, mgr ctrl.Manager, key types.NamespacedName, certificate *servingCertificate) error {
	informer, err := mgr.GetCache().GetInformer(ctx, &corev1.Secret{})
	if err != nil {
		return fmt.Errorf("watching secret %s: %w", key, err)
	}
	logger := mgr.GetLogger().WithName("serving-certificate")
	loaded := func(object any) {
		secret, ok := object.(*corev1.Secret)
		if !ok || secret.Name != key.Name || secret.Namespace != key.Namespace || len(secret.Data) == 0 {
			return
		}
		if err := certificate.load(secret); err != nil {
			logger.Error(err, "keeping the old serving certificate")
			return
		}
		logger.Info("loaded", "resourceVersion", secret.ResourceVersion)
	}
	_, err = informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		AddFunc:    loaded,
		UpdateFunc: func(_, after any) { loaded(after) },
	})
	return err
}

// addRotator lets the leading replica make the serving certificate, renew it in time, and write its CA into the webhook
// configuration.
func addRotator(mgr ctrl.Manager, f serveFlags) error {
	return rotator.AddRotator(mgr, &rotator.CertRotator{
		SecretKey:             types.NamespacedName{Namespace: f.namespace, Name: f.secret},
		CertDir:               f.certDir,
		CAName:                "spire-injector-ca",
		CAOrganization:        "spire-injector",
		DNSName:               f.host(),
		ExtraDNSNames:         []string{f.host() + ".cluster.local"},
		IsReady:               make(chan struct{}),
		Webhooks:              []rotator.WebhookInfo{{Name: f.webhookConfig, Type: rotator.Mutating}},
		FieldOwner:            "spire-injector",
		RequireLeaderElection: true,
	})
}
