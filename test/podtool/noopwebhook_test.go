package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// freePort may be taken by somebody else before it is used; nothing better is possible, because the
// webhook library takes port 0 for its default.
func freePort(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	return listener.Addr().String()
}

func TestNoopWebhook(t *testing.T) {
	t.Parallel()
	want := admissionv1.AdmissionResponse{UID: "42", Allowed: true, Result: &metav1.Status{Code: 200}}
	if diff := cmp.Diff(&want, askNoopWebhook(t)); diff != "" {
		t.Errorf("response (-want +got):\n%s", diff)
	}
}

func TestNoopWebhookWithPatch(t *testing.T) {
	t.Parallel()
	const patch = `[{"op": "add", "path": "/metadata/annotations", "value": {"a": "<b>"}}]`
	file := filepath.Join(t.TempDir(), "patch.json")
	if err := os.WriteFile(file, []byte(patch), 0o600); err != nil {
		t.Fatal(err)
	}
	want := admissionv1.AdmissionResponse{
		UID: "42", Allowed: true, Result: &metav1.Status{Code: 200},
		Patch: []byte(patch), PatchType: new(admissionv1.PatchTypeJSONPatch),
	}
	if diff := cmp.Diff(&want, askNoopWebhook(t, "--patch", file)); diff != "" {
		t.Errorf("response (-want +got):\n%s", diff)
	}
}

// askNoopWebhook runs it with further flags and speaks to it as the API server does: it verifies the Service's name
// with the CA.
func askNoopWebhook(t *testing.T, flags ...string) *admissionv1.AdmissionResponse {
	t.Helper()
	address, authorityFile := freePort(t), filepath.Join(t.TempDir(), "ca.pem")
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan result, 1)
	go func() {
		arguments := []string{"noop-webhook", "--listen", address, "--namespace", "bench", "--name", "noop", "--ca-out", authorityFile}
		done <- runCommand(ctx, append(arguments, flags...)...)
	}()
	waitForPort(t, address)
	authority, err := os.ReadFile(authorityFile)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(authority) {
		t.Fatalf("no certificate in %q", authority)
	}
	client := &http.Client{
		Timeout:   5 * time.Second,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "noop.bench.svc"}},
	}
	review, err := json.Marshal(admissionv1.AdmissionReview{
		TypeMeta: metav1.TypeMeta{APIVersion: "admission.k8s.io/v1", Kind: "AdmissionReview"},
		Request: &admissionv1.AdmissionRequest{
			UID: "42", Operation: admissionv1.Create,
			Object: runtime.RawExtension{Raw: []byte(`{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p"}}`)},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	response, err := client.Post("https://"+address+noopWebhookPath, "application/json", bytes.NewReader(review))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	var got admissionv1.AdmissionReview
	if err := json.Unmarshal(body, &got); err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	client.CloseIdleConnections()
	stop()
	if ended := <-done; ended.code != exitOK || ended.stdout != "" {
		t.Errorf("expected exit code 0 and nothing on stdout, got %+v", ended)
	}
	return got.Response
}

func waitForPort(t *testing.T, address string) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		connection, err := net.DialTimeout("tcp", address, time.Second)
		if err == nil {
			_ = connection.Close()
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("nobody listens on %s: %v", address, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func TestNewServingCertificate(t *testing.T) {
	t.Parallel()
	authority, certificate, err := newServingCertificate([]string{"noop.bench.svc", "127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority)
	leaf, err := x509.ParseCertificate(certificate.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{"noop.bench.svc", "127.0.0.1"} {
		if _, err := leaf.Verify(x509.VerifyOptions{DNSName: host, Roots: roots}); err != nil {
			t.Errorf("%s: %v", host, err)
		}
	}
	if _, err := leaf.Verify(x509.VerifyOptions{DNSName: "other.bench.svc", Roots: roots}); err == nil {
		t.Error("expected the certificate not to be valid for another Service")
	}
}
