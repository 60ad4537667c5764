package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// apiServer answers what a replica asks that leads nobody: there is a Secret with a certificate, webhook
// configurations that trust it, and nothing else. It takes no writes. It knows two tokens, and who has the one called
// reader may get metrics.
type apiServer struct {
	objects map[string][]any // by the last part of a list's path
}

// kinds of the lists, by the last part of their path.
var kinds = map[string]metav1.TypeMeta{
	"pods":         {APIVersion: "v1", Kind: "Pod"},
	"services":     {APIVersion: "v1", Kind: "Service"},
	"namespaces":   {APIVersion: "v1", Kind: "Namespace"},
	"nodes":        {APIVersion: "v1", Kind: "Node"},
	"secrets":      {APIVersion: "v1", Kind: "Secret"},
	"configmaps":   {APIVersion: "v1", Kind: "ConfigMap"},
	"deployments":  {APIVersion: "apps/v1", Kind: "Deployment"},
	"statefulsets": {APIVersion: "apps/v1", Kind: "StatefulSet"},
	"daemonsets":   {APIVersion: "apps/v1", Kind: "DaemonSet"},
	"jobs":         {APIVersion: "batch/v1", Kind: "Job"},
	"cronjobs":     {APIVersion: "batch/v1", Kind: "CronJob"},
	"mutatingwebhookconfigurations": {
		APIVersion: "admissionregistration.k8s.io/v1",
		Kind:       "MutatingWebhookConfiguration",
	},
	"validatingwebhookconfigurations": {
		APIVersion: "admissionregistration.k8s.io/v1",
		Kind:       "ValidatingWebhookConfiguration",
	},
}

func (a apiServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPost && review(w, r) {
		return
	}
	if r.Method != http.MethodGet {
		http.Error(w, "read only", http.StatusForbidden)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	last := filepath.Base(r.URL.Path)
	kind, isList := kinds[last]
	switch {
	case r.URL.Path == "/version":
		answer(w, map[string]string{"gitVersion": "v1.35.2", "major": "1", "minor": "35"})
	case r.URL.Path == "/api":
		answer(w, metav1.APIVersions{TypeMeta: metav1.TypeMeta{Kind: "APIVersions"}, Versions: []string{"v1"}})
	case r.URL.Path == "/apis":
		answer(w, groups())
	case isList && r.URL.Query().Get("watch") != "":
		a.watch(w, r, kind, a.objects[last])
	case isList:
		answer(w, map[string]any{"apiVersion": kind.APIVersion, "kind": kind.Kind + "List",
			"metadata": map[string]string{"resourceVersion": "1"}, "items": slices.Concat([]any{}, a.objects[last])})
	case strings.HasPrefix(r.URL.Path, "/api/") || strings.HasPrefix(r.URL.Path, "/apis/"):
		answer(w, resources(strings.TrimPrefix(strings.TrimPrefix(r.URL.Path, "/apis/"), "/api/")))
	default:
		http.NotFound(w, r)
	}
}

// review answers who has a token and what they may do, if that is asked.
func review(w http.ResponseWriter, r *http.Request) bool {
	w.Header().Set("Content-Type", "application/json")
	switch r.URL.Path {
	case "/apis/authentication.k8s.io/v1/tokenreviews":
		asked := authenticationv1.TokenReview{}
		_ = json.NewDecoder(r.Body).Decode(&asked)
		asked.Status.Authenticated = slices.Contains([]string{"reader", "other"}, asked.Spec.Token)
		asked.Status.User.Username = asked.Spec.Token
		answer(w, asked)
	case "/apis/authorization.k8s.io/v1/subjectaccessreviews":
		asked := authorizationv1.SubjectAccessReview{}
		_ = json.NewDecoder(r.Body).Decode(&asked)
		path := asked.Spec.NonResourceAttributes
		asked.Status.Allowed = asked.Spec.User == "reader" && path != nil && path.Verb == "get" && path.Path == "/metrics"
		answer(w, asked)
	default:
		return false
	}
	return true
}

func answer(w io.Writer, object any) { _ = json.NewEncoder(w).Encode(object) }

// watch gives all objects, says so, and then nothing more.
func (a apiServer) watch(w http.ResponseWriter, r *http.Request, kind metav1.TypeMeta, objects []any) {
	if r.URL.Query().Get("sendInitialEvents") == "true" {
		for _, o := range objects {
			answer(w, map[string]any{"type": "ADDED", "object": o})
		}
		end := metav1.PartialObjectMetadata{TypeMeta: kind, ObjectMeta: metav1.ObjectMeta{
			ResourceVersion: "1", Annotations: map[string]string{metav1.InitialEventsAnnotationKey: "true"},
		}}
		answer(w, map[string]any{"type": "BOOKMARK", "object": end})
	}
	w.(http.Flusher).Flush()
	<-r.Context().Done()
}

func groups() metav1.APIGroupList {
	list := metav1.APIGroupList{TypeMeta: metav1.TypeMeta{Kind: "APIGroupList", APIVersion: "v1"}}
	for _, name := range []string{"apps", "batch", "admissionregistration.k8s.io"} {
		v := metav1.GroupVersionForDiscovery{GroupVersion: name + "/v1", Version: "v1"}
		list.Groups = append(list.Groups,
			metav1.APIGroup{Name: name, Versions: []metav1.GroupVersionForDiscovery{v}, PreferredVersion: v})
	}
	return list
}

func resources(version string) metav1.APIResourceList {
	list := metav1.APIResourceList{
		TypeMeta:     metav1.TypeMeta{Kind: "APIResourceList", APIVersion: "v1"},
		GroupVersion: version,
	}
	for name, kind := range kinds {
		if kind.APIVersion == version {
			list.APIResources = append(list.APIResources, metav1.APIResource{
				Name: name, SingularName: strings.ToLower(kind.Kind), Kind: kind.Kind, Verbs: metav1.Verbs{"get", "list", "watch"},
				Namespaced: version != "admissionregistration.k8s.io/v1" && name != "namespaces" && name != "nodes",
			})
		}
	}
	return list
}

// certificateFor returns a certificate that signs itself, and its key, in PEM.
func certificateFor(t *testing.T, host string) (certificate, key []byte) {
	t.Helper()
	own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(time.Hour),
		DNSNames:              []string{host},
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		IsCA:                  true,
		BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, own.Public(), own)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(own)
	if err != nil {
		t.Fatal(err)
	}
	certificate = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return certificate, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER})
}

// cluster has what a replica called injector in the namespace system finds.
func cluster(t *testing.T) (kubeconfig string, trusted *x509.CertPool) {
	t.Helper()
	certificate, key := certificateFor(t, "injector.system.svc")
	meta := func(namespace, name string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Namespace: namespace, Name: name, UID: "1", ResourceVersion: "1"}
	}
	hook := admissionregistrationv1.WebhookClientConfig{CABundle: certificate}
	server := httptest.NewServer(apiServer{map[string][]any{
		"secrets": {corev1.Secret{TypeMeta: kinds["secrets"], ObjectMeta: meta("system", "spire-injector-serving-cert"),
			Data: map[string][]byte{corev1.TLSCertKey: certificate, corev1.TLSPrivateKeyKey: key}}},
		"mutatingwebhookconfigurations": {admissionregistrationv1.MutatingWebhookConfiguration{
			TypeMeta: kinds["mutatingwebhookconfigurations"], ObjectMeta: meta("", "spire-injector"),
			Webhooks: []admissionregistrationv1.MutatingWebhook{{Name: "pod.injector.spiffe.io", ClientConfig: hook}},
		}},
		"namespaces": {corev1.Namespace{TypeMeta: kinds["namespaces"], ObjectMeta: meta("", "demo")}},
	}})
	t.Cleanup(server.Close)
	t.Cleanup(server.CloseClientConnections)
	file := filepath.Join(t.TempDir(), "kubeconfig")
	text := fmt.Sprintf(
		`{apiVersion: v1, kind: Config, clusters: [{name: c, cluster: {server: %q}}],
  contexts: [{name: c, context: {cluster: c}}], current-context: c}`,
		server.URL,
	)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(certificate)
	return file, pool
}

func freePort(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

var served atomic.Bool // with -count

// A replica that does not lead answers the API server, says what it lacks, and shuts down when it is asked to.
func TestServe(t *testing.T) {
	if served.Swap(true) {
		t.Skip("a process serves once: metrics and controllers are registered with it")
	}
	kubeconfig, trusted := cluster(t)
	t.Setenv("KUBECONFIG", kubeconfig)
	clientCA, caller := callerOf(t)
	hooks, health, metrics := freePort(t), freePort(t), freePort(t)
	f := flagsOf(t, "--config=testdata/config.yaml", "--namespace=system", "--service=injector", "--webhook-port="+hooks,
		"--health-address=127.0.0.1:"+health, "--metrics-address=127.0.0.1:"+metrics, "--log-level=error",
		"--serving-cert-dir="+t.TempDir(), "--webhook-client-ca-file="+clientCA, "--metrics-secure")
	s, err := newServer(f)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.run(ctx) }()
	get := func(url string) (int, string) {
		response, err := http.Get(url)
		if err != nil {
			return 0, err.Error()
		}
		defer func() { _ = response.Body.Close() }()
		body, _ := io.ReadAll(response.Body)
		return response.StatusCode, string(body)
	}
	ready := "http://127.0.0.1:" + health + "/readyz?verbose"
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		_, body := get(ready)
		if strings.Contains(body, "[+]webhook ok") && strings.Contains(body, "[+]namespaces ok") &&
			strings.Contains(body, "[+]certificate ok") &&
			strings.Contains(body, "[-]identity failed") {
			break
		}
		select {
		case err := <-ended:
			t.Fatalf("ended with %v", err)
		default:
		}
		if time.Now().After(deadline) {
			t.Fatalf("it lacks more than its identity: %s", body)
		}
	}
	if status, _ := get("http://127.0.0.1:" + health + "/healthz"); status != http.StatusOK {
		t.Errorf("it does not live: %d", status)
	}
	holdConnections(t, health)
	holdConnections(t, metrics)
	if status, _ := get("http://127.0.0.1:" + health + "/healthz"); status != http.StatusOK {
		t.Errorf("it does not live while connections are held: %d", status)
	}
	body := metricsFor(t, "https://127.0.0.1:"+metrics+"/metrics", &tls.Config{RootCAs: trusted, ServerName: "injector.system.svc"})
	for _, name := range []string{
		`spire_injector_build_info{version="`, "spire_injector_config_hash ",
		"spire_injector_serving_certificate_expiry_timestamp_seconds ",
		`spire_injector_connections{port="webhook"} `,
		`spire_injector_connections_closed_total{port="webhook",reason="evicted"} 0`,
		`spire_injector_connections_closed_total{port="health",reason="evicted"} `,
		`spire_injector_connections_closed_total{port="metrics",reason="evicted"} `,
		"spire_injector_rollout_paused 0", `workqueue_depth{controller="rollout",name="rollout"`,
	} {
		if !strings.Contains(body, "\n"+name) {
			t.Errorf("there is no metric %s", name)
		}
	}
	for _, port := range []string{"health", "metrics"} {
		if strings.Contains(body, `spire_injector_connections_closed_total{port="`+port+`",reason="evicted"} 0`) {
			t.Errorf("the port for %s takes any number of connections", port)
		}
	}
	if strings.Contains(body, "\nspire_injector_svid_expiry_timestamp_seconds ") {
		t.Error("its SVID expires, and there is none")
	}
	admits(t, "https://127.0.0.1:"+hooks, &tls.Config{
		RootCAs: trusted, ServerName: "injector.system.svc", Certificates: []tls.Certificate{caller},
	})
	answersNobodyElse(t, "127.0.0.1:"+hooks, &tls.Config{RootCAs: trusted, ServerName: "injector.system.svc"})
	if s.kubernetes.Major != 1 || s.kubernetes.Minor != 35 || s.inForce.Get().Kubernetes != s.kubernetes {
		t.Errorf("it takes the cluster's Kubernetes for %v", s.kubernetes)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("ended with %v", err)
	}
}

// metricsFor returns what a reader gets, and checks that nobody else gets anything.
func metricsFor(t *testing.T, url string, config *tls.Config) (body string) {
	t.Helper()
	client := http.Client{Transport: &http.Transport{TLSClientConfig: config}}
	defer client.CloseIdleConnections()
	for token, want := range map[string]int{
		"": http.StatusUnauthorized, "forged": http.StatusInternalServerError, "other": http.StatusForbidden, "reader": http.StatusOK,
	} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		if token != "" {
			request.Header.Set("Authorization", "Bearer "+token)
		}
		response, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		got, _ := io.ReadAll(response.Body)
		_ = response.Body.Close()
		if response.StatusCode != want || want != http.StatusOK && strings.Contains(string(got), "spire_injector_") {
			t.Errorf("metrics for the token %q: expected %d, got %d with %d bytes", token, want, response.StatusCode, len(got))
		}
		if want == http.StatusOK {
			body = string(got)
		}
	}
	return body
}

// callerOf makes a file of a CA that signs itself, and what it presents as a client.
func callerOf(t *testing.T) (file string, caller tls.Certificate) {
	t.Helper()
	certificate, key := certificateFor(t, "api-server")
	file = filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(file, certificate, 0o600); err != nil {
		t.Fatal(err)
	}
	caller, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		t.Fatal(err)
	}
	return file, caller
}

// answersNobodyElse calls the webhooks without a client certificate.
func answersNobodyElse(t *testing.T, address string, config *tls.Config) {
	t.Helper()
	dialer := tls.Dialer{Config: config}
	connection, err := dialer.DialContext(t.Context(), "tcp", address)
	if err == nil { // with TLS 1.3 the client hears of it when it reads
		defer func() { _ = connection.Close() }()
		_, err = connection.Read(make([]byte, 1))
	}
	if err == nil || !strings.Contains(err.Error(), "certificate required") {
		t.Errorf("without a client certificate: expected that the handshake fails, got %v", err)
	}
}

// admits asks the webhooks about a pod that is not labelled, and about one that is and has a mistake.
func admits(t *testing.T, url string, config *tls.Config) {
	t.Helper()
	client := http.Client{Transport: &http.Transport{TLSClientConfig: config}}
	defer client.CloseIdleConnections()
	ask := func(path, group, resource, kind, object string) string {
		t.Helper()
		review := fmt.Sprintf(
			`{"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
				"uid": "1", "operation": "CREATE", "namespace": "demo", "kind": {"group": %q, "version": "v1", "kind": %q},
				"resource": {"group": %q, "version": "v1", "resource": %q}, "object": %s}}`,
			group, kind, group, resource, object)
		response, err := client.Post(url+path, "application/json", strings.NewReader(review))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = response.Body.Close() }()
		body, err := io.ReadAll(response.Body)
		if err != nil || response.StatusCode != http.StatusOK {
			t.Fatalf("%s: %d, %v", path, response.StatusCode, err)
		}
		return string(body)
	}
	const plain = `{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "demo"},
		"spec": {"containers": [{"name": "app", "image": "app"}]}}`
	asking := strings.Replace(
		plain,
		`"name": "p",`,
		`"name": "p", "labels": {"spiffe.io/inject": "enabled"}, "annotations": {"spiffe.io/app-port": "none"},`,
		1,
	)
	deployment := `{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d", "namespace": "demo"},
		"spec": {"template": ` + asking + `}}`
	for _, path := range []string{"/mutate-pod", "/validate-pod"} {
		if got := ask(path, "", "pods", "Pod", plain); !strings.Contains(got, `"allowed":true`) {
			t.Errorf("%s of a pod that asks for nothing: %s", path, got)
		}
	}
	for _, test := range []struct{ path, group, resource, kind, object, part string }{
		{"/mutate-pod", "", "pods", "Pod", asking, "spiffe.io/app-port"},
		{"/validate-pod", "", "pods", "Pod", asking, ""},
		{"/validate-workload", "apps", "deployments", "Deployment", deployment, "spiffe.io/app-port"},
	} {
		got := ask(test.path, test.group, test.resource, test.kind, test.object)
		if !strings.Contains(got, `"allowed":false`) || !strings.Contains(got, test.part) {
			t.Errorf("%s of a pod with a mistake: %s", test.path, got)
		}
	}
}
