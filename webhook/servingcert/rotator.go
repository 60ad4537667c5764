package servingcert

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/open-policy-agent/cert-controller/pkg/rotator"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// CAKey is where the Secret has the CA of its certificate.
const CAKey = "ca.crt"

// The subject of the CAs that are made here: by it one is known to have taken another's place.
const (
	caName         = "spire-injector-ca"
	caOrganization = "spire-injector"
)

// Overlap is how long an old CA stays beside a new one: much longer than [TrustDelay], so that no replica that
// watches the API server at all still presents a certificate of the old one.
const Overlap = 10 * time.Minute

// Rotator keeps the CA of a Secret in the webhook configurations of a name. Only the leading replica does.
type Rotator struct {
	Client  client.Client
	Source  Source
	Host    string // the name by which the API server calls
	CertDir string // where the Secret is mounted

	ca    []byte    // the Secret's, as it was last seen
	since time.Time // since when ca is in all configurations; zero while it is not
}

// AddTo lets a manager's leading replica make the certificate, renew it in time, and call the rotator when the Secret
// or a configuration changes. What makes the certificate does not know of the configurations: it would put a new CA
// in the place of the old one, while replicas still present certificates of the old.
func (r *Rotator) AddTo(mgr ctrl.Manager) error {
	always := handler.EnqueueRequestsFromMapFunc(func(context.Context, client.Object) []reconcile.Request {
		return []reconcile.Request{{NamespacedName: r.Source.Secret}}
	})
	builder := ctrl.NewControllerManagedBy(mgr).Named("ca-bundle").Watches(&corev1.Secret{}, always)
	for _, kind := range Kinds() {
		builder = builder.Watches(kind, always)
	}
	if err := builder.Complete(r); err != nil {
		return err
	}
	return rotator.AddRotator(mgr, &rotator.CertRotator{
		SecretKey:             r.Source.Secret,
		CertDir:               r.CertDir,
		CAName:                caName,
		CAOrganization:        caOrganization,
		DNSName:               r.Host,
		ExtraDNSNames:         []string{r.Host + ".cluster.local"},
		IsReady:               make(chan struct{}),
		RequireLeaderElection: true,
	})
}

// Reconcile adds the Secret's CA where it is missing, and after [Overlap] takes those away that it replaced.
func (r *Rotator) Reconcile(ctx context.Context, _ reconcile.Request) (reconcile.Result, error) {
	var secret corev1.Secret
	if err := r.Client.Get(ctx, r.Source.Secret, &secret); apierrors.IsNotFound(err) {
		return reconcile.Result{}, nil
	} else if err != nil {
		return reconcile.Result{}, fmt.Errorf("reading secret %s: %w", r.Source.Secret, err)
	}
	ca := secret.Data[CAKey]
	if len(parse(ca)) == 0 {
		return reconcile.Result{}, nil // it is being made
	}
	if !bytes.Equal(ca, r.ca) {
		r.ca, r.since = ca, time.Time{}
	}
	now := time.Now()
	retire := !r.since.IsZero() && now.Sub(r.since) >= Overlap
	for _, kind := range Kinds() {
		if err := r.update(ctx, kind, retire, now); err != nil {
			return reconcile.Result{}, err
		}
	}
	if r.since.IsZero() {
		r.since = now
	}
	if retire {
		return reconcile.Result{}, nil
	}
	return reconcile.Result{RequeueAfter: r.since.Add(Overlap).Sub(now)}, nil
}

func (r *Rotator) update(ctx context.Context, object client.Object, retire bool, now time.Time) error {
	err := r.Client.Get(ctx, client.ObjectKey{Name: r.Source.Configuration}, object)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading the webhook configuration %s: %w", r.Source.Configuration, err)
	}
	changed := map[int][]byte{}
	for i, w := range registered(object) {
		before := w.CABundle
		if retire {
			before = withoutPredecessors(before, r.ca)
		}
		if wanted := extend(before, r.ca, now); !bytes.Equal(wanted, w.CABundle) {
			changed[i] = wanted
		}
	}
	_, err = patchBundles(ctx, r.Client, object, changed)
	return err
}
