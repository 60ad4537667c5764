package golden

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/spire-injector/spire-injector/registrar/reason"
	"github.com/spire-injector/spire-injector/templates"
	"github.com/spire-injector/spire-injector/webhook/inject"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

// forgeries are changes of what injection made; each says whether the pod has what it changes.
var forgeries = map[string]func(*corev1.Pod) bool{
	"no identity":                     func(p *corev1.Pod) bool { delete(p.Labels, intent.LabelIdentity); return true },
	"another identity":                func(p *corev1.Pod) bool { p.Labels[intent.LabelIdentity] = "forged"; return true },
	"another identity in the status":  inStatus("spiffe://example.org/", "spiffe://example.org/x/"),
	"another mode in the status":      inStatus(`"mode":"`, `"mode":"gateway,`),
	"no mode in the status":           inStatus(`"mode":`, `"mood":`),
	"another container in the status": inStatus(`"sidecar":"envoy"`, `"sidecar":"app"`),
	"another entry in the status":     inStatus(`"entryIDs":["`, `"entryIDs":["x`),
	"nobody drains in the status":     inStatus(`"draining":`, `"draning":`),
	"no probes in the status":         inStatus(`"probes":`, `"prbes":`),
	"another port in the status":      inStatus(`"inbound":[`, `"inbound":[1,`),
	"another original probe":          inStatus(`/liveness":{"httpGet":{"path":"/`, `/liveness":{"httpGet":{"path":"/x`),
	"a volume more in the status":     inStatus(`"volumes":["`, `"volumes":["x","`),
	"status that is none":             inStatus(`{`, `[`),
	"listeners":                       annotation(intent.AnnotationListeners),
	"clusters":                        annotation(intent.AnnotationClusters),
	"bootstrap":                       annotation(intent.AnnotationBootstrap),
	"authorization":                   annotation(intent.AnnotationAuthorization),
	"certificate":                     annotation(intent.AnnotationCertificate),
	"no volume of the certificate":    withoutVolume(inject.CertificateVolume),
	"CA":                              annotation(intent.AnnotationCA(0)),
	"no volume of the CAs":            withoutVolume(inject.CAVolume),
	"another Secret with a CA": func(p *corev1.Pod) bool {
		for i := range p.Spec.Volumes {
			if v := &p.Spec.Volumes[i]; v.Name == inject.CAVolume {
				v.Projected.Sources[0].Secret.Name = "forged"
				return true
			}
		}
		return false
	},
	"another Secret": func(p *corev1.Pod) bool {
		for i := range p.Spec.Volumes {
			if v := &p.Spec.Volumes[i]; v.Name == inject.CertificateVolume {
				v.Secret.SecretName = "forged"
				return true
			}
		}
		return false
	},
	"no volume of the configuration": withoutVolume(inject.ConfigVolume),
	"no volume of the socket":        withoutVolume(inject.SocketVolume),
	"grace period": func(p *corev1.Pod) bool {
		drains := strings.Contains(p.Annotations[intent.AnnotationStatus], `"draining"`)
		if drains {
			*p.Spec.TerminationGracePeriodSeconds = 1
		}
		return drains
	},
	"a hook": eachContainer(func(p *corev1.Pod, c *corev1.Container) bool {
		drains := strings.Contains(p.Annotations[intent.AnnotationStatus], `"draining":["`+c.Name+`"`)
		if drains {
			c.Lifecycle.PreStop.Sleep.Seconds++
		}
		return drains
	}),
	"a probe's port": eachContainer(func(p *corev1.Pod, c *corev1.Container) bool {
		redirected := strings.Contains(p.Annotations[intent.AnnotationStatus], `"`+c.Name+`/liveness"`) && c.LivenessProbe.HTTPGet != nil
		if redirected {
			c.LivenessProbe.HTTPGet.Port = intstr.FromInt32(15000)
		}
		return redirected
	}),
	"Envoy's image":   ofEnvoy(func(c *corev1.Container) { c.Image = "forged" }),
	"Envoy's command": ofEnvoy(func(c *corev1.Container) { c.Command = []string{"sh"} }),
	"Envoy's user":    ofEnvoy(func(c *corev1.Container) { c.SecurityContext.RunAsUser = new(int64) }),
	"Envoy's probe":   ofEnvoy(func(c *corev1.Container) { c.StartupProbe = nil }),
	"nothing captured": func(p *corev1.Pod) bool {
		n := len(p.Spec.InitContainers)
		p.Spec.InitContainers = slices.DeleteFunc(p.Spec.InitContainers, func(c corev1.Container) bool { return c.Name == intent.CaptureName })
		return len(p.Spec.InitContainers) < n
	},
	"a port left open":            ofCapture(func(c *corev1.Container) { c.Args = append(c.Args, "--open", "8080") }),
	"rules that are not written":  ofCapture(func(c *corev1.Container) { c.Args = append(c.Args, "--dry-run") }),
	"another image that captures": ofCapture(func(c *corev1.Container) { c.Image = "forged" }),
	"the gate in the status":      inStatus(`"15025:15021"`, `"15025:15022"`),
	"no capture in the status":    inStatus(`"capture":"`, `"captured":"`),
	"the Workload API taken away": eachContainer(func(p *corev1.Pod, c *corev1.Container) bool {
		n := len(c.VolumeMounts)
		c.VolumeMounts = slices.DeleteFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool { return m.Name == inject.SocketVolume })
		return len(c.VolumeMounts) < n
	}),
}

// smuggled are additions to what injection made; each says whether the pod has what it adds to.
var smuggled = map[string]func(*corev1.Pod) bool{
	"a program over Envoy": ofEnvoy(func(c *corev1.Container) {
		c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: "mine", MountPath: "/usr/local/bin"})
	}),
	"a file over the configuration": ofEnvoy(func(c *corev1.Container) {
		path := templates.ConfigDir + "/" + templates.BootstrapFile
		c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: "mine", MountPath: path, SubPath: "mine"})
	}),
	"a file that the kubelet makes": ofEnvoy(func(c *corev1.Container) { c.TerminationMessagePath = "/usr/local/bin/envoy" }),
	"a variable": ofEnvoy(func(c *corev1.Container) {
		c.Env = append(c.Env, corev1.EnvVar{Name: "LD_PRELOAD", Value: "/mine.so"})
	}),
	"variables": ofEnvoy(func(c *corev1.Container) {
		c.EnvFrom = []corev1.EnvFromSource{{ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "mine"}}}}
	}),
	"a hook of Envoy's": ofEnvoy(func(c *corev1.Container) {
		c.Lifecycle = &corev1.Lifecycle{PostStart: &corev1.LifecycleHandler{Exec: &corev1.ExecAction{Command: []string{"x"}}}}
	}),
	"a liveness probe of Envoy's": ofEnvoy(func(c *corev1.Container) {
		c.LivenessProbe = &corev1.Probe{ProbeHandler: corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"x"}}}}
	}),
	"a capability": ofEnvoy(func(c *corev1.Container) {
		c.SecurityContext.Capabilities.Add = []corev1.Capability{"SYS_ADMIN"}
	}),
	"a capability beside NET_ADMIN": ofCapture(func(c *corev1.Container) {
		c.SecurityContext.Capabilities.Add = append(c.SecurityContext.Capabilities.Add, "SYS_ADMIN")
	}),
	"all rights of the node": ofEnvoy(func(c *corev1.Container) {
		c.SecurityContext.AllowPrivilegeEscalation, c.SecurityContext.Privileged = nil, new(true)
	}),
	"a device": ofEnvoy(func(c *corev1.Container) {
		c.VolumeDevices = []corev1.VolumeDevice{{Name: "mine", DevicePath: "/dev/mine"}}
	}),
	"a resource that brings a device": ofSidecar(func(c *corev1.Container) {
		one := corev1.ResourceList{"example.org/device": resource.MustParse("1")}
		c.Resources = corev1.ResourceRequirements{Limits: one, Requests: one}
	}),
	"a port": ofSidecar(func(c *corev1.Container) {
		c.Ports = append(c.Ports, corev1.ContainerPort{ContainerPort: 1, HostPort: 1, Protocol: corev1.ProtocolTCP})
	}),
	"a working directory": ofEnvoy(func(c *corev1.Container) { c.WorkingDir = "/mine" }),
	"standard input":      ofEnvoy(func(c *corev1.Container) { c.Stdin = true }),
	"a terminal":          ofEnvoy(func(c *corev1.Container) { c.TTY = true }),
	"no restarts":         ofEnvoy(func(c *corev1.Container) { c.RestartPolicy = new(corev1.ContainerRestartPolicyNever) }),
	"restarts for a resize": ofEnvoy(func(c *corev1.Container) {
		c.ResizePolicy = []corev1.ContainerResizePolicy{{ResourceName: corev1.ResourceCPU, RestartPolicy: corev1.RestartContainer}}
	}),
	"the agent's socket in an app":                                 ofApp(inject.SocketVolume, "/mine"),
	"the agent's socket in an app, where injection would mount it": ofApp(inject.SocketVolume, intent.SocketMountPath),
	"the tokens in an app":                                         ofApp(inject.JWTVolume, "/mine"),
	"the CAs in an app":                                            ofApp(inject.CAVolume, "/mine"),
	"the configuration in an app":                                  ofApp(inject.ConfigVolume, "/mine"),
	"a file more in the configuration": func(p *corev1.Pod) bool {
		for i := range p.Spec.Volumes {
			if v := &p.Spec.Volumes[i]; v.Name == inject.ConfigVolume {
				v.DownwardAPI.Items = append(v.DownwardAPI.Items, corev1.DownwardAPIVolumeFile{
					Path: "mine", FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.annotations['mine']"},
				})
				return true
			}
		}
		return false
	},
}

// ofCapture changes the container that captures.
func ofCapture(change func(*corev1.Container)) func(*corev1.Pod) bool {
	return eachContainer(func(_ *corev1.Pod, c *corev1.Container) bool {
		if c.Name != intent.CaptureName {
			return false
		}
		change(c)
		return true
	})
}

// ofSidecar is ofEnvoy for what is the user's to say in a gateway.
func ofSidecar(change func(*corev1.Container)) func(*corev1.Pod) bool {
	return func(p *corev1.Pod) bool {
		return !strings.Contains(p.Annotations[intent.AnnotationStatus], `"mode":"gateway"`) && ofEnvoy(change)(p)
	}
}

// allForgeries are both kinds.
func allForgeries() map[string]func(*corev1.Pod) bool {
	all := maps.Clone(forgeries)
	maps.Copy(all, smuggled)
	return all
}

// ofApp adds the mount of a volume of ours to a container of the app.
func ofApp(volume, path string) func(*corev1.Pod) bool {
	return eachContainer(func(p *corev1.Pod, c *corev1.Container) bool {
		named := func(v corev1.Volume) bool { return v.Name == volume }
		at := func(m corev1.VolumeMount) bool { return m.MountPath == path }
		has := slices.ContainsFunc(p.Spec.Volumes, named) && !slices.ContainsFunc(c.VolumeMounts, at)
		if c.Name == intent.SidecarName || c.Name == intent.JWTName || c.Name == intent.CaptureName || !has {
			return false
		}
		c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: volume, MountPath: path, ReadOnly: true})
		return true
	})
}

// Nobody can bring along a pod that looks injected and is not what injection makes.
func TestForgeriesAreRefused(t *testing.T) {
	t.Parallel()
	tried := map[string]bool{}
	for in, injected := range injectedCases(t) {
		in.injector.Decisions = inject.NewDecisions()
		if _, err := in.injector.ValidateCreated(in.namespace, injected); err != nil { // which is remembered
			t.Fatal(err)
		}
		for name, forge := range allForgeries() {
			forged := injected.DeepCopy()
			if !forge(forged) {
				continue
			}
			tried[name] = true
			var refusal *intent.Refusal
			if _, err := in.injector.Create(in.namespace, forged); !errors.As(err, &refusal) {
				t.Errorf("%s, %s: expected a refusal, got %v", in.name, name, err)
			}
			if _, err := in.injector.ValidateCreated(in.namespace, forged); !errors.As(err, &refusal) {
				t.Errorf("%s, %s: expected a refusal of the validating side, got %v", in.name, name, err)
			}
		}
	}
	for name := range allForgeries() {
		if !tried[name] {
			t.Errorf("%s: no case has what is to be forged", name)
		}
	}
}

// A copy of an injected pod that was made without its labels, where nobody asks for injection, is as the pod was.
func TestCopiesLoseInjection(t *testing.T) {
	t.Parallel()
	for in, injected := range injectedCases(t) {
		copied := injected.DeepCopy()
		copied.Labels = nil
		res, err := in.injector.Inject(intent.Namespace{Name: in.namespace.Name}, copied)
		if err != nil {
			t.Errorf("%s: %v", in.name, err)
			continue
		}
		if !slices.ContainsFunc(injected.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == inject.ConfigVolume }) ||
			strings.Contains(injected.Annotations[intent.AnnotationStatus], `"mode":"gateway"`) {
			continue // the Workload API alone hinders nobody, and of a gateway nothing would be left
		}
		if res.Reason != reason.LeftoversRemoved {
			t.Errorf("%s: expected %s, got %s", in.name, reason.LeftoversRemoved, res.Reason)
		}
		want := in.pod.Spec.DeepCopy()
		for key := range res.Pod.Annotations {
			if key == intent.AnnotationStatus || strings.HasPrefix(key, intent.Prefix+"envoy-") {
				t.Errorf("%s: %s is still there", in.name, key)
			}
		}
		if got := len(res.Pod.Spec.InitContainers) + len(res.Pod.Spec.Containers); got != len(want.InitContainers)+len(want.Containers) {
			t.Errorf("%s: %d containers are left", in.name, got)
		}
		if len(res.Pod.Spec.Volumes) != len(want.Volumes) {
			t.Errorf("%s: the volumes %v are left", in.name, res.Pod.Spec.Volumes)
		}
		for i, c := range res.Pod.Spec.Containers {
			if w := want.Containers[i]; (c.Lifecycle == nil || c.Lifecycle.PreStop == nil) != (w.Lifecycle == nil || w.Lifecycle.PreStop == nil) || len(c.VolumeMounts) != len(w.VolumeMounts) || len(c.Env) != len(w.Env) {
				t.Errorf("%s: container %s was %+v and is %+v", in.name, c.Name, w, c)
			}
		}
	}
}

// injectedCases are the results of the corpus, by what they were made of.
func injectedCases(t *testing.T) map[*namedInput]*corev1.Pod {
	t.Helper()
	cases, err := Read("cases")
	must(t, err)
	all := map[*namedInput]*corev1.Pod{}
	for _, c := range cases {
		in := &namedInput{c.input(t), c.Name}
		kept := templates.NewCache(1 << 20) // the same again and again
		in.injector.Generate, in.injector.Keep = kept.Generate, kept.Keep
		if res, err := in.injector.Inject(in.namespace, in.pod); err == nil && res.Inject {
			all[in] = res.Pod
		}
	}
	return all
}

type namedInput struct {
	input
	name string
}

func inStatus(old, changed string) func(*corev1.Pod) bool {
	return func(p *corev1.Pod) bool {
		was := p.Annotations[intent.AnnotationStatus]
		p.Annotations[intent.AnnotationStatus] = strings.Replace(was, old, changed, 1)
		return p.Annotations[intent.AnnotationStatus] != was
	}
}

func annotation(key string) func(*corev1.Pod) bool {
	return func(p *corev1.Pod) bool {
		_, has := p.Annotations[key]
		p.Annotations[key] = `{"resources":[]}`
		return has
	}
}

func withoutVolume(name string) func(*corev1.Pod) bool {
	return func(p *corev1.Pod) bool {
		n := len(p.Spec.Volumes)
		p.Spec.Volumes = slices.DeleteFunc(p.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == name })
		return len(p.Spec.Volumes) < n
	}
}

// eachContainer changes the first container that has what is to be changed.
func eachContainer(change func(*corev1.Pod, *corev1.Container) bool) func(*corev1.Pod) bool {
	return func(p *corev1.Pod) bool {
		for _, list := range [][]corev1.Container{p.Spec.Containers, p.Spec.InitContainers} {
			for i := range list {
				if change(p, &list[i]) {
					return true
				}
			}
		}
		return false
	}
}

func ofEnvoy(change func(*corev1.Container)) func(*corev1.Pod) bool {
	return eachContainer(func(_ *corev1.Pod, c *corev1.Container) bool {
		if c.Name != intent.SidecarName {
			return false
		}
		change(c)
		return true
	})
}
