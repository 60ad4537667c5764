package inject

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/spire-injector/spire-injector/webhook/intent"
)

// Volumes that injection adds. A user's volume of such a name is denied.
const (
	JWTVolume         = "spiffe-jwt"
	FilesVolume       = "spiffe-files"
	ConfigVolume      = "spiffe-envoy-config"
	SocketVolume      = "spiffe-agent-socket"
	CertificateVolume = "spiffe-certificate"
	CAVolume          = "spiffe-ca"
)

func isOurVolume(name string) bool {
	switch name {
	case ConfigVolume, SocketVolume, JWTVolume, FilesVolume, CertificateVolume, CAVolume:
		return true
	}
	return false
}

// volumePart is a volume of a name. Source is nil for a pod that does not get it.
func volumePart(name string, source func(injection) *corev1.VolumeSource) part {
	named := func(v corev1.Volume) bool { return v.Name == name }
	return part{
		mistakes: func(_ injection, pod *corev1.Pod) []intent.Mistake {
			var mistakes []intent.Mistake
			if slices.ContainsFunc(pod.Spec.Volumes, named) {
				mistakes = append(mistakes,
					intent.Mistake{Where: "volume " + name, What: "has the name of an injected volume", Hint: "rename it"})
			}
			return append(mistakes, mountMistakes(pod, name)...)
		},
		add: func(i injection, pod *corev1.Pod) {
			if s := source(i); s != nil {
				pod.Spec.Volumes = append(pod.Spec.Volumes, corev1.Volume{Name: name, VolumeSource: *s})
				i.status.Volumes = append(i.status.Volumes, name)
			}
		},
		remove: func(pod *corev1.Pod, _ Status) { pod.Spec.Volumes = slices.DeleteFunc(pod.Spec.Volumes, named) },
		same: func(arrived, injected *corev1.Pod) []intent.Mistake {
			mistakes := sameMounts(arrived, injected, name)
			at := slices.IndexFunc(injected.Spec.Volumes, named)
			if at < 0 {
				return mistakes
			}
			want, got := injected.Spec.Volumes[at], slices.IndexFunc(arrived.Spec.Volumes, named)
			if got >= 0 && equality.Semantic.DeepEqual(defaultedVolume(arrived.Spec.Volumes[got]), defaultedVolume(want)) {
				return mistakes
			}
			return append([]intent.Mistake{isAltered("volume " + name)}, mistakes...)
		},
	}
}

// mountMistakes find containers that mount a volume of ours by its name.
func mountMistakes(pod *corev1.Pod, volume string) []intent.Mistake {
	var mistakes []intent.Mistake
	for c := range intent.ContainersOf(pod) {
		for n, m := range c.VolumeMounts {
			if m.Name == volume {
				mistakes = append(mistakes, mountsOurs(c.Name, n, volume))
			}
		}
	}
	return mistakes
}

func mountsOurs(container string, n int, volume string) intent.Mistake {
	return intent.Mistake{
		Where: fmt.Sprintf("container %s, volumeMounts[%d]", container, n),
		What:  volume + " is an injected volume, which injection alone mounts",
		Hint:  "remove it",
	}
}

// socketVolume has the directory of the SPIRE agent's socket.
func socketVolume(i injection) *corev1.VolumeSource {
	s := i.Platform.AgentSocket
	if s.CSI != "" {
		return &corev1.VolumeSource{CSI: &corev1.CSIVolumeSource{Driver: s.CSI, ReadOnly: new(true)}}
	}
	// The directory may appear after the pod: an agent that is not there yet delays the pod, it does not break it.
	kind := corev1.HostPathDirectoryOrCreate
	return &corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: s.HostPath, Type: &kind}}
}

// certificateVolume has the certificate and key of a Secret of type kubernetes.io/tls. A pod waits for a Secret that is
// not there yet.
func certificateVolume(i injection) *corev1.VolumeSource {
	if !i.intent.Mode.Envoy() || i.intent.CertificateSecret == "" {
		return nil
	}
	return &corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{
		SecretName: i.intent.CertificateSecret,
		Items: []corev1.KeyToPath{
			{Key: corev1.TLSCertKey, Path: corev1.TLSCertKey},
			{Key: corev1.TLSPrivateKeyKey, Path: corev1.TLSPrivateKeyKey},
		},
	}}
}

// memoryVolume is in the node's memory, of which it takes as much as a size such as 1Mi at most.
func memoryVolume(size string) *corev1.VolumeSource {
	limit := resource.MustParse(size)
	return &corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{Medium: corev1.StorageMediumMemory, SizeLimit: &limit}}
}
