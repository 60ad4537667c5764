package inject

import (
	"encoding/json"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/spire-injector/spire-injector/registrar/reason"
	"github.com/spire-injector/spire-injector/webhook/intent"
	"github.com/spire-injector/spire-injector/webhook/webhooktest"
)

// ofOlderVersion is an injected pod with the status that versions wrote which did not say what Envoy was started with.
func ofOlderVersion(t *testing.T, pod *corev1.Pod) *corev1.Pod {
	t.Helper()
	out := pod.DeepCopy()
	status := StatusOf(pod)
	status.Envoy = nil
	if err := status.writeTo(out); err != nil {
		t.Fatal(err)
	}
	return out
}

// older is the server as such a version injected it.
func older(t *testing.T, injector Injector) *corev1.Pod {
	t.Helper()
	pod := ofOlderVersion(t, running(t, injector))
	const status = `{"version":"old","spiffeID":"spiffe://example.org/api","entryIDs":["ENTRY"],"mode":"sidecar",` +
		`"sidecar":"envoy","volumes":["spiffe-envoy-config","spiffe-agent-socket"],"draining":["app"],"gracePeriod":30}`
	want, got := strings.Replace(status, "ENTRY", StatusOf(pod).EntryIDs[0], 1), pod.Annotations[intent.AnnotationStatus]
	if got != want {
		t.Fatalf("expected the status %s, got %s", want, got)
	}
	return pod
}

// A pod that an older version injected goes on: it is valid, takes what a running pod takes, and follows its namespace.
func TestPodOfOlderVersion(t *testing.T) {
	injector := Injector{Platform: webhooktest.Platform(t), Version: "old"}
	ns := intent.Namespace{Name: "demo"}
	pod := older(t, injector)
	envoy := containerNamed(pod.Spec.InitContainers, intent.SidecarName)
	if envoy.ReadinessProbe.InitialDelaySeconds == 0 {
		t.Error("expected that readiness is asked when the app may answer")
	}
	envoy.ReadinessProbe.InitialDelaySeconds = 0
	injector.Version = "new"
	if res, err := injector.Validate(ns, pod); err != nil || res.Reason != reason.AlreadyInjected {
		t.Errorf("expected a valid pod, got %s, %v", res.Reason, err)
	}
	if res, err := injector.Inject(ns, pod); err != nil || res.Pod != pod {
		t.Errorf("expected the pod as it is, got %s, %v", res.Reason, err)
	}
	forged := pod.DeepCopy()
	forged.Annotations[intent.AnnotationStatus] = strings.Replace(
		pod.Annotations[intent.AnnotationStatus],
		`"mode":"sidecar"`,
		`"mode":"sidecar,socket"`,
		1,
	)
	_, err := injector.Validate(ns, forged)
	wantRefusal(t, err, reason.OtherVersion, "annotation "+intent.AnnotationStatus)

	after := pod.DeepCopy()
	after.Annotations[intent.AnnotationAllowedPeers] = "/other"
	res, err := injector.Update(ns, pod, after)
	if err != nil || res.Reason != reason.Regenerated {
		t.Fatalf("expected another configuration, got %s, %v", res.Reason, err)
	}
	if res.Pod.Annotations[intent.AnnotationStatus] != pod.Annotations[intent.AnnotationStatus] {
		t.Errorf("the status of a running pod has changed: %s", res.Pod.Annotations[intent.AnnotationStatus])
	}
	if _, err := injector.ValidateUpdate(ns, pod, res.Pod); err != nil {
		t.Errorf("the changed pod is not valid: %v", err)
	}
	wantUpdate(t, injector, pod, intent.AnnotationUpstreams, `[{listen: 8001, address: "db.demo.svc:8443", peers: [/db]}]`,
		"adds, removes or moves a port")
	if got, err := injector.Refresh(ns, pod); err != nil || got.Outdated || len(got.NewPod) > 0 {
		t.Errorf("expected nothing outdated, got %+v, %v", got, err)
	}
}

// Older versions gave Envoy's files names for JSON, and Envoy reads nothing else in a file of such a name.
func TestPodOfOlderVersionKeepsJSON(t *testing.T) {
	injector := Injector{Platform: webhooktest.Platform(t)}
	ns := intent.Namespace{Name: "demo"}
	pod := older(t, Injector{Platform: injector.Platform, Version: "old"})
	for _, v := range pod.Spec.Volumes {
		if v.Name == ConfigVolume {
			for n := range v.DownwardAPI.Items {
				v.DownwardAPI.Items[n].Path = strings.Replace(v.DownwardAPI.Items[n].Path, ".yaml", ".json", 1)
			}
		}
	}
	refresh, err := injector.Refresh(ns, pod)
	if err != nil || !refresh.Outdated || len(refresh.NewPod) > 0 {
		t.Fatalf("expected a pod that can follow, got %+v, %v", refresh, err)
	}
	after := pod.DeepCopy()
	after.Annotations[intent.AnnotationRefresh] = refresh.Value
	res, err := injector.Update(ns, pod, after)
	if err != nil || !refresh.Done(res.Pod) {
		t.Fatalf("expected what is wanted, got %s, %v", res.Reason, err)
	}
	for _, key := range regenerated {
		if text := res.Pod.Annotations[key]; !json.Valid([]byte(text)) || strings.Contains(text, ".yaml") {
			t.Errorf("%s is not for files of JSON: %s", key, text)
		}
	}
	if !strings.Contains(res.Pod.Annotations[intent.AnnotationListeners], `"/etc/envoy/authorization.json"`) {
		t.Errorf("the listeners do not refer to the file of rules: %s", res.Pod.Annotations[intent.AnnotationListeners])
	}
	if _, err := injector.ValidateUpdate(ns, pod, res.Pod); err != nil {
		t.Errorf("the changed pod is not valid: %v", err)
	}
	if again, err := injector.Refresh(ns, res.Pod); err != nil || again.Outdated {
		t.Errorf("expected nothing outdated, got %+v, %v", again, err)
	}
}

// Older versions let in what is denied today. Such a pod runs on, and takes what a running pod takes.
func TestPodWithAdditionsOfOlderVersion(t *testing.T) {
	injector := Injector{Platform: webhooktest.Platform(t)}
	ns := intent.Namespace{Name: "demo"}
	for name, pod := range everything(t, injector.withJWT()) {
		for c := range intent.ContainersOf(pod) {
			if c.Name == intent.SidecarName {
				c.Env = []corev1.EnvVar{{Name: "TZ", Value: "UTC"}}
				c.Lifecycle = &corev1.Lifecycle{PostStart: &corev1.LifecycleHandler{Exec: &corev1.ExecAction{}}}
			}
			c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: SocketVolume, MountPath: "/mine"})
		}
		if _, err := injector.withJWT().Validate(ns, pod); err == nil {
			t.Errorf("%s: a new pod like it is not refused", name)
		}

		after := pod.DeepCopy()
		after.Annotations[intent.AnnotationFederatesWith] = "auxiliary.org"
		after.Annotations[intent.AnnotationEnforcement] = "audit"
		res, err := injector.withJWT().Update(ns, pod, after)
		if err != nil || res.Reason != reason.Regenerated {
			t.Fatalf("%s: expected another configuration, got %s, %v", name, res.Reason, err)
		}
		if _, err := injector.withJWT().ValidateUpdate(ns, pod, res.Pod); err != nil {
			t.Errorf("%s: the changed pod is not valid: %v", name, err)
		}
		if _, err := injector.withJWT().Refresh(ns, pod); err != nil {
			t.Errorf("%s: it does not follow its namespace and the platform: %v", name, err)
		}
	}
}

// What its spec shows of an older pod's Envoy stays; the rest is taken to be as it would be now.
func TestRefreshOfPodOfOlderVersion(t *testing.T) {
	const upstream = `[{listen: 8000, address: "db.demo.svc:8443", peers: [/db]}]`
	listens := func(inbound string) map[string]string {
		return map[string]string{
			intent.AnnotationInbound:   "[{" + inbound + ", peers: [/web]}]",
			intent.AnnotationUpstreams: upstream,
		}
	}
	of := func(inbound, upstreams string) map[string]string {
		return map[string]string{
			intent.AnnotationInbound:   "[{" + inbound + ", peers: [/web]}]",
			intent.AnnotationUpstreams: upstreams,
		}
	}
	const port = "listen: 8443, app: 8080"
	tests := []struct {
		name          string
		before, after map[string]string // of the namespace
		outdated      bool
		newPod        string
	}{
		{"nothing", listens(port), listens(port), false, ""},
		{"limits", listens(port), listens(port + ", limits: {maxRequestBytes: 1Ki}"), true, ""},
		{"inbound port", listens(port), listens("listen: 9443, app: 8080"), false, "ports: "},
		{"kind of inbound port", listens(port), listens(port + ", tls: permissive"), true, ""},
		{"a Secret", listens(port), listens(port + ", certificate: {secret: web}"), false, "Secret with the certificate"},
		{
			"another Secret",
			listens(port + ", certificate: {secret: x}"),
			listens(port + ", certificate: {secret: web}"),
			false,
			"Secret",
		},
		{
			"the same Secret",
			listens(port + ", certificate: {secret: x}"),
			listens(port + ", certificate: {secret: x}"),
			false,
			"",
		},
		{"tokens", of(port, upstream), of(port, jwtUpstream), false, "jwt of inbound and upstreams"},
		{
			"tokens for another",
			of(port, jwtUpstream),
			of(port, strings.Replace(jwtUpstream, "audience: /db", "audience: a$b", 1)),
			false,
			"jwt",
		},
		{"the same tokens", of(port, jwtUpstream), of(port, jwtUpstream), false, ""},
		{"the same odd tokens", of(port, strings.Replace(jwtUpstream, "audience: /db", "audience: a$b", 1)),
			of(port, strings.Replace(jwtUpstream, "audience: /db", "audience: a$b", 1)), false, ""},
		{
			"upstream port, which nobody knows",
			listens(port),
			of(port, strings.Replace(upstream, "8000", "8001", 1)),
			true,
			"",
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			injector := Injector{Platform: webhooktest.Platform(t)}
			injector.Platform.Sidecar.JWT.Image = "injector"
			pod := follower()
			delete(pod.Annotations, intent.AnnotationAppPort)
			res, err := injector.Inject(in(test.before), pod)
			if err != nil {
				t.Fatal(err)
			}
			got, err := injector.Refresh(in(test.after), ofOlderVersion(t, res.Pod))
			if err != nil {
				t.Fatal(err)
			}
			why := ""
			for _, m := range got.NewPod {
				why += m.String()
			}
			if got.Outdated != test.outdated || (why == "") != (test.newPod == "") || !strings.HasPrefix(why, test.newPod) {
				t.Errorf("expected outdated=%t and %q, got %+v", test.outdated, test.newPod, got)
			}
		})
	}
}

// A gateway's container may declare ports of the user's, with names of the user's.
func TestRefreshOfGatewayOfOlderVersion(t *testing.T) {
	injector := Injector{Platform: webhooktest.Platform(t)}
	ns := func(port string) intent.Namespace {
		return in(map[string]string{
			intent.AnnotationInbound:   "[{listen: " + port + ", tls: none}]",
			intent.AnnotationUpstreams: `[{match: /, address: "db.demo.svc:8443", peers: [/db]}]`,
		})
	}
	pod := webhooktest.Server()
	pod.Annotations = map[string]string{intent.AnnotationMode: "gateway", intent.AnnotationSPIFFEID: "/api"}
	pod.Spec.Containers = []corev1.Container{{Name: intent.SidecarName, Image: imageAuto,
		Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: 10080}, {Name: "other", ContainerPort: 9999}}}}
	res, err := injector.Inject(ns("10080"), pod)
	if err != nil {
		t.Fatal(err)
	}
	for port, stays := range map[string]bool{"10080": true, "10081": false} {
		got, err := injector.Refresh(ns(port), ofOlderVersion(t, res.Pod))
		if err != nil || (len(got.NewPod) == 0) != stays {
			t.Errorf("%s: expected that the pod can take it %t, got %+v, %v", port, stays, got, err)
		}
	}
}

// A running Envoy cannot be told to end TCP connections with their callers' certificates, if older versions started it:
// then its listeners stay as they were.
func TestPodOfOlderVersionHasNoTCPDeadlines(t *testing.T) {
	injector := Injector{Platform: webhooktest.Platform(t)}
	ns := in(map[string]string{intent.AnnotationInbound: "[{listen: 9000, app: 9001, protocol: tcp, peers: [/web]}]"})
	pod := follower()
	delete(pod.Annotations, intent.AnnotationAppPort)
	res, err := injector.Inject(ns, pod)
	if err != nil {
		t.Fatal(err)
	}
	const bootstrap, detour = "internal_listener", "early_9000"
	if s := StatusOf(res.Pod).Envoy; !s.TCPDeadlines || !strings.Contains(res.Pod.Annotations[intent.AnnotationBootstrap], bootstrap) {
		t.Fatalf("a new pod's Envoy is not started with what they need: %+v", s)
	}
	older := res.Pod.DeepCopy()
	status := StatusOf(older)
	status.Envoy.TCPDeadlines = false
	if err := status.writeTo(older); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		pod  *corev1.Pod
		want bool
	}{"new": {res.Pod, true}, "older": {older, false}, "oldest": {ofOlderVersion(t, res.Pod), false}} {
		after := test.pod.DeepCopy()
		after.Annotations[intent.AnnotationInbound] = "[{listen: 9000, app: 9001, protocol: tcp, peers: [/web, /other]}]"
		updated, err := injector.Update(ns, test.pod, after)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, key := range []string{intent.AnnotationListeners, intent.AnnotationClusters} {
			if got := strings.Contains(updated.Pod.Annotations[key], detour); got != test.want {
				t.Errorf("%s: %s has the detour: %t, want %t", name, key, got, test.want)
			}
		}
		if again, err := injector.Refresh(ns, updated.Pod); err != nil || len(again.NewPod) > 0 {
			t.Errorf("%s: expected a pod that can follow, got %+v, %v", name, again, err)
		}
	}
}
