package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/spire-injector/spire-injector/registrar/spireapi"
	"github.com/spire-injector/spire-injector/registrar/spireapi/spiretest"
)

func TestMetricsOfTheProcess(t *testing.T) {
	t.Parallel()
	domain := spiffeid.RequireTrustDomainFromString("example.org")
	ca := spiretest.NewCA(t, domain)
	agent := spiretest.NewAgent(t, ca)
	agent.Serve(t)
	spire, err := spireapi.Dial(spireapi.Config{ServerAddress: "127.0.0.1:1", AgentSocket: agent.Address(), TrustDomain: domain})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = spire.Close() }()
	certificate := newServingCertificate(serveFlags{service: "injector", namespace: "system"}, logr.Discard())
	registry := prometheus.NewRegistry()
	if err := registerMetrics(registry, "v1", certificate, spire); err != nil {
		t.Fatal(err)
	}
	want := func(want map[string]float64) {
		t.Helper()
		if diff := cmp.Diff(want, gathered(t, registry)); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	}
	want(map[string]float64{"spire_injector_build_info v1": 1})

	served, svid := time.Now().Add(time.Hour).Truncate(time.Second), ca.SVID(t, spiffeid.RequireFromPath(domain, "/spire-injector"), time.Minute)
	chain, key := selfSigned(t, served)
	if err := certificate.Offer(chain, key, time.Now()); err != nil {
		t.Fatal(err)
	}
	agent.Give(svid)
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if _, ok := spire.SVIDExpiry(); ok {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the SVID did not arrive")
		}
	}
	want(map[string]float64{
		"spire_injector_build_info v1":                                1,
		"spire_injector_serving_certificate_expiry_timestamp_seconds": float64(served.Unix()),
		"spire_injector_svid_expiry_timestamp_seconds":                float64(svid.Certificates[0].NotAfter.Unix()),
	})
}

// gathered are the gauges of a registry, by name and label values.
func gathered(t *testing.T, registry *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			name := family.GetName()
			for _, label := range metric.GetLabel() {
				name += " " + label.GetValue()
			}
			got[name] = metric.GetGauge().GetValue()
		}
	}
	return got
}

// selfSigned returns a certificate and its key, in PEM.
func selfSigned(t *testing.T, notAfter time.Time) (certificate, key []byte) {
	t.Helper()
	own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: notAfter}
	der, err := x509.CreateCertificate(rand.Reader, template, template, own.Public(), own)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(own)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER})
}
