package inject

import (
	"encoding/base64"
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/spire-injector/spire-injector/registrar/reason"
	"github.com/spire-injector/spire-injector/templates"
	"github.com/spire-injector/spire-injector/templates/ir"
	"github.com/spire-injector/spire-injector/webhook/intent"
	"github.com/spire-injector/spire-injector/webhook/webhooktest"
)

// twoVersions are injectors that share a key, and differ in an argument of Envoy, in what a container of ours may
// use, in a byte of Envoy's configuration and in the directory of the agent's socket.
func twoVersions(t *testing.T) (older, newer Injector) {
	t.Helper()
	older = Injector{
		Platform: webhooktest.Platform(t),
		Version:  "older",
		Sealing:  Sealing{Keys: [][]byte{[]byte("key")}, Now: time.Unix(1_700_000_000, 0)},
	}.withJWT()
	older.Platform = older.Platform.WithClusterDomain("cluster.local")
	older.Platform.Sidecar.Capture.Image = "injector:1"
	kept := templates.NewCache(4 << 20) // the same again and again
	older.Generate, older.Keep = kept.Generate, kept.Keep
	newer = older
	newer.Version = "newer"
	newer.Platform.Sidecar.LogLevel = "trace"
	newer.Platform.Sidecar.Resources.Limits = corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("64Mi")}
	newer.Platform.AgentSocket.HostPath = "/run/other"
	newer.Generate = func(p ir.Proxy) (templates.Config, error) {
		c, err := kept.Generate(p)
		c.Listeners += " "
		return c, err
	}
	return older, newer
}

// sealedPods have together all that injection adds, as the API server stores them.
func sealedPods(t *testing.T, injector Injector) map[string]*corev1.Pod {
	t.Helper()
	busy := webhooktest.Server()
	busy.Labels["app"], busy.Annotations["other.io/x"] = "x", "y"
	busy.Annotations = map[string]string{
		intent.AnnotationMode:    "sidecar,socket",
		intent.AnnotationInbound: "[{listen: 443, app: 8080, peers: [/web]}]",
		intent.AnnotationUpstreams: `[{listen: 8000, address: "db.demo.svc:8443", peers: [/db]}, ` +
			`{listen: "api:8081", address: "api.demo.svc:8443", peers: [/api]}]`,
	}
	probe := func(path string) *corev1.Probe {
		return &corev1.Probe{
			ProbeHandler:                  corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: path, Port: intstr.FromInt32(8080)}},
			TerminationGracePeriodSeconds: new(int64(5)),
		}
	}
	hook := &corev1.LifecycleHandler{HTTPGet: &corev1.HTTPGetAction{
		Path: "/hook", Port: intstr.FromInt32(8080), Scheme: corev1.URISchemeHTTP,
	}}
	busy.Spec.InitContainers = []corev1.Container{{Name: "prepare", Image: "app"}}
	app := &busy.Spec.Containers[0]
	app.StartupProbe, app.LivenessProbe = probe("/start"), probe("/live")
	app.Lifecycle = &corev1.Lifecycle{PostStart: hook}
	app.SecurityContext = &corev1.SecurityContext{RunAsUser: new(int64(firstSidecarUser))}
	busy.Spec.HostAliases = []corev1.HostAlias{{IP: "10.0.0.1", Hostnames: []string{"x"}}}
	captured := webhooktest.Server()
	captured.Annotations = map[string]string{intent.AnnotationCapture: "inbound", intent.AnnotationAllowedPeers: "/web"}
	captured.Spec.Containers[0].Ports = []corev1.ContainerPort{{Name: "http", ContainerPort: 8080}}

	pods := everything(t, injector)
	for name, pod := range map[string]*corev1.Pod{"busy": busy, "captured": captured} {
		res, err := injector.Inject(intent.Namespace{Name: "demo"}, pod)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		pods[name] = res.Pod
	}
	for _, pod := range pods {
		asStored(pod)
	}
	return pods
}

// asStored gives a pod what the API server gives it after injection: its defaults, and what its own admission adds.
func asStored(pod *corev1.Pod) {
	for c := range intent.ContainersOf(pod) {
		*c = defaulted(*c)
		for _, list := range []*corev1.ResourceList{&c.Resources.Limits, &c.Resources.Requests} {
			*list = withOpen(maps.Clone(*list), corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("10m")})
		}
		if dropsAll(*c) {
			c.SecurityContext.Capabilities.Drop = append(c.SecurityContext.Capabilities.Drop, "KILL")
		}
		c.ImagePullPolicy = corev1.PullAlways
	}
	for i, v := range pod.Spec.Volumes {
		pod.Spec.Volumes[i] = defaultedVolume(v)
	}
	pod.Spec.ServiceAccountName, pod.Spec.RestartPolicy = "default", corev1.RestartPolicyAlways
	pod.Spec.SchedulerName, pod.Spec.Tolerations = "default", []corev1.Toleration{{Key: "x"}}
	pod.Spec.Volumes = append(pod.Spec.Volumes, corev1.Volume{Name: "other"})
	pod.Annotations["kubernetes.io/limit-ranger"] = "LimitRanger plugin set: cpu limit for container envoy"
	if pod.Spec.TerminationGracePeriodSeconds == nil {
		pod.Spec.TerminationGracePeriodSeconds = new(int64(defaultGracePeriod))
	}
	if pod.Spec.SecurityContext == nil {
		pod.Spec.SecurityContext = &corev1.PodSecurityContext{}
	}
}

// While the injector is upgraded, each of two versions lets in what the other one made, as it made it: also when it is
// called a second time for one pod.
func TestSealedPodsOfAnotherVersion(t *testing.T) {
	older, newer := twoVersions(t)
	ns := intent.Namespace{Name: "demo"}
	for _, of := range [][2]Injector{{older, newer}, {newer, older}} {
		of[1].Decisions = NewDecisions()
		for name, pod := range sealedPods(t, of[0]) {
			if seal := `,"seal":"` + StatusOf(pod).Seal + `"`; len(seal) > 45 || len(seal) < 32 {
				t.Errorf("%s: the seal is %s, of %d bytes", name, seal, len(seal))
			}
			if _, err := of[1].sameAgain(ns, pod); err == nil {
				t.Fatalf("%s: the two versions make the same pod", name)
			}
			for side, decide := range map[string]func(intent.Namespace, *corev1.Pod) (Result, error){
				"injecting": of[1].Create, "validating": of[1].ValidateCreated,
			} {
				res, err := decide(ns, pod)
				if err != nil || res.Reason != reason.AlreadyInjected || len(res.patch) > 0 || len(res.Workloads) > 0 {
					t.Errorf("%s, of version %s, %s: expected a pod that is injected, got %+v, %v", name, of[0].Version, side, res, err)
				}
				if res, err := decide(ns, pod); err != nil || res.Remembered {
					t.Errorf("%s, %s: for how long a seal holds is remembered: %v", name, side, err)
				}
			}
		}
	}
}

// What the maker of a pod would deny after a change, its seal never lets in elsewhere.
func TestSealHoldsForNothingElse(t *testing.T) {
	older, newer := twoVersions(t)
	maker := older
	maker.Sealing = Sealing{} // which would let it in too
	ns := intent.Namespace{Name: "demo"}
	for name, pod := range sealedPods(t, older) {
		broken := 0
		try := func(path string) {
			if !newer.Sealing.holds(ns, pod) || strings.HasSuffix(path, ".Port.StrVal") { // of a number, which JSON has not
				broken++
			} else if _, err := maker.Validate(ns, pod); err != nil {
				t.Errorf("%s, %s: the seal holds, and its maker denies it: %v", name, path, err)
			}
		}
		for _, field := range []string{
			"InitContainers", "Containers", "Volumes", "HostAliases", "TerminationGracePeriodSeconds", "SecurityContext",
			"HostNetwork", "HostPID", "ShareProcessNamespace", "ServiceAccountName", "Resources",
		} {
			alterations(field, reflect.ValueOf(&pod.Spec).Elem().FieldByName(field), try)
		}
		for what, all := range map[string]map[string]string{"label": pod.Labels, "annotation": pod.Annotations} {
			for key, value := range maps.Clone(all) {
				for change, to := range map[string]string{"longer": value + "x", "other": strings.Replace(value, "a", "b", 1), "empty": ""} {
					all[key] = to
					try(what + " " + key + " " + change)
				}
				delete(all, key)
				try(what + " " + key + " none")
				all[key] = value
			}
		}
		if broken < 100 {
			t.Errorf("%s: %d changes broke the seal, which is not what injection adds", name, broken)
		}
	}
}

// A user's own texts are sealed as they were read.
func TestSealIsOfWhatTheUserWrote(t *testing.T) {
	older, newer := twoVersions(t)
	// Nobody is denied for want of a claim.
	older.Platform.Claims = []intent.Claim{{Namespaces: []string{"*"}, ServiceAccounts: []string{"*"}, Paths: []string{"/api"}}}
	newer.Platform.Claims = older.Platform.Claims
	for name, change := range map[string]func(*intent.Namespace, *corev1.Pod){
		"annotation": func(_ *intent.Namespace, p *corev1.Pod) { p.Annotations[intent.AnnotationAllowedPeers] = "/other" },
		"annotation more": func(_ *intent.Namespace, p *corev1.Pod) {
			p.Annotations[intent.AnnotationEnforcement] = "enforce"
		},
		"label": func(_ *intent.Namespace, p *corev1.Pod) { p.Labels[intent.Prefix+"other"] = "x" },
		"service account": func(_ *intent.Namespace, p *corev1.Pod) {
			p.Spec.ServiceAccountName = "other"
		},
		"port of the app": func(_ *intent.Namespace, p *corev1.Pod) {
			p.Spec.Containers[0].Ports = append(p.Spec.Containers[0].Ports, corev1.ContainerPort{ContainerPort: 7000})
		},
		"container": func(_ *intent.Namespace, p *corev1.Pod) {
			p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: "late"})
		},
		"container with a name of ours": func(_ *intent.Namespace, p *corev1.Pod) {
			p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: intent.JWTName})
		},
		"container with a name that another version may have": func(_ *intent.Namespace, p *corev1.Pod) {
			p.Spec.InitContainers = append(p.Spec.InitContainers, corev1.Container{Name: "spiffe-new"})
		},
		"order of containers": func(_ *intent.Namespace, p *corev1.Pod) {
			p.Spec.InitContainers = append([]corev1.Container{{Name: "first"}}, p.Spec.InitContainers...)
		},
		"name of the namespace": func(ns *intent.Namespace, _ *corev1.Pod) { ns.Name = "other" },
		"label of the namespace": func(ns *intent.Namespace, _ *corev1.Pod) {
			ns.Labels = map[string]string{intent.LabelInject: "required"}
		},
		"default of the namespace": func(ns *intent.Namespace, _ *corev1.Pod) {
			ns.Annotations = map[string]string{intent.AnnotationAllowedPeers: "/x"}
		},
		"seal":        func(_ *intent.Namespace, p *corev1.Pod) { reseal(t, p, func(s string) string { return "A" + s[1:] }) },
		"no seal":     func(_ *intent.Namespace, p *corev1.Pod) { reseal(t, p, func(string) string { return "" }) },
		"short seal":  func(_ *intent.Namespace, p *corev1.Pod) { reseal(t, p, func(s string) string { return s[:8] }) },
		"longer seal": func(_ *intent.Namespace, p *corev1.Pod) { reseal(t, p, func(s string) string { return s + "AAAA" }) },
		"seal of open resources": func(_ *intent.Namespace, p *corev1.Pod) {
			reseal(t, p, func(s string) string { return s[:len(s)-2] + "AA" })
		},
	} {
		ns, pod := intent.Namespace{Name: "demo"}, running(t, older)
		pod.Spec.Containers[0].Ports = []corev1.ContainerPort{{ContainerPort: 9000}}
		res, err := older.Inject(ns, strip(pod))
		if err != nil {
			t.Fatal(err)
		}
		pod = res.Pod
		asStored(pod)
		if _, err := newer.Validate(ns, pod); err != nil {
			t.Fatal(err)
		}
		change(&ns, pod)
		if res, err := newer.Validate(ns, pod); err == nil {
			t.Errorf("another %s: expected a denial, got %s", name, res.Reason)
		}
	}
}

func reseal(t *testing.T, pod *corev1.Pod, change func(string) string) {
	t.Helper()
	status := StatusOf(pod)
	status.Seal = change(status.Seal)
	if err := status.writeTo(pod); err != nil {
		t.Fatal(err)
	}
}

func TestSealsKeyAndTime(t *testing.T) {
	older, newer := twoVersions(t)
	ns, pod := intent.Namespace{Name: "demo"}, running(t, older)
	at := older.Sealing.Now
	for name, test := range map[string]struct {
		sealing Sealing
		admits  bool
	}{
		"the same":               {older.Sealing, true},
		"a clock ahead":          {Sealing{older.Sealing.Keys, at.Add(time.Minute)}, true},
		"a clock far ahead":      {Sealing{older.Sealing.Keys, at.Add(4 * time.Minute)}, false},
		"a clock behind":         {Sealing{older.Sealing.Keys, at.Add(-time.Minute)}, true},
		"a clock far behind":     {Sealing{older.Sealing.Keys, at.Add(-3 * time.Minute)}, false},
		"a day later":            {Sealing{older.Sealing.Keys, at.Add(24 * time.Hour)}, false},
		"the key before":         {Sealing{[][]byte{[]byte("new"), []byte("key")}, at}, true},
		"another key":            {Sealing{[][]byte{[]byte("new")}, at}, false},
		"no key":                 {Sealing{nil, at}, false},
		"the clock at the epoch": {Sealing{older.Sealing.Keys, time.Time{}}, false},
	} {
		newer.Sealing = test.sealing
		res, err := newer.Validate(ns, pod)
		if test.admits != (err == nil) {
			t.Errorf("%s: expected a pod that is let in %t, got %s, %v", name, test.admits, res.Reason, err)
		}
		if err != nil {
			wantRefusal(t, err, reason.OtherVersion, `annotation spiffe.io/status: says that version "older" of the injector made `+
				`this pod, and here is version "newer", which makes another one; while the injector is upgraded, try again;`)
			wantRefusal(t, err, reason.OtherVersion, "container envoy, args, resources: is not what the webhook writes")
		}
	}
	// What nobody changed and this version makes needs no seal.
	older.Sealing = Sealing{}
	if _, err := older.Validate(ns, pod); err != nil {
		t.Error(err)
	}
	if res, err := older.Inject(ns, pod); err != nil || res.Pod != pod {
		t.Errorf("expected the pod as it came, got %s, %v", res.Reason, err)
	}
}

// Two replicas of one version may have two platform files for a moment.
func TestSealedPodsOfAnotherPlatformFile(t *testing.T) {
	older, newer := twoVersions(t)
	newer.Version = older.Version
	ns, pod := intent.Namespace{Name: "demo"}, running(t, older)
	if _, err := newer.Validate(ns, pod); err != nil {
		t.Error(err)
	}
	reseal(t, pod, func(string) string { return "" })
	_, err := newer.Validate(ns, pod)
	wantRefusal(t, err, reason.Tampered, "container envoy, args, resources: is not what the webhook writes")
}

// A seal gives nobody an identity: that is decided where the pod arrives.
func TestSealIsNoAuthority(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*Injector)
		why    reason.Reason
	}{
		"no claim any more": {func(i *Injector) { i.Platform.Claims = nil }, reason.Invalid},
		"quarantined": {func(i *Injector) {
			id := spiffeid.RequireFromString("spiffe://example.org/api")
			peer, err := ir.ParsePeer(id.TrustDomain(), nil, id.String())
			if err != nil {
				t.Fatal(err)
			}
			i.Platform.Quarantine = []ir.Peer{peer}
		}, reason.Quarantined},
		"another trust domain": {func(i *Injector) {
			i.Platform.Cluster.TrustDomain = spiffeid.RequireTrustDomainFromString("other.org")
		}, reason.OtherVersion},
	} {
		older, newer := twoVersions(t)
		pod := running(t, older)
		test.change(&newer)
		if _, err := newer.Validate(intent.Namespace{Name: "demo"}, pod); err == nil || !strings.HasPrefix(err.Error(), string(test.why)) {
			t.Errorf("%s: expected a denial for %s, got %v", name, test.why, err)
		}
	}
}

// A version adds what another one does not know, and would deny if a user wrote it.
func TestSealOfWhatIsNotKnownHere(t *testing.T) {
	older, newer := twoVersions(t)
	ns, pod := intent.Namespace{Name: "demo"}, running(t, newer)
	pod.Annotations[intent.Prefix+"envoy-news"] = "{}"
	pod.Spec.InitContainers = append([]corev1.Container{{Name: "spiffe-news", Image: "x"}}, pod.Spec.InitContainers...)
	pod.Spec.Volumes = append(pod.Spec.Volumes, corev1.Volume{Name: "spiffe-news"})
	status := map[string]json.RawMessage{}
	if err := json.Unmarshal([]byte(pod.Annotations[intent.AnnotationStatus]), &status); err != nil {
		t.Fatal(err)
	}
	status["news"] = json.RawMessage(`{"x": 1}`)
	write := func() {
		t.Helper()
		text, err := json.Marshal(status)
		if err != nil {
			t.Fatal(err)
		}
		pod.Annotations[intent.AnnotationStatus] = string(text)
	}
	seal := func() { // as a version does that knows what is new
		t.Helper()
		write()
		open := openIn(pod)
		form, err := sealedForm(ns, pod, open)
		if err != nil {
			t.Fatal(err)
		}
		mac := sealOf(newer.Sealing.Keys[0], newer.Sealing.minute(), form, open)
		status["seal"] = json.RawMessage(`"` + base64.RawURLEncoding.EncodeToString(append(mac, open...)) + `"`)
		write()
	}
	seal()
	if _, err := older.Validate(ns, pod); err != nil {
		t.Errorf("expected a pod that is let in, got %v", err)
	}
	if res, err := older.Inject(ns, pod); err != nil || res.Pod != pod {
		t.Errorf("expected the pod as it came, got %v", err)
	}
	status["version"] = json.RawMessage(`"older"`) // whose platform file alone can differ
	seal()
	_, err := older.Validate(ns, pod)
	wantRefusal(t, err, reason.Invalid, "annotation spiffe.io/envoy-news: unknown key")
}

// Another webhook changes what injection does not depend on, or comes between two calls of one version.
func TestSealAndOtherWebhooks(t *testing.T) {
	older, newer := twoVersions(t)
	ns, pod := intent.Namespace{Name: "demo"}, running(t, older)
	pod.Labels["other.io/x"], pod.Annotations["other.io/x"] = "y", "y"
	app := &pod.Spec.Containers[0]
	app.Image, app.Env = "mirror/app", []corev1.EnvVar{{Name: "OTHER"}}
	if _, err := newer.Validate(ns, pod); err != nil {
		t.Errorf("what injection does not depend on has changed: %v", err)
	}
	pod.Spec.Volumes = append([]corev1.Volume{{Name: "other"}}, pod.Spec.Volumes...)
	pod.Spec.InitContainers = append(pod.Spec.InitContainers, corev1.Container{Name: "other", Image: "other"})
	if _, err := newer.Validate(ns, pod); err == nil {
		t.Error("a container came after the seal: expected a denial")
	}
	res, err := older.Inject(ns, pod)
	if err != nil {
		t.Fatal(err)
	}
	if ops := Patch(pod, res.Pod); len(ops) != 1 || !strings.HasSuffix(ops[0].Path, "spiffe.io~1status") {
		t.Errorf("expected another seal and nothing else, got %v", ops)
	}
	if _, err := newer.Validate(ns, res.Pod); err != nil {
		t.Errorf("after the second call: %v", err)
	}
	if again, err := older.Inject(ns, res.Pod); err != nil || again.Pod != res.Pod {
		t.Errorf("expected the pod as it came, got %v", err)
	}
}

// Replicas of a workload are remembered for as long as their seal is the same, and each has one that holds.
func TestRememberedSealsAreFresh(t *testing.T) {
	older, newer := twoVersions(t)
	older.Decisions = NewDecisions()
	ns := intent.Namespace{Name: "demo"}
	var patches []string
	for n, minute := range []int{0, 0, 1, 1, 30} {
		older.Sealing.Now = time.Unix(1_700_000_000, 0).Add(time.Duration(minute) * time.Minute)
		newer.Sealing.Now = older.Sealing.Now
		pod := replica(n)
		res, err := older.Create(ns, pod)
		if err != nil {
			t.Fatal(err)
		}
		if want := n == 1 || n == 3; res.Remembered != want {
			t.Errorf("replica %d: remembered=%t, want %t", n, res.Remembered, want)
		}
		patches = append(patches, string(res.patch))
		var ops []Operation
		if err := json.Unmarshal(res.patch, &ops); err != nil {
			t.Fatal(err)
		}
		var injected corev1.Pod
		if err := json.Unmarshal(applied(t, encoded(pod), ops), &injected); err != nil {
			t.Fatal(err)
		}
		if _, err := newer.Validate(ns, &injected); err != nil {
			t.Errorf("replica %d: %v", n, err)
		}
		deferred, err := Deferred(res)
		if err != nil {
			t.Fatal(err)
		}
		if !StatusOf(deferred.Pod).Deferred {
			t.Error("the status does not say that it is deferred")
		}
		if _, err := newer.Validate(ns, deferred.Pod); err != nil {
			t.Errorf("replica %d, deferred: %v", n, err)
		}
	}
	if different := slices.Compact(patches); len(different) != 3 {
		t.Errorf("expected three seals, got %d", len(different))
	}
}

// Replicas differ by their seals and in nothing else: what is kept of them does not.
func TestTrimDropsTheSeal(t *testing.T) {
	older, _ := twoVersions(t)
	pod := running(t, older)
	without := pod.DeepCopy()
	reseal(t, without, func(string) string { return "" })
	if got, want := Trim(pod).Annotations, Trim(without).Annotations; !maps.Equal(got, want) || strings.Contains(got[intent.AnnotationStatus], "seal") {
		t.Errorf("expected %v, got %v", want, got)
	}
}

// A pod whose annotations have room for all but the seal does without.
func TestSealNeedsRoom(t *testing.T) {
	older, _ := twoVersions(t)
	pod := running(t, older)
	reseal(t, pod, func(string) string { return "" })
	size := 0
	for k, v := range pod.Annotations {
		size += len(k) + len(v)
	}
	given := webhooktest.Server()
	given.Annotations["x"] = strings.Repeat("x", maxAnnotations-size-1)
	res, err := older.Inject(intent.Namespace{Name: "demo"}, given)
	if err != nil || StatusOf(res.Pod).Seal != "" {
		t.Fatalf("expected a pod without a seal, got %v", err)
	}
}
