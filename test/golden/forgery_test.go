package golden

import (
	"errors"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
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
	"the Workload API taken away": eachContainer(func(p *corev1.Pod, c *corev1.Container) bool {
		n := len(c.VolumeMounts)
		c.VolumeMounts = slices.DeleteFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool { return m.Name == inject.SocketVolume })
		return len(c.VolumeMounts) < n
	}),
}

// Nobody can bring along a pod that looks injected and is not what injection makes.
func TestForgeriesAreRefused(t *testing.T) {
	t.Parallel()
	tried := map[string]bool{}
	for in, injected := range injectedCases(t) {
		for name, forge := range forgeries {
			forged := injected.DeepCopy()
			if !forge(forged) {
				continue
			}
			tried[name] = true
			var refusal *intent.Refusal
			if _, err := in.injector.Inject(in.namespace, forged); !errors.As(err, &refusal) {
				t.Errorf("%s, %s: expected a refusal, got %v", in.name, name, err)
			}
			if _, err := in.injector.Validate(in.namespace, forged); !errors.As(err, &refusal) {
				t.Errorf("%s, %s: expected a refusal of the validating side, got %v", in.name, name, err)
			}
		}
	}
	for name := range forgeries {
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
