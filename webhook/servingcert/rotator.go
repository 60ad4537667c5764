package servingcert

import (
	"bytes"
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// CAKey is where the Secret has the CA of its certificate.
const CAKey = "ca.crt"

// Overlap is how long an old CA stays beside a new one: much longer than [Settle], so that no replica that follows the API
// server at all still shows a certificate of the old one.
const Overlap = 10 * time.Minute

// Keeper keeps the CA of a Secret in the webhook configurations of a name. Only the leading replica does.
type Keeper struct {
	Client        client.Client
	Secret        types.NamespacedName
	Configuration string

	ca    []byte    // the Secret's, as it was last seen
	since time.Time // since when ca is in all configurations; zero while it is not
}

// AddTo lets a manager call the keeper when the Secret or a configuration changes.
func (k *Keeper) AddTo(mgr ctrl.Manager) error {
	always := handler.EnqueueRequestsFromMapFunc(func(context.Context, client.Object) []reconcile.Request {
		return []reconcile.Request{{NamespacedName: k.Secret}}
	})
	builder := ctrl.NewControllerManagedBy(mgr).Named("ca-bundle").Watches(&corev1.Secret{}, always)
	for _, kind := range Kinds() {
		builder = builder.Watches(kind, always)
	}
	return builder.Complete(k)
}

// Reconcile adds the Secret's CA where it is missing, and after [Overlap] takes those away that it replaced.
func (k *Keeper) Reconcile(ctx context.Context, _ reconcile.Request) (reconcile.Result, error) {
	var secret corev1.Secret
	if err := k.Client.Get(ctx, k.Secret, &secret); apierrors.IsNotFound(err) {
		return reconcile.Result{}, nil
	} else if err != nil {
		return reconcile.Result{}, fmt.Errorf("reading secret %s: %w", k.Secret, err)
	}
	ca := secret.Data[CAKey]
	if len(parse(ca)) == 0 {
		return reconcile.Result{}, nil // it is being made
	}
	if !bytes.Equal(ca, k.ca) {
		k.ca, k.since = ca, time.Time{}
	}
	now := time.Now()
	retire := !k.since.IsZero() && now.Sub(k.since) >= Overlap
	for _, kind := range Kinds() {
		if err := k.keep(ctx, kind, retire, now); err != nil {
			return reconcile.Result{}, err
		}
	}
	if k.since.IsZero() {
		k.since = now
	}
	if retire {
		return reconcile.Result{}, nil
	}
	return reconcile.Result{RequeueAfter: k.since.Add(Overlap).Sub(now)}, nil
}

func (k *Keeper) keep(ctx context.Context, object client.Object, retire bool, now time.Time) error {
	err := k.Client.Get(ctx, client.ObjectKey{Name: k.Configuration}, object)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading the webhook configuration %s: %w", k.Configuration, err)
	}
	changed := map[int][]byte{}
	for i, r := range registered(object) {
		before := r.CABundle
		if retire {
			before = withoutPredecessors(before, k.ca)
		}
		if wanted := extend(before, k.ca, now); !bytes.Equal(wanted, r.CABundle) {
			changed[i] = wanted
		}
	}
	if len(changed) == 0 {
		return nil
	}
	patch, err := patchBundles(object, changed)
	if err != nil {
		return err
	}
	if err := k.Client.Patch(ctx, object, patch); err != nil {
		return fmt.Errorf("writing the CA into the webhook configuration %s: %w", k.Configuration, err)
	}
	return nil
}
