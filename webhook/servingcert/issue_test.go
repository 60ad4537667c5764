package servingcert

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
)

const year = 365 * 24 * time.Hour

// issue does it once, and returns the Secret after it.
func (k rotatorTest) issue(renew bool, now time.Time) (Issued, corev1.Secret) {
	k.Helper()
	i := Issue{Client: k.api, Source: k.rotator.Source, Host: host, Valid: year, Renew: renew}
	issued, err := i.Do(k.Context(), now)
	if err != nil {
		k.Fatal(err)
	}
	var secret corev1.Secret
	if err := k.api.Get(k.Context(), secretKey, &secret); err != nil {
		k.Fatal(err)
	}
	return issued, secret
}

// verified is the certificate of a Secret, which the API server can verify.
func (k rotatorTest) verified(secret corev1.Secret, now time.Time) *x509.Certificate {
	k.Helper()
	pair, err := tls.X509KeyPair(secret.Data[corev1.TLSCertKey], secret.Data[corev1.TLSPrivateKeyKey])
	if err != nil {
		k.Fatal(err)
	}
	registered, err := Read(k.Context(), k.api, name)
	if err != nil {
		k.Fatal(err)
	}
	certificate := &Certificate{Host: host}
	if err := certificate.Offer(secret.Data[corev1.TLSCertKey], secret.Data[corev1.TLSPrivateKeyKey], now); err != nil {
		k.Fatal(err)
	}
	certificate.Trust(registered, now)
	if err := certificate.Trusted(now); err != nil {
		k.Error(err)
	}
	return pair.Leaf
}

func TestIssue(t *testing.T) {
	t.Parallel()
	k, now := newRotatorTest(t), time.Now()
	both := []string{"MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"}
	issued, first := k.issue(false, now)
	want := Issued{New: true, NotAfter: now.Add(year), Patched: both}
	if diff := cmp.Diff(want, issued); diff != "" {
		t.Errorf("the first time (-want +got):\n%s", diff)
	}
	leaf := k.verified(first, now)
	k.want("the first time", first.Data[CAKey])
	for key := range first.Data {
		if !slices.Contains([]string{CAKey, corev1.TLSCertKey, corev1.TLSPrivateKeyKey}, key) {
			t.Errorf("the Secret has %s", key)
		}
	}

	issued, second := k.issue(false, now)
	if diff := cmp.Diff(first.Data, second.Data); diff != "" || issued.New || issued.Patched != nil || !issued.NotAfter.Equal(leaf.NotAfter) {
		t.Errorf("the second time: %+v, the Secret (-first +second):\n%s", issued, diff)
	}

	issued, third := k.issue(true, now)
	if !issued.New || bytes.Equal(first.Data[CAKey], third.Data[CAKey]) {
		t.Errorf("renewed: %+v, the same CA: %t", issued, bytes.Equal(first.Data[CAKey], third.Data[CAKey]))
	}
	k.verified(third, now)
	k.verified(first, now) // which replicas present for a while
	k.want("renewed", slices.Concat(first.Data[CAKey], third.Data[CAKey]))

	_, fourth := k.issue(true, now)
	k.want("renewed again", slices.Concat(third.Data[CAKey], fourth.Data[CAKey]))
	k.verified(fourth, now)

	late := now.Add(year - RenewBefore)
	if issued, _ = k.issue(false, late); !issued.New {
		t.Error("a certificate that expires soon was kept")
	}
}

// What others put into a bundle stays, and so does a certificate that the injector itself has rotated: whoever changes
// to this loses nothing.
func TestIssueAfterOthers(t *testing.T) {
	t.Parallel()
	k, now := newRotatorTest(t), time.Now()
	own, theirs := newCAOf(t, caName, now.Add(year)), newCAOf(t, "theirs", now.Add(year)).pem
	certificate, key := own.leaf(t)
	var secret corev1.Secret
	if err := k.api.Get(t.Context(), secretKey, &secret); err != nil {
		t.Fatal(err)
	}
	secret.Data = map[string][]byte{CAKey: own.pem, corev1.TLSCertKey: certificate, corev1.TLSPrivateKeyKey: key}
	if err := k.api.Update(t.Context(), &secret); err != nil {
		t.Fatal(err)
	}
	i := Issue{Client: k.api, Source: k.rotator.Source}
	if _, err := i.trust(t.Context(), func([]byte) []byte { return theirs }); err != nil {
		t.Fatal(err)
	}
	if issued, _ := k.issue(false, now); issued.New {
		t.Error("a good certificate was replaced")
	}
	k.want("kept", slices.Concat(theirs, own.pem))
}

func TestIssueBeforeTheManifests(t *testing.T) {
	t.Parallel()
	api := fake.NewClientBuilder().WithScheme(clientgoscheme.Scheme).Build()
	i := Issue{Client: api, Source: Source{Secret: secretKey, Configuration: name}, Host: host, Valid: year}
	_, err := i.Do(t.Context(), time.Now())
	if err == nil || !strings.Contains(err.Error(), "apply the injector's manifests first") {
		t.Errorf("got %v", err)
	}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: secretKey.Namespace, Name: secretKey.Name}}
	if err := api.Get(t.Context(), secretKey, secret); err == nil {
		t.Error("a Secret was made all the same")
	}
}

// Of several SVIDs the one for the host is presented; without one the certificate stays.
func TestOfferSVIDs(t *testing.T) {
	t.Parallel()
	now := time.Now()
	authority := newCA(t, now.Add(time.Hour))
	svid := func(path string, names ...string) *x509svid.SVID {
		id := spiffeid.RequireFromString("spiffe://example.org" + path)
		key := newKey(t)
		certificate := authority.sign(t, &x509.Certificate{
			URIs: []*url.URL{id.URL()}, DNSNames: names, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		}, key)
		return &x509svid.SVID{ID: id, Certificates: parse(certificate), PrivateKey: key}
	}
	c := &Certificate{Host: host}
	err := c.OfferSVIDs([]*x509svid.SVID{svid("/other"), svid("/another", "elsewhere.svc")}, now)
	want := "expected an SVID with the DNS name injector.system.svc, got spiffe://example.org/other with [], " +
		"spiffe://example.org/another with [\"elsewhere.svc\"]: add"
	if err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("expected %q, got %v", want, err)
	}
	own := svid("/injector", host)
	if err := c.OfferSVIDs([]*x509svid.SVID{svid("/other"), own}, now); err != nil {
		t.Fatal(err)
	}
	c.Trust([]Registered{{"w", authority.pem}}, now)
	if err := c.Trusted(now); err != nil {
		t.Error(err)
	}
	if err := c.OfferSVIDs([]*x509svid.SVID{svid("/other")}, now); err == nil {
		t.Error("expected an error")
	}
	presented, err := c.Present(now)
	if err != nil || !presented.Leaf.Equal(own.Certificates[0]) {
		t.Errorf("expected the own SVID, got %v, %v", presented, err)
	}
}
