package servingcert

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

const name = "injector"

var secretKey = types.NamespacedName{Namespace: "system", Name: "cert"}

// rotatorTest is a Rotator with an API server of its own, in time that does not pass by itself.
type rotatorTest struct {
	*testing.T
	api     client.Client
	rotator *Rotator
}

func newRotatorTest(t *testing.T) rotatorTest {
	mutating := &admissionregistrationv1.MutatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Webhooks:   []admissionregistrationv1.MutatingWebhook{{Name: "m0"}, {Name: "m1"}},
	}
	validating := &admissionregistrationv1.ValidatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Webhooks:   []admissionregistrationv1.ValidatingWebhook{{Name: "v0"}},
	}
	other := &admissionregistrationv1.MutatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: "other"},
		Webhooks:   []admissionregistrationv1.MutatingWebhook{{Name: "o"}},
	}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: secretKey.Namespace, Name: secretKey.Name}}
	api := fake.NewClientBuilder().
		WithScheme(clientgoscheme.Scheme).
		WithObjects(mutating, validating, other, secret).
		Build()
	return rotatorTest{t, api, &Rotator{Client: api, Source: Source{Secret: secretKey, Configuration: name}}}
}

// hold puts a CA into the Secret.
func (k rotatorTest) hold(ca []byte) {
	k.Helper()
	var secret corev1.Secret
	if err := k.api.Get(k.Context(), secretKey, &secret); err != nil {
		k.Fatal(err)
	}
	secret.Data = map[string][]byte{CAKey: ca}
	if err := k.api.Update(k.Context(), &secret); err != nil {
		k.Fatal(err)
	}
}

// reconcile lets the rotator work and returns when it wants to be called again.
func (k rotatorTest) reconcile() time.Duration {
	k.Helper()
	result, err := k.rotator.Reconcile(k.Context(), reconcile.Request{})
	if err != nil {
		k.Fatal(err)
	}
	return result.RequeueAfter
}

// want compares the bundles of all of the rotator's webhooks.
func (k rotatorTest) want(when string, bundle []byte) {
	k.Helper()
	got, err := Read(k.Context(), k.api, name)
	if err != nil {
		k.Fatal(err)
	}
	want := []Registered{{"m0", bundle}, {"m1", bundle}, {"v0", bundle}}
	if diff := cmp.Diff(want, got); diff != "" {
		k.Errorf("%s (-want +got):\n%s", when, diff)
	}
	others, err := Read(k.Context(), k.api, "other")
	if err != nil {
		k.Fatal(err)
	}
	if diff := cmp.Diff([]Registered{{Webhook: "o"}}, others); diff != "" {
		k.Errorf("%s, others' webhooks (-want +got):\n%s", when, diff)
	}
}

func TestRotatorAddsTheNewCAAndTakesTheOldOneAwayLater(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := newRotatorTest(t)
		first, second := newCA(t, time.Now().Add(24*time.Hour)).pem, newCA(t, time.Now().Add(24*time.Hour)).pem
		k.reconcile()
		k.want("without a CA", nil)
		k.hold([]byte("nonsense"))
		if again := k.reconcile(); again != 0 {
			t.Errorf("expected to wait for a CA, got a call after %s", again)
		}
		k.want("with nonsense", nil)

		k.hold(first)
		if again := k.reconcile(); again != Overlap {
			t.Errorf("expected to be called again after %s, got %s", Overlap, again)
		}
		k.want("with the first CA", first)
		time.Sleep(Overlap)
		if again := k.reconcile(); again != 0 {
			t.Errorf("expected nothing left to do, got a call after %s", again)
		}
		k.want("the only CA later", first)

		k.hold(second)
		k.reconcile()
		k.want("with the second CA", slices.Concat(first, second))
		time.Sleep(Overlap - time.Second)
		if again := k.reconcile(); again != time.Second {
			t.Errorf("expected to be called again after a second, got %s", again)
		}
		k.want("before the overlap ends", slices.Concat(first, second))
		time.Sleep(time.Second)
		k.reconcile()
		k.want("after the overlap", second)
	})
}

// A CA of another origin is not the rotator's to take away, early or late.
func TestRotatorLeavesTheCAsOfOthers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := newRotatorTest(t)
		own, theirs := newCA(t, time.Now().Add(24*time.Hour)).pem, newCAOf(t, "theirs", time.Now().Add(24*time.Hour)).pem
		k.hold(own)
		k.reconcile()
		time.Sleep(Overlap)
		k.reconcile()
		for _, kind := range Kinds() {
			if err := k.api.Get(t.Context(), client.ObjectKey{Name: name}, kind); err != nil {
				t.Fatal(err)
			}
			bundles := map[int][]byte{}
			for i := range registered(kind) {
				bundles[i] = slices.Concat(own, theirs)
			}
			if _, err := patchBundles(t.Context(), k.api, kind, bundles); err != nil {
				t.Fatal(err)
			}
		}
		k.reconcile()
		k.want("after others added theirs", slices.Concat(theirs, own))
		if again := k.reconcile(); again != 0 {
			t.Errorf("expected nothing left to do, got a call after %s", again)
		}
		k.want("and again", slices.Concat(theirs, own))
	})
}

func TestRotatorRepairs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := newRotatorTest(t)
		ca := newCA(t, time.Now().Add(24*time.Hour)).pem
		k.hold(ca)
		k.reconcile()
		// Somebody applies the configuration anew, with one more webhook.
		var mutating admissionregistrationv1.MutatingWebhookConfiguration
		if err := k.api.Get(t.Context(), client.ObjectKey{Name: name}, &mutating); err != nil {
			t.Fatal(err)
		}
		mutating.Webhooks = []admissionregistrationv1.MutatingWebhook{{Name: "m0"}, {Name: "m1"}}
		if err := k.api.Update(t.Context(), &mutating); err != nil {
			t.Fatal(err)
		}
		k.reconcile()
		k.want("after a repair", ca)
	})
}

// What others changed meanwhile is not written over, and nothing but the bundle is written at all.
func TestRotatorWritesOnlyIntoTheVersionItRead(t *testing.T) {
	t.Parallel()
	k := newRotatorTest(t)
	ca := newCA(t, time.Now().Add(24*time.Hour)).pem
	k.hold(ca)
	stale := &staleReader{Client: k.api}
	k.rotator.Client = stale
	if err := k.api.Get(t.Context(), client.ObjectKey{Name: name}, &stale.mutating); err != nil {
		t.Fatal(err)
	}
	changed := stale.mutating.DeepCopy()
	changed.Labels = map[string]string{"changed": "meanwhile"}
	if err := k.api.Update(t.Context(), changed); err != nil {
		t.Fatal(err)
	}
	if _, err := k.rotator.Reconcile(t.Context(), reconcile.Request{}); err == nil {
		t.Error("expected an error, since the configuration that was read is not the newest")
	}
	var after admissionregistrationv1.MutatingWebhookConfiguration
	if err := k.api.Get(t.Context(), client.ObjectKey{Name: name}, &after); err != nil {
		t.Fatal(err)
	}
	if after.Labels["changed"] != "meanwhile" || len(after.Webhooks[0].ClientConfig.CABundle) > 0 {
		t.Errorf("expected the others' change alone, got %+v", after)
	}
	k.rotator.Client = k.api
	k.reconcile()
	k.want("after another try", ca)
}

// Two watches tell of two changes at once. The one that read first must not be the last to be heard.
func TestRefreshEndsWithTheNewestSight(t *testing.T) {
	t.Parallel()
	k := newRotatorTest(t)
	ca := newCA(t, time.Now().Add(24*time.Hour))
	certificate := &Certificate{Host: host}
	leaf, key := ca.leaf(t)
	if err := certificate.Offer(leaf, key, time.Now()); err != nil {
		t.Fatal(err)
	}
	first := slowReader{Reader: k.api, read: make(chan struct{}), answer: make(chan struct{})}
	var watches sync.WaitGroup
	follow := func(reader client.Reader) {
		if err := certificate.Refresh(t.Context(), reader, name); err != nil {
			t.Error(err)
		}
	}
	watches.Go(func() { follow(first) })
	<-first.read // no configuration has the CA yet
	k.hold(ca.pem)
	k.reconcile()
	second := make(chan struct{})
	watches.Go(func() { follow(k.api); close(second) })
	select {
	case <-second:
	case <-time.After(100 * time.Millisecond): // it waits for the first, as it should
	}
	close(first.answer)
	watches.Wait()
	if err := certificate.Trusted(time.Now()); err != nil {
		t.Errorf("expected what was read last, got %v", err)
	}
}

// slowReader answers late with what it read early.
type slowReader struct {
	client.Reader
	read, answer chan struct{}
}

func (s slowReader) Get(
	ctx context.Context,
	key client.ObjectKey,
	object client.Object,
	options ...client.GetOption,
) error {
	err := s.Reader.Get(ctx, key, object, options...)
	if _, last := object.(*admissionregistrationv1.ValidatingWebhookConfiguration); last {
		close(s.read)
		<-s.answer
	}
	return err
}

// staleReader is a cache that is behind.
type staleReader struct {
	client.Client
	mutating admissionregistrationv1.MutatingWebhookConfiguration
}

func (s *staleReader) Get(
	ctx context.Context,
	key client.ObjectKey,
	object client.Object,
	options ...client.GetOption,
) error {
	if mutating, ok := object.(*admissionregistrationv1.MutatingWebhookConfiguration); ok {
		s.mutating.DeepCopyInto(mutating)
		return nil
	}
	return s.Client.Get(ctx, key, object, options...)
}
