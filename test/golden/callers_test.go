package golden

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/spire-injector/spire-injector/webhook/intent"
)

// admissionConfiguration has the API server present a client certificate to webhooks, as manifests/README.md says.
const admissionConfiguration = `
apiVersion: apiserver.config.k8s.io/v1
kind: AdmissionConfiguration
plugins:
- name: MutatingAdmissionWebhook
  configuration: {apiVersion: apiserver.config.k8s.io/v1, kind: WebhookAdmissionConfiguration, kubeConfigFile: %[1]q}
- name: ValidatingAdmissionWebhook
  configuration: {apiVersion: apiserver.config.k8s.io/v1, kind: WebhookAdmissionConfiguration, kubeConfigFile: %[1]q}
`

// webhookKubeconfig has a user for the webhooks of one host.
const webhookKubeconfig = `
apiVersion: v1
kind: Config
users:
- name: %q
  user: {client-certificate: caller.crt, client-key: caller.key}
`

// newCaller makes a certificate for a client that is its own CA, in two files: caller.crt and caller.key.
func newCaller(t *testing.T) (folder string) {
	t.Helper()
	folder = t.TempDir()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(24 * time.Hour),
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		IsCA:                  true,
		BasicConstraintsValid: true,
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	must(t, err)
	encoded, err := x509.MarshalECPrivateKey(key)
	must(t, err)
	write := func(name, kind string, der []byte) {
		must(t, os.WriteFile(filepath.Join(folder, name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
	}
	write("caller.crt", "CERTIFICATE", certificate)
	write("caller.key", "EC PRIVATE KEY", encoded)
	return folder
}

// configureCaller writes what an API server needs to call the webhooks at an address, and returns the path of its
// AdmissionConfiguration.
func configureCaller(t *testing.T, folder, webhooks string) string {
	t.Helper()
	at, err := url.Parse(webhooks)
	must(t, err)
	kubeconfig, configuration := filepath.Join(folder, "kubeconfig"), filepath.Join(folder, "admission.yaml")
	must(t, os.WriteFile(kubeconfig, fmt.Appendf(nil, webhookKubeconfig, at.Host), 0o600))
	must(t, os.WriteFile(configuration, fmt.Appendf(nil, admissionConfiguration, kubeconfig), 0o600))
	return configuration
}

// Nobody but the API server is answered: not a pod that reaches the port and sends what the API server would.
func testCallers(t *testing.T, s *apiServer) {
	s.prepare(t, intent.Namespace{Name: "victim"}, "callers")
	in, err := Read("cases")
	must(t, err)
	s.use(in[0].input(t).injector)
	const pod = `{"apiVersion": "v1", "kind": "Pod",
		"metadata": {"name": "p", "namespace": "victim", "labels": {"spiffe.io/inject": "enabled"},
			"annotations": {"spiffe.io/spiffe-id": "/ns/victim/server", "spiffe.io/app-port": "8080", "spiffe.io/allowed-peers": "/*"}},
		"spec": {"containers": [{"name": "app", "image": "app"}]}}`
	const review = `{"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
		"uid": "1", "operation": "CREATE", "namespace": "victim", "name": "p", "userInfo": {"username": "system:admin"},
		"kind": {"group": "", "version": "v1", "kind": "Pod"}, "resource": {"group": "", "version": "v1", "resource": "pods"},
		"object": ` + pod + `}}`
	roots := x509.NewCertPool()
	roots.AddCert(s.webhooks.Certificate())
	send := func(certificates ...tls.Certificate) error {
		config := &tls.Config{RootCAs: roots, GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return &append(certificates, tls.Certificate{})[0], nil
		}}
		sender := http.Client{Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}}
		response, err := sender.Post(s.webhooks.URL+"/mutate-pod", "application/json", bytes.NewReader([]byte(review)))
		if err == nil {
			err = fmt.Errorf("answered with %s", response.Status)
			_ = response.Body.Close()
		}
		return err
	}
	if err := send(); !strings.Contains(err.Error(), "tls: certificate required") {
		t.Errorf("without a certificate: expected that the handshake fails, got %v", err)
	}
	folder := newCaller(t)
	other, err := tls.LoadX509KeyPair(filepath.Join(folder, "caller.crt"), filepath.Join(folder, "caller.key"))
	must(t, err)
	if err := send(other); !strings.Contains(err.Error(), "remote error: tls: ") {
		t.Errorf("with another's certificate: expected that the handshake fails, got %v", err)
	}
	if len(s.spire.workloads) > 0 || len(s.handed) > 0 {
		t.Errorf("a forged review was handed on %d times, and registered %v", len(s.handed), s.spire.workloads)
	}

	_, err = s.create(t, []byte(pod), client.DryRunAll)
	must(t, err)
	if len(s.handed) == 0 {
		t.Error("the API server asked about no pod")
	}
}
