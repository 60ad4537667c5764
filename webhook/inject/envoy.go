package inject

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/spire-injector/spire-injector/templates"
	"github.com/spire-injector/spire-injector/templates/ir"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

// firstSidecarUser is Envoy's user and group: of no special meaning, and none that images commonly run as.
const firstSidecarUser = 15001

// serviceAccountDir is where the API server mounts a pod's service account token.
const serviceAccountDir = "/var/run/secrets/kubernetes.io/serviceaccount"

// patience is how many times a startup probe may fail, once a second: SPIRE may be away for long, and a restart would
// not bring it back sooner.
const patience = 3600

// envoy is Envoy's container.
func (i injection) envoy() corev1.Container {
	probe := func(path string, port int32) corev1.ProbeHandler {
		return corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: path, Port: intstr.FromInt32(port)}}
	}
	mount := func(volume, path string) corev1.VolumeMount {
		return corev1.VolumeMount{Name: volume, MountPath: path, ReadOnly: true}
	}
	podIP := templates.PodIPArgs(i.intent.Proxy)
	c := corev1.Container{
		Name:      intent.SidecarName,
		Image:     i.intent.Sidecar.Image,
		Args:      append(templates.Args(i.intent.Sidecar.LogLevel, i.intent.Sidecar.Concurrency), podIP...),
		Ports:     i.envoyPorts(),
		Resources: i.intent.Sidecar.Resources,
		// Passes only when the SVID is there and the data listeners are up: until then no container of the user starts.
		StartupProbe: &corev1.Probe{
			ProbeHandler:     probe(templates.ReadinessPath, startupPort(i.intent.Proxy)),
			PeriodSeconds:    1,
			FailureThreshold: patience,
		},
		// A pod is ready when its app answers too; at the start, that would wait for an app which waits for Envoy.
		ReadinessProbe: &corev1.Probe{
			ProbeHandler:        probe(templates.AppReadinessPath, ir.ReadinessPort),
			InitialDelaySeconds: i.appDelay(),
			PeriodSeconds:       2,
			FailureThreshold:    2,
		},
		SecurityContext: restricted(i.user),
		VolumeMounts: []corev1.VolumeMount{
			mount(ConfigVolume, templates.ConfigDir),
			mount(SocketVolume, intent.SocketMountPath),
			// Where something is mounted already, the API server does not mount the service account's token: Envoy has no
			// use for it, and a pod that changed once more after the webhook would be sent to it a second time.
			mount(ConfigVolume, serviceAccountDir),
		},
	}
	if podIP != nil {
		c.Env = []corev1.EnvVar{{Name: templates.PodIPVariable, ValueFrom: &corev1.EnvVarSource{
			FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: "status.podIP"},
		}}}
	}
	if i.intent.Tokens() {
		c.VolumeMounts = append(c.VolumeMounts, mount(JWTVolume, templates.JWTDir))
	}
	if i.intent.CertificateSecret != "" {
		c.VolumeMounts = append(c.VolumeMounts, mount(CertificateVolume, templates.CertificateDir))
	}
	if len(i.intent.Proxy.CASecrets()) > 0 {
		c.VolumeMounts = append(c.VolumeMounts, mount(CAVolume, templates.CADir))
	}
	return c
}

// appDelay is how many seconds after Envoy's start readiness is asked, where the app is asked. The kubelet asks as soon
// as Envoy has started, which is when the app begins to: each such pod would begin with Warning events, and most are
// ready no earlier for it.
func (i injection) appDelay() int32 {
	if slices.ContainsFunc(i.intent.Proxy.Inbound, func(in ir.Inbound) bool { return in.App != 0 }) {
		return 2
	}
	return 0
}

// envoyPorts are those that Envoy's container declares, with what callers find there in their names.
func (i injection) envoyPorts() []corev1.ContainerPort {
	var ports []corev1.ContainerPort
	declare := func(name string, port uint16) {
		ports = append(ports, corev1.ContainerPort{Name: name, ContainerPort: int32(port), Protocol: corev1.ProtocolTCP})
	}
	for _, l := range i.intent.Proxy.Inbound {
		declare(intent.PortName(l), l.Listen)
	}
	if port := i.intent.Proxy.Metrics.Port; port != 0 {
		declare("envoy-metrics", port)
	}
	return ports
}

// restricted has the words of Pod Security "restricted", exactly.
func restricted(user int64) *corev1.SecurityContext { //nolint:unparam // the linter does not see the use in new(user)
	return &corev1.SecurityContext{
		AllowPrivilegeEscalation: new(false),
		Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		ReadOnlyRootFilesystem:   new(true),
		RunAsGroup:               new(user),
		RunAsNonRoot:             new(true),
		RunAsUser:                new(user),
		SeccompProfile:           &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
	}
}

// envoyUser is Envoy's user: one that no container of the pod runs as. One that does could read Envoy's memory, and in
// it the key, where the containers share their processes. A gateway has no other container.
func envoyUser(pod *corev1.Pod, mode intent.Mode) int64 {
	user := int64(firstSidecarUser)
	if !mode.Sidecar {
		return user
	}
	var taken []int64
	if c := pod.Spec.SecurityContext; c != nil && c.RunAsUser != nil {
		taken = append(taken, *c.RunAsUser)
	}
	for c := range intent.ContainersOf(pod) {
		if c.SecurityContext != nil && c.SecurityContext.RunAsUser != nil {
			taken = append(taken, *c.SecurityContext.RunAsUser)
		}
	}
	for slices.Contains(taken, user) {
		user++
	}
	return user
}

// envoyImage is the image of Envoy's container, empty if there is none.
func envoyImage(pod *corev1.Pod) string {
	for c := range intent.ContainersOf(pod) {
		if c.Name == intent.SidecarName {
			return c.Image
		}
	}
	return ""
}

// withEnvoyImage is a pod with another image of Envoy: the very pod when it has that already.
func withEnvoyImage(pod *corev1.Pod, image string) *corev1.Pod {
	if envoyImage(pod) == image {
		return pod
	}
	out := pod.DeepCopy()
	for c := range intent.ContainersOf(out) {
		if c.Name == intent.SidecarName {
			c.Image = image
		}
	}
	return out
}
