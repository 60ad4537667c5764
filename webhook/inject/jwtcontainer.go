package inject

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/spire-injector/spire-injector/templates"
	"github.com/spire-injector/spire-injector/templates/ir"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

// jwtVolumeSize is plenty for a socket and a few tokens, in the node's memory.
const jwtVolumeSize = "1Mi"

// addJWT puts the container that fetches tokens and keys in front of Envoy, which reads them when it starts. User is Envoy's: nobody
// else can read the tokens.
func (i Injector) addJWT(pod *corev1.Pod, in intent.Intent, user int64) {
	ask := corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: templates.ReadinessPath, Port: intstr.FromInt32(ir.JWTProbePort)}}
	c := corev1.Container{
		Name:          intent.JWTName,
		Image:         in.Sidecar.JWT.Image,
		Args:          jwtArgs(i.Platform, in),
		Resources:     in.Sidecar.JWT.Resources,
		RestartPolicy: new(corev1.ContainerRestartPolicyAlways),
		// Passes when all tokens and keys have come, as Envoy's does for its certificate.
		StartupProbe: &corev1.Probe{ProbeHandler: ask, PeriodSeconds: 1, FailureThreshold: 3600},
		// One that hangs lets tokens expire. To start it again costs nothing: it takes up what is there.
		LivenessProbe:   &corev1.Probe{ProbeHandler: ask, PeriodSeconds: 5, FailureThreshold: 3, TimeoutSeconds: 3, TerminationGracePeriodSeconds: new(int64(1))},
		SecurityContext: restricted(user),
		VolumeMounts: []corev1.VolumeMount{
			{Name: JWTVolume, MountPath: templates.JWTDir},
			{Name: SocketVolume, MountPath: intent.SocketMountPath, ReadOnly: true},
			{Name: ConfigVolume, MountPath: serviceAccountDir, ReadOnly: true}, // as in Envoy's
		},
	}
	if pod.Spec.Resources != nil {
		c.Resources = corev1.ResourceRequirements{}
	}
	pod.Spec.InitContainers = append([]corev1.Container{c}, pod.Spec.InitContainers...)
}

// jwtArgs is the command line of that container.
func jwtArgs(p intent.Platform, in intent.Intent) []string {
	args := []string{"tokens", "--workload-api", workloadAPIAddress(p), "--spiffe-id", in.ID.String()}
	for _, audience := range in.Audiences() {
		// The kubelet replaces $(NAME), and $$ by $.
		args = append(args, "--audience", strings.ReplaceAll(audience, "$", "$$"))
	}
	return args
}

func jwtVolume() corev1.Volume {
	return corev1.Volume{Name: JWTVolume, VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{
		Medium: corev1.StorageMediumMemory, SizeLimit: new(resource.MustParse(jwtVolumeSize)),
	}}}
}

// removeJWT takes that container away.
func removeJWT(pod *corev1.Pod) {
	pod.Spec.InitContainers = slices.DeleteFunc(pod.Spec.InitContainers, func(c corev1.Container) bool { return c.Name == intent.JWTName })
}

// jwtMistakes are what hinders that a pod gets tokens and keys.
func (i Injector) jwtMistakes(in intent.Intent) []intent.Mistake {
	if !in.Tokens() {
		return nil
	}
	var mistakes []intent.Mistake
	if in.Sidecar.JWT.Image == "" {
		mistakes = append(mistakes, intent.Mistake{Where: "jwt of inbound and upstreams", What: "the platform file names no image that fetches tokens and keys",
			Hint: "ask the platform team to write sidecar.jwt.image, which is the injector's own, or remove jwt"})
	}
	if !i.Kubernetes.hasNativeSidecars() {
		mistakes = append(mistakes, intent.Mistake{Where: "jwt of inbound and upstreams", What: fmt.Sprintf("what fetches tokens and keys has to start before Envoy, and Kubernetes %d.%d has no native sidecars",
			i.Kubernetes.Major, i.Kubernetes.Minor), Hint: "use Kubernetes 1.29 or newer, or remove jwt"})
	}
	return mistakes
}

// jwtStays finds what the container that fetches tokens would have to do otherwise.
func jwtStays(pod, wanted *corev1.Pod) []intent.Mistake {
	if slices.Equal(argsOfJWT(pod), argsOfJWT(wanted)) {
		return nil
	}
	m := needsNewPod("jwt of inbound and upstreams")
	m.What = "tokens were not fetched before, would not be any more, or for another audience; " + m.What
	return []intent.Mistake{m}
}

func argsOfJWT(pod *corev1.Pod) []string {
	for _, c := range pod.Spec.InitContainers {
		if c.Name == intent.JWTName {
			return c.Args
		}
	}
	return nil
}
