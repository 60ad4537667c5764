package inject

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/spire-injector/spire-injector/registrar/reason"
	"github.com/spire-injector/spire-injector/webhook/intent"
	"github.com/spire-injector/spire-injector/webhook/webhooktest"
)

// Between two calls of the webhook others work on the pod: what they add is theirs, what they change of ours is not.
func TestInjectAgain(t *testing.T) {
	const undo = "is not what the webhook writes for this pod; remove everything that injection added, or inject again; another webhook has to leave it alone"
	envoy := func(p *corev1.Pod) *corev1.Container {
		i := slices.IndexFunc(p.Spec.InitContainers, func(c corev1.Container) bool { return c.Name == intent.SidecarName })
		return &p.Spec.InitContainers[i]
	}
	volume := func(p *corev1.Pod, name string) *corev1.Volume {
		i := slices.IndexFunc(p.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == name })
		return &p.Spec.Volumes[i]
	}
	tests := []struct {
		name   string
		change func(*corev1.Pod)
		want   []string
	}{
		{"nothing", func(*corev1.Pod) {}, nil},
		{"the API server's defaults", func(p *corev1.Pod) {
			c := envoy(p)
			c.TerminationMessagePath, c.TerminationMessagePolicy = "/dev/termination-log", corev1.TerminationMessageReadFile
			c.ImagePullPolicy = corev1.PullAlways // of an image without a tag
			c.StartupProbe.TimeoutSeconds, c.StartupProbe.SuccessThreshold = 1, 1
			c.StartupProbe.HTTPGet.Scheme = corev1.URISchemeHTTP
			mode := int32(0o644)
			volume(p, ConfigVolume).DownwardAPI.DefaultMode = &mode
			volume(p, ConfigVolume).DownwardAPI.Items[0].FieldRef.APIVersion = "v1"
			p.Spec.ServiceAccountName, p.Spec.RestartPolicy = "default", corev1.RestartPolicyAlways
		}, nil},
		{"admission of the API server's own", func(p *corev1.Pod) {
			c := envoy(p)
			c.Resources.Limits = corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("1Gi")}
			c.Resources.Requests = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("10m")}
			c.SecurityContext.Capabilities.Drop = append(c.SecurityContext.Capabilities.Drop, "KILL")
		}, nil},
		{"another webhook's container, volume and label", func(p *corev1.Pod) {
			p.Spec.InitContainers = append(p.Spec.InitContainers, corev1.Container{Name: "other"})
			p.Spec.Volumes = append([]corev1.Volume{{Name: "other"}}, p.Spec.Volumes...)
			p.Labels["other.io/x"], p.Annotations["other.io/x"] = "y", "y"
		}, nil},

		{
			"identity",
			func(p *corev1.Pod) { p.Labels[intent.LabelIdentity] = "another" },
			[]string{"label " + intent.LabelIdentity + ": " + undo},
		},
		{
			"identity removed",
			func(p *corev1.Pod) { delete(p.Labels, intent.LabelIdentity) },
			[]string{"label " + intent.LabelIdentity + ": " + undo},
		},
		{
			"status",
			func(p *corev1.Pod) { p.Annotations[intent.AnnotationStatus] += " " },
			[]string{"annotation " + intent.AnnotationStatus + ": " + undo},
		},
		{
			"rules, which have to follow the peers",
			func(p *corev1.Pod) { p.Annotations[intent.AnnotationAllowedPeers] = "/other" },
			[]string{
				"annotation " + intent.AnnotationListeners + ": " + undo,
				"annotation " + intent.AnnotationAuthorization + ": " + undo,
			},
		},
		{"image", func(p *corev1.Pod) { envoy(p).Image = "another" }, []string{"container envoy, image: " + undo}},
		{"an argument", func(p *corev1.Pod) { envoy(p).Args[3] = "trace" }, []string{"container envoy, args: " + undo}},
		{
			"user",
			func(p *corev1.Pod) { envoy(p).SecurityContext.RunAsUser = new(int64(0)) },
			[]string{"container envoy, securityContext: " + undo},
		},
		{"no startup probe", func(p *corev1.Pod) { envoy(p).StartupProbe = nil }, []string{"container envoy, startupProbe: " + undo}},
		{
			"a mount elsewhere",
			func(p *corev1.Pod) { envoy(p).VolumeMounts[1].MountPath = "/elsewhere" },
			[]string{"container envoy, volumeMounts: " + undo},
		},
		{"sidecar removed", func(p *corev1.Pod) { p.Spec.InitContainers = nil }, []string{"container envoy: " + undo}},
		{
			"socket volume",
			func(p *corev1.Pod) { volume(p, SocketVolume).HostPath.Path = "/" },
			[]string{"volume " + SocketVolume + ": " + undo},
		},
		{"a file of the configuration", func(p *corev1.Pod) {
			volume(p, ConfigVolume).DownwardAPI.Items[0].FieldRef.FieldPath = "metadata.annotations['mine']"
		}, []string{"volume " + ConfigVolume + ": " + undo}},
		{"several", func(p *corev1.Pod) { p.Annotations[intent.AnnotationClusters] = "{}"; p.Spec.Volumes = nil },
			[]string{
				"annotation " + intent.AnnotationClusters + ": " + undo,
				"volume " + ConfigVolume + ": " + undo,
				"volume " + SocketVolume + ": " + undo,
			}},
	}
	injector := Injector{Platform: webhooktest.Platform(t), Version: "test"}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			pod := running(t, injector)
			test.change(pod)
			arrived := pod.DeepCopy()
			res, err := injector.Inject(intent.Namespace{Name: "demo"}, pod)
			if diff := cmp.Diff(arrived, pod); diff != "" {
				t.Errorf("Inject changed its argument:\n%s", diff)
			}
			if test.want != nil {
				wantMistakes(t, err, reason.Tampered, test.want)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if res.Pod != pod || res.Reason != reason.AlreadyInjected || !res.Inject {
				t.Errorf("expected the pod as it came, already injected, got %+v", res.Decision)
			}
		})
	}
}

// Each part finds what is not as it wrote it, and only that.
func TestPartsAreCompared(t *testing.T) {
	injector := Injector{Platform: webhooktest.Platform(t), Version: "test"}
	injector.Platform.Sidecar.JWT.Image = "injector"
	pod := webhooktest.Server()
	pod.Annotations[intent.AnnotationMode] = "sidecar,socket,files"
	pod.Annotations[intent.AnnotationUpstreams] = jwtUpstream
	pod.Spec.SecurityContext = &corev1.PodSecurityContext{RunAsUser: new(int64(999))}
	probe := func(path string) *corev1.Probe {
		return &corev1.Probe{
			ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: path, Port: intstr.FromInt32(8080)}},
		}
	}
	pod.Spec.InitContainers = []corev1.Container{{Name: "prepare", Image: "app"}}
	app := &pod.Spec.Containers[0]
	app.StartupProbe, app.LivenessProbe, app.ReadinessProbe = probe("/start"), probe("/live"), probe("/ready")
	res, err := injector.Inject(intent.Namespace{Name: "demo"}, pod)
	if err != nil {
		t.Fatal(err)
	}
	inApp := func(change func(*corev1.Container)) func(*corev1.Pod) {
		return func(p *corev1.Pod) { change(&p.Spec.Containers[0]) }
	}
	for name, test := range map[string]struct {
		change func(*corev1.Pod)
		want   string // what is not as it was written
	}{
		"startup probe":   {inApp(func(c *corev1.Container) { c.StartupProbe.HTTPGet.Path = "/x" }), "container app"},
		"liveness probe":  {inApp(func(c *corev1.Container) { c.LivenessProbe.HTTPGet.Path = "/x" }), "container app"},
		"readiness probe": {inApp(func(c *corev1.Container) { c.ReadinessProbe.HTTPGet.Path = "/x" }), "container app"},
		"hook":            {inApp(func(c *corev1.Container) { c.Lifecycle = nil }), "container app"},
		"mount of the socket": {inApp(func(c *corev1.Container) { c.VolumeMounts[0].MountPath = "/x" }),
			"container app, mounts of volume spiffe-agent-socket"},
		"address of the socket": {inApp(func(c *corev1.Container) {
			c.Env[0].Name = "OTHER"
			c.Env = append(c.Env, corev1.EnvVar{Name: endpointVariable, Value: "unix:///x"})
		}), "container app"},
		"mount in an init container": {func(p *corev1.Pod) {
			p.Spec.InitContainers[3].VolumeMounts[0].ReadOnly = false
		}, "container prepare, mounts of volume spiffe-agent-socket"},
		"grace period": {func(p *corev1.Pod) {
			p.Spec.TerminationGracePeriodSeconds = new(int64(1))
		}, "spec.terminationGracePeriodSeconds"},
		"no grace period": {func(p *corev1.Pod) {
			p.Spec.TerminationGracePeriodSeconds = nil
		}, "spec.terminationGracePeriodSeconds"},
		"mount of the files": {inApp(func(c *corev1.Container) { c.VolumeMounts[1].ReadOnly = false }),
			"container app, mounts of volume spiffe-files"},
		"files container": {func(p *corev1.Pod) { *p.Spec.InitContainers[0].SecurityContext.RunAsUser = 1 },
			"container spiffe-files, securityContext"},
		"files volume":  {func(p *corev1.Pod) { p.Spec.Volumes[2].EmptyDir.Medium = "" }, "volume spiffe-files"},
		"jwt container": {func(p *corev1.Pod) { p.Spec.InitContainers[1].Image = "x" }, "container spiffe-jwt, image"},
		"jwt volume":    {func(p *corev1.Pod) { p.Spec.Volumes[1].EmptyDir.Medium = "" }, "volume spiffe-jwt"},
	} {
		arrived := res.Pod.DeepCopy()
		test.change(arrived)
		var got []string
		for _, m := range altered(arrived, res.Pod) {
			got = append(got, m.Where)
		}
		if !slices.Equal(got, []string{test.want}) {
			t.Errorf("%s: expected %s, got %q", name, test.want, got)
		}
	}
	swapped := res.Pod.DeepCopy()
	c := &swapped.Spec.Containers[0]
	c.LivenessProbe, c.ReadinessProbe = c.ReadinessProbe, c.LivenessProbe
	if got := altered(swapped, res.Pod); len(got) != 1 {
		t.Errorf("swapped probes: expected one mistake, got %v", got)
	}
}

// What the parts add, they remove again.
func TestStripUndoesInjection(t *testing.T) {
	injector := Injector{Platform: webhooktest.Platform(t), Version: "test"}
	injector.Platform.Sidecar.JWT.Image = "injector"
	socket := webhooktest.Server()
	socket.Annotations = map[string]string{intent.AnnotationMode: "socket"}
	busy := webhooktest.Server()
	busy.Annotations[intent.AnnotationMode] = "sidecar,socket,files"
	busy.Annotations[intent.AnnotationUpstreams] = jwtUpstream
	busy.Spec.SecurityContext = &corev1.PodSecurityContext{RunAsUser: new(int64(999))}
	busy.Spec.TerminationGracePeriodSeconds = new(int64(0))
	byHTTP := &corev1.LifecycleHandler{HTTPGet: &corev1.HTTPGetAction{
		Path: "/hook", Port: intstr.FromInt32(8080), Scheme: corev1.URISchemeHTTPS,
	}}
	own := &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{Exec: &corev1.ExecAction{Command: []string{"x"}}}}
	started := &corev1.Lifecycle{PostStart: &corev1.LifecycleHandler{Exec: &corev1.ExecAction{Command: []string{"x"}}}}
	busy.Spec.Containers = []corev1.Container{
		{
			Name:      "app",
			Image:     "app",
			Lifecycle: started,
			Env:       []corev1.EnvVar{{Name: "A", Value: "a"}},
			LivenessProbe: &corev1.Probe{
				ProbeHandler:                  corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromInt32(8080)}},
				TerminationGracePeriodSeconds: new(int64(5)),
			},
		},
		{
			Name:         "hooked",
			Image:        "app",
			Lifecycle:    own,
			VolumeMounts: []corev1.VolumeMount{{Name: "data", MountPath: "/data"}},
		},
		{Name: "by-http", Image: "app", Lifecycle: &corev1.Lifecycle{PreStop: byHTTP, PostStart: byHTTP.DeepCopy()}},
	}
	busy.Spec.Volumes = []corev1.Volume{{Name: "data"}}
	busy.Labels["app"], busy.Annotations["other.io/x"] = "x", "y"
	gateway := webhooktest.Server()
	gateway.Annotations = map[string]string{
		intent.AnnotationMode:      "gateway",
		intent.AnnotationInbound:   "[{listen: 8443, tls: none}]",
		intent.AnnotationUpstreams: `[{match: /, address: "db.demo.svc:8443", peers: [/db]}]`,
	}
	gateway.Spec.Containers = []corev1.Container{{
		Name:  intent.SidecarName,
		Image: imageAuto,
		Ports: []corev1.ContainerPort{{Name: "public", ContainerPort: 8443}},
	}}
	for name, pod := range map[string]*corev1.Pod{
		"sidecar": webhooktest.Server(), "socket": socket, "busy": busy, "gateway": gateway,
	} {
		res, err := injector.Inject(intent.Namespace{Name: "demo"}, pod)
		if err != nil {
			t.Fatal(err)
		}
		want := pod.DeepCopy()
		if want.Spec.TerminationGracePeriodSeconds == nil && len(StatusOf(res.Pod).Draining) > 0 {
			want.Spec.TerminationGracePeriodSeconds = new(int64(30)) // the API server's default
		}
		if diff := cmp.Diff(want, strip(res.Pod), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestContains(t *testing.T) {
	type object = map[string]any
	type list = []any
	tests := []struct {
		name        string
		whole, part any
		want        bool
	}{
		{"same", "a", "a", true},
		{"other", "a", "b", false},
		{"another type", 1.0, "1", false},
		{"a field more", object{"a": 1.0, "b": 2.0}, object{"a": 1.0}, true},
		{"a field less", object{"a": 1.0}, object{"a": 1.0, "b": 2.0}, false},
		{"a field of another value", object{"a": 1.0}, object{"a": 2.0}, false},
		{"no object", "a", object{}, false},
		{"deep", object{"a": list{object{"b": 1.0, "c": 2.0}}}, object{"a": list{object{"b": 1.0}}}, true},
		{"an item more", list{"x", "a"}, list{"a"}, true},
		{"an item less", list{"a"}, list{"a", "b"}, false},
		{"no list", nil, list{}, false},
		{"nothing", nil, nil, true},
		{"a field that is not set", object{"a": "default"}, object{"a": nil}, true},
		{"a field that is empty", object{}, object{"a": ""}, true},
		{"a field that is not", object{}, object{"a": "b"}, false},
	}
	for _, test := range tests {
		if got := contains(test.whole, test.part); got != test.want {
			t.Errorf("%s: contains(%v, %v): expected %t, got %t", test.name, test.whole, test.part, test.want, got)
		}
	}
}

// An Envoy with one more argument is another Envoy.
func TestSidecarRunsNothingElse(t *testing.T) {
	injector := Injector{Platform: webhooktest.Platform(t), Version: "test"}
	for name, change := range map[string]func(*corev1.Container){
		"one more argument": func(c *corev1.Container) { c.Args = append(c.Args, "--config-yaml", "{}") },
		"a command":         func(c *corev1.Container) { c.Command = []string{"/bin/sh"} },
		"another order":     func(c *corev1.Container) { slices.Reverse(c.Args) },
	} {
		pod := running(t, injector)
		change(&pod.Spec.InitContainers[0])
		_, err := injector.Inject(intent.Namespace{Name: "demo"}, pod)
		if err == nil {
			t.Errorf("%s: expected a refusal, got none", name)
			continue
		}
		wantRefusal(t, err, reason.Tampered, "container envoy")
	}
}
