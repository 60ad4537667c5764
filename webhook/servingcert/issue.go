package servingcert

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// RenewBefore is how long before its expiry a certificate is made anew.
const RenewBefore = 90 * 24 * time.Hour

// Issue makes a serving certificate with somebody's own rights, so that the injector needs none to write it or its CA.
type Issue struct {
	Client client.Client
	Source Source
	Host   string        // the name by which the API server calls
	Valid  time.Duration // of the certificate and its CA, from now
	Renew  bool          // also if there is a good one
}

// Issued is what became of it.
type Issued struct {
	New      bool      // false: the Secret had a good one
	NotAfter time.Time // of the certificate
	Patched  []string  // kinds of the webhook configurations that did not trust its CA
}

// Do makes sure that the Secret has a certificate for the host, and that the webhook configurations trust its CA: first
// they do, then the replicas have it. The CA's key is thrown away: what it has signed is all that it ever signs. It is
// an error if no webhook configuration exists.
func (i Issue) Do(ctx context.Context, now time.Time) (Issued, error) {
	secret, exists, err := i.secret(ctx)
	if err != nil {
		return Issued{}, err
	}
	held := secret.Data[CAKey]
	if notAfter, ok := i.good(secret, now); ok && !i.Renew {
		patched, err := i.trust(ctx, func(bundle []byte) []byte { return extend(bundle, held, now) })
		return Issued{NotAfter: notAfter, Patched: patched}, err
	}
	made, err := newPair(i.Host, now, i.Valid)
	if err != nil {
		return Issued{}, err
	}
	// Replicas present the old certificate until they have the new one. Those before it nobody presents any more.
	patched, err := i.trust(ctx, func(bundle []byte) []byte {
		return extend(extend(withoutPredecessors(bundle, made.ca), held, now), made.ca, now)
	})
	if err != nil {
		return Issued{}, err
	}
	secret.Data = map[string][]byte{CAKey: made.ca, corev1.TLSCertKey: made.certificate, corev1.TLSPrivateKeyKey: made.key}
	write := i.Client.Update
	if !exists {
		secret.Type = corev1.SecretTypeOpaque // as the Secret of a rotator, into which it may turn: a type stays
		write = func(ctx context.Context, o client.Object, _ ...client.UpdateOption) error {
			return i.Client.Create(ctx, o)
		}
	}
	if err := write(ctx, secret); err != nil {
		return Issued{}, fmt.Errorf("writing secret %s: %w", i.Source.Secret, err)
	}
	return Issued{New: true, NotAfter: now.Add(i.Valid), Patched: patched}, nil
}

func (i Issue) secret(ctx context.Context) (secret *corev1.Secret, exists bool, err error) {
	secret = &corev1.Secret{}
	err = i.Client.Get(ctx, i.Source.Secret, secret)
	if apierrors.IsNotFound(err) {
		return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{
			Namespace: i.Source.Secret.Namespace, Name: i.Source.Secret.Name,
		}}, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("reading secret %s: %w", i.Source.Secret, err)
	}
	return secret, true, nil
}

// good says whether a Secret has a certificate that its CA verifies for the host, and for some time to come.
func (i Issue) good(secret *corev1.Secret, now time.Time) (notAfter time.Time, ok bool) {
	pair, err := tls.X509KeyPair(secret.Data[corev1.TLSCertKey], secret.Data[corev1.TLSPrivateKeyKey])
	roots := x509.NewCertPool()
	if err != nil || !roots.AppendCertsFromPEM(secret.Data[CAKey]) {
		return time.Time{}, false
	}
	options := x509.VerifyOptions{Roots: roots, DNSName: i.Host, CurrentTime: now}
	if _, err := pair.Leaf.Verify(options); err != nil {
		return time.Time{}, false
	}
	return pair.Leaf.NotAfter, pair.Leaf.NotAfter.After(now.Add(RenewBefore))
}

// trust changes the bundles of all webhooks, and returns the kinds of the configurations with a change.
func (i Issue) trust(ctx context.Context, change func(bundle []byte) []byte) (patched []string, err error) {
	found := false
	for _, object := range Kinds() {
		err := i.Client.Get(ctx, client.ObjectKey{Name: i.Source.Configuration}, object)
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("reading the webhook configuration %s: %w", i.Source.Configuration, err)
		}
		found = true
		changed := map[int][]byte{}
		for n, w := range registered(object) {
			if wanted := change(w.CABundle); !bytes.Equal(wanted, w.CABundle) {
				changed[n] = wanted
			}
		}
		did, err := patchBundles(ctx, i.Client, object, changed)
		if err != nil {
			return nil, err
		}
		if did {
			gvk, err := i.Client.GroupVersionKindFor(object)
			if err != nil {
				return nil, err
			}
			patched = append(patched, gvk.Kind)
		}
	}
	if !found {
		return nil, fmt.Errorf("expected a webhook configuration %s, found none: apply the injector's manifests first",
			i.Source.Configuration)
	}
	return patched, nil
}

// pair is a certificate with its key and its CA, each in PEM.
type pair struct{ ca, certificate, key []byte }

// newPair makes a CA that signs one certificate, and forgets the CA's key.
func newPair(host string, now time.Time, valid time.Duration) (pair, error) {
	notBefore, notAfter := now.Add(-time.Hour), now.Add(valid) // clocks differ
	authority := &x509.Certificate{
		Subject:               pkix.Name{CommonName: caName, Organization: []string{caOrganization}},
		NotBefore:             notBefore,
		NotAfter:              notAfter,
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign,
	}
	leaf := &x509.Certificate{
		Subject:     pkix.Name{CommonName: "spire-injector"},
		DNSNames:    []string{host, host + ".cluster.local"},
		NotBefore:   notBefore,
		NotAfter:    notAfter,
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	authorityKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return pair{}, err
	}
	leafKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return pair{}, err
	}
	var out pair
	if out.ca, err = sign(authority, authority, authorityKey, authorityKey); err != nil {
		return pair{}, err
	}
	if out.certificate, err = sign(leaf, authority, leafKey, authorityKey); err != nil {
		return pair{}, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(leafKey)
	if err != nil {
		return pair{}, err
	}
	out.key = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	return out, nil
}

func sign(template, parent *x509.Certificate, key, parentKey *ecdsa.PrivateKey) ([]byte, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	template.SerialNumber = serial
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), parentKey)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: certificateBlock, Bytes: der}), nil
}
