package inject

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/spire-injector/spire-injector/webhook/intent"
	"github.com/spire-injector/spire-injector/webhook/webhooktest"
)

// What is said of clients changes on a running pod, but for what Envoy reads once, and what is mounted.
func TestUpdateOfClients(t *testing.T) {
	injector := Injector{Platform: webhooktest.Platform(t), Version: "test"}
	const (
		plain    = `[{listen: 8443, app: 8080, peers: [/web]}]`
		optional = `[{listen: 8443, app: 8080, peers: [/web], clientCertificate: optional}]`
	)
	secret := func(name string) string {
		return `[{listen: 8443, app: 8080, peers: [/web], certificate: {secret: ` + name + `}}]`
	}
	for _, test := range []struct {
		name, before, after string
		refused             string // part of the refusal; empty if there is none
	}{
		{"forwarded", plain, `[{listen: 8443, app: 8080, peers: [/edge], forwardedClients: [/web]}]`, ""},
		{"limits", plain, `[{listen: 8443, app: 8080, peers: [/web], limits: {maxRequestBytes: 1Ki}}]`, ""},
		{"none", plain, `[{listen: 8443, app: 8080, clientCertificate: none}]`, ""},
		{"peers of a port with a Secret", secret("web"),
			`[{listen: 8443, app: 8080, peers: [/x], certificate: {secret: web}}]`, ""},
		{"the app's address", plain, `[{listen: 8443, app: "[::1]:8080", peers: [/web]}]`, "adds, removes or moves a port"},
		{"the app on the pod's address", plain, `[{listen: 8443, app: "podIP:8080", peers: [/web]}]`, "adds, removes or moves a port"},
		{"peers of an app on the pod's address", `[{listen: 8443, app: "podIP:8080", peers: [/web]}]`,
			`[{listen: 8443, app: "podIP:8080", peers: [/x]}]`, ""},
		{"optional", plain, optional, "begins or ends to take callers with and without a certificate"},
		{"no more optional", optional, plain, "begins or ends to take callers with and without a certificate"},
		{"a Secret", plain, secret("web"), "names another Secret"},
		{"no Secret", secret("web"), plain, "names another Secret"},
		{"another Secret", secret("web"), secret("other"), "names another Secret"},
	} {
		t.Run(test.name, func(t *testing.T) {
			before := injectedWith(t, injector, test.before)
			wantUpdate(t, injector, before, intent.AnnotationInbound, test.after, test.refused)
		})
	}
	was, is := injectedWith(t, injector, secret("web")), injectedWith(t, injector, secret("other"))
	if mistakes := fixed(was, is); len(mistakes) != 1 || mistakes[0].Where != "Secret with the certificate" {
		t.Errorf("another Secret by the namespace: got %v", mistakes)
	}
}

// injectedWith is a server with this long form.
func injectedWith(t *testing.T, i Injector, inbound string) *corev1.Pod {
	t.Helper()
	pod := webhooktest.Server()
	delete(pod.Annotations, intent.AnnotationAppPort)
	delete(pod.Annotations, intent.AnnotationAllowedPeers)
	pod.Annotations[intent.AnnotationInbound] = inbound
	res, err := i.Inject(intent.Namespace{Name: "demo"}, pod)
	if err != nil {
		t.Fatal(err)
	}
	return res.Pod
}

// What an Envoy was started with, as the status says it.
func TestEnvoyStatus(t *testing.T) {
	injector := Injector{Platform: webhooktest.Platform(t), Version: "test"}
	injector.Platform.Sidecar.JWT.Image = "injector"
	pod := webhooktest.Server()
	delete(pod.Annotations, intent.AnnotationAppPort)
	delete(pod.Annotations, intent.AnnotationAllowedPeers)
	pod.Annotations[intent.AnnotationInbound] = `[
		{listen: 8443, app: 9090, peers: [/web], clientCertificate: optional, certificate: {secret: web}},
		{listen: 8444, app: 8080, peers: [/web]}, {listen: 8445, app: 8080, peers: [/web]}]`
	pod.Annotations[intent.AnnotationUpstreams] = `[
		{listen: 8001, address: "b.demo.svc:8443", peers: [/b], jwt: {audience: x}},
		{listen: 5432, address: "db.demo.svc:8443", peers: [/db], protocol: tcp},
		{listen: 8000, address: "a.demo.svc:8443", peers: [/a]}]`
	res, err := injector.Inject(intent.Namespace{Name: "demo"}, pod)
	if err != nil {
		t.Fatal(err)
	}
	want := `"envoy":{"inbound":[8443,8444,8445],"app":[9090,8080],"upstreams":[8001,8000],"tcp":[5432],` +
		`"requestsCertificates":true,"secret":"web","audiences":["x"],"config":"` + ConfigDigest(res.Pod) + `"}`
	if got := res.Pod.Annotations[intent.AnnotationStatus]; !strings.Contains(got, want) {
		t.Errorf("expected %s in %s", want, got)
	}
	carried := generated(ConfigOf(res.Pod))
	for _, f := range configFiles() {
		if carried[f.annotation] != res.Pod.Annotations[f.annotation] {
			t.Errorf("%s: expected %q, got %q", f.file, res.Pod.Annotations[f.annotation], carried[f.annotation])
		}
	}
}

// A running Envoy can take what says the same of ports, in whatever order.
func TestSamePorts(t *testing.T) {
	base := EnvoyStatus{
		Inbound:   []uint16{8443, 9443},
		App:       []uint16{8080, 9090},
		Upstreams: []uint16{8000, 8001, 8002},
		TCP:       []uint16{5432},
	}
	for name, test := range map[string]struct {
		change func(*EnvoyStatus)
		want   bool
	}{
		"nothing": {func(*EnvoyStatus) {}, true},
		"what is compared elsewhere": {func(s *EnvoyStatus) {
			s.Secret, s.Audiences, s.Config = "x", []string{"x"}, "x"
		}, true},
		"order of inbound":              {func(s *EnvoyStatus) { s.Inbound = []uint16{9443, 8443} }, true},
		"order of the app's ports":      {func(s *EnvoyStatus) { s.App = []uint16{9090, 8080} }, true},
		"order of upstreams":            {func(s *EnvoyStatus) { s.Upstreams = []uint16{8000, 8002, 8001} }, true},
		"first upstream, that is asked": {func(s *EnvoyStatus) { s.Upstreams = []uint16{8001, 8000, 8002} }, false},
		"inbound port":                  {func(s *EnvoyStatus) { s.Inbound = []uint16{8443, 9444} }, false},
		"inbound port less":             {func(s *EnvoyStatus) { s.Inbound = s.Inbound[1:] }, false},
		"port of the app":               {func(s *EnvoyStatus) { s.App = []uint16{8081, 9090} }, false},
		"upstream port":                 {func(s *EnvoyStatus) { s.Upstreams = []uint16{8000, 8001, 8003} }, false},
		"no upstream":                   {func(s *EnvoyStatus) { s.Upstreams = nil }, false},
		"TCP port":                      {func(s *EnvoyStatus) { s.TCP = []uint16{5433} }, false},
		"upstream is TCP": {func(s *EnvoyStatus) {
			s.TCP, s.Upstreams = []uint16{5432, 8002}, []uint16{8000, 8001}
		}, false},
		"certificates are requested": {func(s *EnvoyStatus) { s.RequestsCertificates = true }, false},
	} {
		other := base
		test.change(&other)
		if got := base.samePorts(other); got != test.want {
			t.Errorf("%s: expected %t, got %t", name, test.want, got)
		}
		if got := other.samePorts(base); got != test.want {
			t.Errorf("%s, the other way: expected %t, got %t", name, test.want, got)
		}
	}
}
