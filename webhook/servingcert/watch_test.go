package servingcert

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/cache/informertest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllertest"
)

// watchCache is a cache whose watches bring what a test lets them bring.
type watchCache struct {
	*informertest.FakeInformers
	api client.Reader
}

func (c watchCache) Get(
	ctx context.Context,
	key client.ObjectKey,
	object client.Object,
	options ...client.GetOption,
) error {
	return c.api.Get(ctx, key, object, options...)
}

func (c watchCache) of(t *testing.T, kind client.Object) *controllertest.FakeInformer {
	t.Helper()
	informer, err := c.FakeInformerFor(t.Context(), kind)
	if err != nil {
		t.Fatal(err)
	}
	return informer
}

// The certificate follows its Secret, and what configurations trust; a broken Secret, another one and an empty one
// change nothing.
func TestWatch(t *testing.T) {
	t.Parallel()
	k := newRotatorTest(t)
	ours := newCA(t, time.Now().Add(time.Hour))
	var log bytes.Buffer
	logger := logr.FromSlogHandler(slog.NewTextHandler(&log, nil))
	certificate := &Certificate{Host: host, OnPresent: Log(logger)}
	watches := watchCache{&informertest.FakeInformers{Scheme: clientgoscheme.Scheme}, k.api}
	if err := certificate.Watch(t.Context(), watches, k.rotator.Source, logger); err != nil {
		t.Fatal(err)
	}
	secret := func(name string, leaf, key []byte) *corev1.Secret {
		return &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: secretKey.Namespace, Name: name},
			Data:       map[string][]byte{corev1.TLSCertKey: leaf, corev1.TLSPrivateKeyKey: key},
		}
	}
	presents := func(when string, leaf []byte) {
		t.Helper()
		got, err := certificate.Get(nil)
		switch {
		case leaf == nil && err == nil:
			t.Errorf("%s: expected none, got one", when)
		case leaf != nil && (err != nil || !got.Leaf.Equal(parse(leaf)[0])):
			t.Errorf("%s: another certificate is presented, or none: %v", when, err)
		}
	}
	secrets := watches.of(t, &corev1.Secret{})
	first, firstKey := ours.leaf(t)
	secrets.Add(secret("another", first, firstKey))
	secrets.Add(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: secretKey.Name}})
	if log.Len() > 0 {
		t.Errorf("expected nothing to be said of an empty Secret, got %s", log.String())
	}
	presents("before there is one", nil)
	if _, ok := certificate.Expiry(); ok {
		t.Error("nothing expires yet")
	}
	secrets.Add(secret(secretKey.Name, first, firstKey))
	presents("the first", first)
	if at, ok := certificate.Expiry(); !ok || !at.Equal(parse(first)[0].NotAfter) {
		t.Errorf("it expires at %s", at)
	}
	if !strings.Contains(log.String(), "presenting the serving certificate") ||
		!strings.Contains(log.String(), "issuer=\"CN=ca\"") {
		t.Errorf("expected the certificate in the log, got %s", log.String())
	}
	second, secondKey := ours.leaf(t)
	secrets.Update(nil, secret(secretKey.Name, second, firstKey))
	if !strings.Contains(log.String(), "keeping the old serving certificate") {
		t.Errorf("expected the mistake in the log, got %s", log.String())
	}
	presents("with a key of another", first)

	for i, kind := range Kinds() {
		certificate.Trust(nil, time.Now())
		k.hold(ours.pem)
		k.reconcile()
		watches.of(t, kind).Update(kind, kind)
		if err := certificate.Trusted(time.Now()); err != nil {
			t.Errorf("after a change of configurations of kind %d: %v", i, err)
		}
	}
	secrets.Update(nil, secret(secretKey.Name, second, secondKey))
	certificate.mu.Lock()
	defer certificate.mu.Unlock()
	if certificate.next == nil || certificate.since.IsZero() {
		t.Error("the next certificate does not wait for its turn")
	}
}

// There is no right to watch more than these.
func TestWatched(t *testing.T) {
	t.Parallel()
	watched := Source{Secret: secretKey, Configuration: name}.Watched()
	if len(watched) != 1+len(Kinds()) {
		t.Errorf("expected the Secret and the configurations, got %v", watched)
	}
	for object, by := range watched {
		selector := by.Field
		if _, is := object.(*corev1.Secret); is {
			selector = by.Namespaces[secretKey.Namespace].FieldSelector
		}
		want := map[bool]string{true: "metadata.name=" + secretKey.Name, false: "metadata.name=" + name}
		_, isSecret := object.(*corev1.Secret)
		if selector == nil || selector.String() != want[isSecret] {
			t.Errorf("%T: selected by %v", object, selector)
		}
	}
}
