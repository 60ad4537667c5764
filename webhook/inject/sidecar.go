package inject

import (
	"fmt"
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

// addSidecar puts Envoy in front of the pod's containers, as a native sidecar where there are such.
func (i Injector) addSidecar(pod *corev1.Pod, in intent.Intent, user int64) {
	c := i.envoy(in, user)
	if pod.Spec.Resources != nil {
		// The pod has a budget for all its containers: a share of ours could exceed what the user's already add up to.
		c.Resources = corev1.ResourceRequirements{}
	}
	if !i.Kubernetes.hasNativeSidecars() {
		pod.Spec.Containers = append([]corev1.Container{c}, pod.Spec.Containers...)
		return
	}
	c.RestartPolicy = ptr(corev1.ContainerRestartPolicyAlways)
	// First, so that the user's own init containers already have mTLS.
	pod.Spec.InitContainers = append([]corev1.Container{c}, pod.Spec.InitContainers...)
}

// envoy is Envoy's container.
func (i Injector) envoy(in intent.Intent, user int64) corev1.Container {
	ask := func(path string) corev1.ProbeHandler {
		return corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: path, Port: intstr.FromInt32(ir.ReadinessPort)}}
	}
	c := corev1.Container{
		Name:      intent.SidecarName,
		Image:     in.Sidecar.Image,
		Args:      templates.Args(in.Sidecar.LogLevel, in.Sidecar.Concurrency),
		Resources: in.Sidecar.Resources,
		// Passes only when the SVID is there and the data listeners are up: until then no container of the user starts.
		// SPIRE may be away for long, and a restart of Envoy would not bring it back sooner: the threshold is an hour.
		StartupProbe: &corev1.Probe{ProbeHandler: ask(templates.ReadinessPath), PeriodSeconds: 1, FailureThreshold: 3600},
		// A pod is ready when its app answers too; asked at the start, that would wait for an app which waits for Envoy.
		ReadinessProbe:  &corev1.Probe{ProbeHandler: ask(templates.AppReadinessPath), PeriodSeconds: 2, FailureThreshold: 2},
		SecurityContext: restricted(user),
		VolumeMounts: []corev1.VolumeMount{
			{Name: ConfigVolume, MountPath: templates.ConfigDir, ReadOnly: true},
			{Name: SocketVolume, MountPath: intent.SocketMountPath, ReadOnly: true},
			// Where something is mounted already, the API server does not mount the service account's token: Envoy has no
			// use for it, and a pod that changed once more after the webhook would be sent to it a second time.
			{Name: ConfigVolume, MountPath: serviceAccountDir, ReadOnly: true},
		},
	}
	if in.Tokens() {
		c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: JWTVolume, MountPath: templates.JWTDir, ReadOnly: true})
	}
	if in.CertificateSecret != "" {
		c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: CertificateVolume, MountPath: templates.CertificateDir, ReadOnly: true})
	}
	for _, l := range in.Proxy.Inbound {
		name := "mtls"
		switch {
		case l.TLS == ir.None:
			name = "plain"
		case l.Clients != ir.Require:
			name = "tls"
		}
		c.Ports = append(c.Ports, corev1.ContainerPort{Name: fmt.Sprintf("%s-%d", name, l.Listen), ContainerPort: int32(l.Listen), Protocol: corev1.ProtocolTCP})
	}
	if port := in.Proxy.Metrics.Port; port != 0 {
		c.Ports = append(c.Ports, corev1.ContainerPort{Name: "envoy-metrics", ContainerPort: int32(port), Protocol: corev1.ProtocolTCP})
	}
	return c
}

// restricted has the words of Pod Security "restricted", exactly.
func restricted(user int64) *corev1.SecurityContext {
	return &corev1.SecurityContext{
		AllowPrivilegeEscalation: ptr(false),
		Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		ReadOnlyRootFilesystem:   ptr(true),
		RunAsGroup:               ptr(user),
		RunAsNonRoot:             ptr(true),
		RunAsUser:                ptr(user),
		SeccompProfile:           &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
	}
}

// sidecarUser is a user that no container of the pod runs as: one that does could read Envoy's memory, and in it the key, where
// the containers share their processes.
func sidecarUser(pod *corev1.Pod) int64 {
	var taken []int64
	if c := pod.Spec.SecurityContext; c != nil && c.RunAsUser != nil {
		taken = append(taken, *c.RunAsUser)
	}
	for c := range intent.ContainersOf(pod) {
		if c.SecurityContext != nil && c.SecurityContext.RunAsUser != nil {
			taken = append(taken, *c.SecurityContext.RunAsUser)
		}
	}
	user := int64(firstSidecarUser)
	for slices.Contains(taken, user) {
		user++
	}
	return user
}

// configFiles are the files of the configuration volume, each with the annotation that it shows.
var configFiles = []struct{ file, annotation string }{
	{templates.BootstrapFile, intent.AnnotationBootstrap},
	{templates.ListenersFile, intent.AnnotationListeners},
	{templates.ClustersFile, intent.AnnotationClusters},
	{templates.AuthorizationFile, intent.AnnotationAuthorization},
	{templates.CertificateFile, intent.AnnotationCertificate},
}

// generated is the configuration by the annotation that carries it.
func generated(cfg templates.Config) map[string]string {
	all := map[string]string{
		intent.AnnotationBootstrap:     cfg.Bootstrap,
		intent.AnnotationListeners:     cfg.Listeners,
		intent.AnnotationClusters:      cfg.Clusters,
		intent.AnnotationAuthorization: cfg.Authorization,
	}
	if cfg.Certificate != "" {
		all[intent.AnnotationCertificate] = cfg.Certificate
	}
	return all
}

// configVolume shows what has been generated.
func configVolume(generated map[string]string) corev1.Volume {
	config := &corev1.DownwardAPIVolumeSource{}
	for _, f := range configFiles {
		if _, ok := generated[f.annotation]; !ok {
			continue
		}
		config.Items = append(config.Items, corev1.DownwardAPIVolumeFile{
			Path:     f.file,
			FieldRef: &corev1.ObjectFieldSelector{FieldPath: fmt.Sprintf("metadata.annotations['%s']", f.annotation)},
		})
	}
	return corev1.Volume{Name: ConfigVolume, VolumeSource: corev1.VolumeSource{DownwardAPI: config}}
}

// certificateVolume has the certificate and key of a Secret of type kubernetes.io/tls. A pod waits for a Secret that is not there yet.
func certificateVolume(secret string) corev1.Volume {
	return corev1.Volume{Name: CertificateVolume, VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{
		SecretName: secret,
		Items:      []corev1.KeyToPath{{Key: corev1.TLSCertKey, Path: corev1.TLSCertKey}, {Key: corev1.TLSPrivateKeyKey, Path: corev1.TLSPrivateKeyKey}},
	}}}
}

// certificateSecret is the Secret whose certificate an injected pod's Envoy shows, empty if there is none.
func certificateSecret(pod *corev1.Pod) string {
	for _, v := range pod.Spec.Volumes {
		if v.Name == CertificateVolume && v.Secret != nil {
			return v.Secret.SecretName
		}
	}
	return ""
}

func socketVolume(s intent.AgentSocket) corev1.Volume {
	if s.CSI != "" {
		return corev1.Volume{Name: SocketVolume, VolumeSource: corev1.VolumeSource{CSI: &corev1.CSIVolumeSource{Driver: s.CSI, ReadOnly: ptr(true)}}}
	}
	// The directory may appear after the pod: an agent that is not there yet delays the pod, it does not break it.
	kind := corev1.HostPathDirectoryOrCreate
	return corev1.Volume{Name: SocketVolume, VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: s.HostPath, Type: &kind}}}
}

func ptr[T any](v T) *T { return &v }
