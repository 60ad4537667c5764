package main

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"net/http"
	"time"

	"github.com/go-logr/logr"
	"github.com/open-policy-agent/cert-controller/pkg/rotator"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/healthz"

	"github.com/spire-injector/spire-injector/webhook/servingcert"
)

// Who keeps the serving certificate, and its CA in the webhook configurations.
const (
	rotationSelf     = "self"     // the leading replica
	rotationExternal = "external" // somebody else, such as cert-manager
)

func (f serveFlags) checkRotation() error {
	if f.rotation == rotationSelf || f.rotation == rotationExternal {
		return nil
	}
	return fmt.Errorf("--serving-cert-rotation: expected %s or %s, got %q", rotationSelf, rotationExternal, f.rotation)
}

// servingCertificate follows the Secret and the webhook configurations by watches: the files of a mounted Secret follow by
// up to two minutes, which is too late for a first start, and for a rotation.
type servingCertificate struct {
	servingcert.Certificate
}

func newServingCertificate(f serveFlags, logger logr.Logger) *servingCertificate {
	return &servingCertificate{servingcert.Certificate{Host: f.host(), OnShow: func(leaf *x509.Certificate) {
		sum := sha256.Sum256(leaf.Raw)
		logger.Info("showing the serving certificate",
			"sha256", hex.EncodeToString(sum[:]), "issuer", leaf.Issuer.String(), "notAfter", leaf.NotAfter)
	}}}
}

func (c *servingCertificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return c.Show(time.Now())
}

// trusted checks that the API server can verify the certificate.
func (c *servingCertificate) trusted() healthz.Checker {
	return func(*http.Request) error { return c.Trusted(time.Now()) }
}

// expiry returns when the certificate expires that is shown, or false before there is one.
func (c *servingCertificate) expiry() (time.Time, bool) {
	shown, err := c.Show(time.Now())
	if err != nil {
		return time.Time{}, false
	}
	return shown.Leaf.NotAfter, true
}

// watched narrows the watches to the one Secret and the registrations of one name: there is no right to see others.
func watched(f serveFlags) map[client.Object]cache.ByObject {
	name := func(name string) fields.Selector { return fields.OneTermEqualSelector("metadata.name", name) }
	out := map[client.Object]cache.ByObject{
		&corev1.Secret{}: {Namespaces: map[string]cache.Config{f.namespace: {FieldSelector: name(f.secret)}}},
	}
	for _, kind := range servingcert.Kinds() {
		out[kind] = cache.ByObject{Field: name(f.webhookConfig)}
	}
	return out
}

func watchServingCertificate(ctx context.Context, mgr ctrl.Manager, f serveFlags, certificate *servingCertificate) error {
	logger := mgr.GetLogger().WithName("serving-certificate")
	offer := func(object any) {
		secret, ok := object.(*corev1.Secret)
		if !ok || secret.Name != f.secret || len(secret.Data) == 0 {
			return
		}
		if err := certificate.Offer(secret.Data[corev1.TLSCertKey], secret.Data[corev1.TLSPrivateKeyKey], time.Now()); err != nil {
			logger.Error(err, "keeping the old serving certificate: expected a certificate and its key in the Secret",
				"secret", client.ObjectKeyFromObject(secret), "keys", []string{corev1.TLSCertKey, corev1.TLSPrivateKeyKey})
		}
	}
	if err := follow(ctx, mgr, &corev1.Secret{}, offer); err != nil {
		return err
	}
	trust := func(any) {
		if err := certificate.Follow(ctx, mgr.GetCache(), f.webhookConfig); err != nil {
			logger.Error(err, "going by what was registered before")
		}
	}
	for _, kind := range servingcert.Kinds() {
		if err := follow(ctx, mgr, kind, trust); err != nil {
			return err
		}
	}
	return nil
}

// follow calls do with each object of a kind when it comes, changes or goes.
func follow(ctx context.Context, mgr ctrl.Manager, kind client.Object, do func(object any)) error {
	informer, err := mgr.GetCache().GetInformer(ctx, kind)
	if err != nil {
		return fmt.Errorf("watching %T: %w", kind, err)
	}
	_, err = informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		AddFunc: do, UpdateFunc: func(_, after any) { do(after) }, DeleteFunc: do,
	})
	return err
}

// addRotation lets the leading replica make the serving certificate, renew it in time, and keep its CA in the webhook
// configurations. The rotator is not told of those: it would put a new CA in the place of the old one, while replicas
// still show certificates of the old.
func addRotation(mgr ctrl.Manager, f serveFlags) error {
	if f.rotation == rotationExternal {
		return nil
	}
	secret := types.NamespacedName{Namespace: f.namespace, Name: f.secret}
	keeper := &servingcert.Keeper{Client: mgr.GetClient(), Secret: secret, Configuration: f.webhookConfig}
	if err := keeper.AddTo(mgr); err != nil {
		return err
	}
	return rotator.AddRotator(mgr, &rotator.CertRotator{
		SecretKey:             secret,
		CertDir:               f.certDir,
		CAName:                "spire-injector-ca",
		CAOrganization:        "spire-injector",
		DNSName:               f.host(),
		ExtraDNSNames:         []string{f.host() + ".cluster.local"},
		IsReady:               make(chan struct{}),
		RequireLeaderElection: true,
	})
}
