package servingcert

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Source names what decides about the certificate.
type Source struct {
	Secret        types.NamespacedName // without a name: the certificate does not come in a Secret
	Configuration string               // the webhook configurations of both kinds that have this name
}

// Watched narrows the watches to the one Secret and the configurations of one name: there is no right to see others.
func (s Source) Watched() map[client.Object]cache.ByObject {
	named := func(name string) fields.Selector { return fields.OneTermEqualSelector("metadata.name", name) }
	out := map[client.Object]cache.ByObject{}
	if s.Secret.Name != "" {
		out[&corev1.Secret{}] = cache.ByObject{
			Namespaces: map[string]cache.Config{s.Secret.Namespace: {FieldSelector: named(s.Secret.Name)}},
		}
	}
	for _, kind := range Kinds() {
		out[kind] = cache.ByObject{Field: named(s.Configuration)}
	}
	return out
}

// Watch keeps the certificate at its source by watches: the files of a mounted Secret come up to two minutes later,
// which is too late for a first start, and for a rotation. It returns when the watches are set up.
func (c *Certificate) Watch(ctx context.Context, from cache.Cache, s Source, logger logr.Logger) error {
	offer := func(object any) {
		secret, ok := object.(*corev1.Secret)
		if !ok || secret.Name != s.Secret.Name || len(secret.Data) == 0 {
			return
		}
		if err := c.Offer(secret.Data[corev1.TLSCertKey], secret.Data[corev1.TLSPrivateKeyKey], time.Now()); err != nil {
			logger.Error(err, "keeping the old serving certificate: expected a certificate and its key in the Secret",
				"secret", client.ObjectKeyFromObject(secret), "keys", []string{corev1.TLSCertKey, corev1.TLSPrivateKeyKey})
		}
	}
	if s.Secret.Name != "" {
		if err := watch(ctx, from, &corev1.Secret{}, offer); err != nil {
			return err
		}
	}
	trust := func(any) {
		if err := c.Refresh(ctx, from, s.Configuration); err != nil {
			logger.Error(err, "going by what was registered before")
		}
	}
	for _, kind := range Kinds() {
		if err := watch(ctx, from, kind, trust); err != nil {
			return err
		}
	}
	return nil
}

// watch calls do with each object of a kind when it comes, changes or goes.
func watch(ctx context.Context, from cache.Cache, kind client.Object, do func(object any)) error {
	informer, err := from.GetInformer(ctx, kind)
	if err != nil {
		return fmt.Errorf("watching %T: %w", kind, err)
	}
	_, err = informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		AddFunc: do, UpdateFunc: func(_, after any) { do(after) }, DeleteFunc: do,
	})
	return err
}

// Log returns a [Certificate.OnPresent] that logs which certificate it is.
func Log(logger logr.Logger) func(leaf *x509.Certificate) {
	return func(leaf *x509.Certificate) {
		sum := sha256.Sum256(leaf.Raw)
		logger.Info("presenting the serving certificate",
			"sha256", hex.EncodeToString(sum[:]), "issuer", leaf.Issuer.String(), "notAfter", leaf.NotAfter)
	}
}
