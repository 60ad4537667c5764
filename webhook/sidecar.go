package webhook

import (
	"encoding/json"
	"fmt"
	"path"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/spire-injector/spire-injector/registrar"
	"github.com/spire-injector/spire-injector/templates"
)

// sidecarUser is Envoy's user and group: of no special meaning, and none that images commonly run as.
const sidecarUser = 15001

// serviceAccountDir is where the API server mounts a pod's service account token.
const serviceAccountDir = "/var/run/secrets/kubernetes.io/serviceaccount"

// Status is the JSON of the status annotation: what was injected, for people and for the registrar.
type Status struct {
	Version  string   `json:"version"`  // of the injector
	SPIFFEID string   `json:"spiffeID"` // the identity of the sidecar
	EntryID  string   `json:"entryID"`  // of its registration entry in SPIRE
	Sidecar  string   `json:"sidecar"`  // the container's name
	Volumes  []string `json:"volumes"`
}

// addSidecar returns the pod with everything that injection adds. The given pod is not changed.
func addSidecar(pod *corev1.Pod, p Platform, in Intent, cfg templates.Config, status Status) (*corev1.Pod, error) {
	statusJSON, err := json.Marshal(status)
	if err != nil {
		return nil, fmt.Errorf("encoding %s: %w", AnnotationStatus, err)
	}
	out := pod.DeepCopy()
	if out.Labels == nil {
		out.Labels = map[string]string{}
	}
	out.Labels[LabelIdentity] = registrar.IdentityHash(in.ID)
	if out.Annotations == nil {
		out.Annotations = map[string]string{}
	}
	for key, value := range generated(cfg) {
		out.Annotations[key] = value
	}
	out.Annotations[AnnotationStatus] = string(statusJSON)

	// First, so that the user's own init containers already have mTLS.
	out.Spec.InitContainers = append([]corev1.Container{sidecar(p, in)}, out.Spec.InitContainers...)
	out.Spec.Volumes = append(out.Spec.Volumes, volumes(p)...)
	return out, nil
}

// generated is the configuration by the annotation that carries it.
func generated(cfg templates.Config) map[string]string {
	return map[string]string{
		AnnotationBootstrap:     cfg.Bootstrap,
		AnnotationListeners:     cfg.Listeners,
		AnnotationClusters:      cfg.Clusters,
		AnnotationAuthorization: cfg.Authorization,
	}
}

// configFiles are the files of the configuration volume, each with the annotation that it shows.
var configFiles = []struct{ file, annotation string }{
	{templates.BootstrapFile, AnnotationBootstrap},
	{templates.ListenersFile, AnnotationListeners},
	{templates.ClustersFile, AnnotationClusters},
	{templates.AuthorizationFile, AnnotationAuthorization},
}

func sidecar(p Platform, in Intent) corev1.Container {
	always := corev1.ContainerRestartPolicyAlways
	ready := corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: templates.ReadinessPath, Port: intstr.FromInt32(templates.ReadinessPort)}}
	c := corev1.Container{
		Name:          SidecarName,
		Image:         p.Sidecar.Image,
		Args:          templates.Args(in.LogLevel, p.Sidecar.Concurrency),
		RestartPolicy: &always,
		Resources:     p.Sidecar.Resources,
		// Passes only when the SVID is there and the data listeners are up: until then no container of the user starts.
		// SPIRE may be away for long, and a restart of Envoy would not bring it back sooner: the threshold is an hour.
		StartupProbe:   &corev1.Probe{ProbeHandler: ready, PeriodSeconds: 1, FailureThreshold: 3600},
		ReadinessProbe: &corev1.Probe{ProbeHandler: ready, PeriodSeconds: 5, FailureThreshold: 2},
		// The words of Pod Security "restricted", exactly.
		SecurityContext: &corev1.SecurityContext{
			AllowPrivilegeEscalation: ptr(false),
			Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
			ReadOnlyRootFilesystem:   ptr(true),
			RunAsGroup:               ptr(int64(sidecarUser)),
			RunAsNonRoot:             ptr(true),
			RunAsUser:                ptr(int64(sidecarUser)),
			SeccompProfile:           &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
		},
		VolumeMounts: []corev1.VolumeMount{
			{Name: ConfigVolume, MountPath: templates.ConfigDir, ReadOnly: true},
			{Name: SocketVolume, MountPath: socketMountPath, ReadOnly: true},
			// Where something is mounted already, the API server does not mount the service account's token: Envoy has no
			// use for it, and a pod that changed once more after the webhook would be sent to it a second time.
			{Name: ConfigVolume, MountPath: serviceAccountDir, ReadOnly: true},
		},
	}
	for _, l := range in.Inbound {
		c.Ports = append(c.Ports, corev1.ContainerPort{Name: fmt.Sprintf("mtls-%d", l.Listen), ContainerPort: int32(l.Listen), Protocol: corev1.ProtocolTCP})
	}
	return c
}

func volumes(p Platform) []corev1.Volume {
	config := &corev1.DownwardAPIVolumeSource{}
	for _, f := range configFiles {
		config.Items = append(config.Items, corev1.DownwardAPIVolumeFile{
			Path:     f.file,
			FieldRef: &corev1.ObjectFieldSelector{FieldPath: fmt.Sprintf("metadata.annotations['%s']", f.annotation)},
		})
	}
	// The directory may appear after the pod: an agent that is not there yet delays the pod, it does not break it.
	kind := corev1.HostPathDirectoryOrCreate
	return []corev1.Volume{
		{Name: ConfigVolume, VolumeSource: corev1.VolumeSource{DownwardAPI: config}},
		{Name: SocketVolume, VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: p.AgentSocket.HostPath, Type: &kind}}},
	}
}

// agentSocketInSidecar is the path of the agent's socket as Envoy sees it.
func agentSocketInSidecar(p Platform) string { return path.Join(socketMountPath, p.AgentSocket.File) }

func ptr[T any](v T) *T { return &v }
