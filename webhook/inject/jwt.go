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

// jwtVolumeSize is plenty for a socket and a few tokens, in the node's memory.
const jwtVolumeSize = "1Mi"

// whereJWT is what users write to get tokens and keys.
const whereJWT = "jwt of inbound and upstreams"

// jwtPart is the container that fetches tokens and keys.
var jwtPart = part{
	mistakes: jwtMistakes,
	wanted:   func(i injection) bool { return i.intent.Tokens() },
	add:      addJWT,
	remove: func(pod *corev1.Pod, was Status) {
		if was.JWT != "" {
			removeInitContainer(pod, intent.JWTName)
		}
	},
	same: func(arrived, injected *corev1.Pod) []intent.Mistake {
		return sameContainer(arrived, injected, intent.JWTName)
	},
}

// addJWT puts the container in front of Envoy, which reads tokens and keys when it starts. It has Envoy's user: nobody
// else can read the tokens.
func addJWT(i injection, pod *corev1.Pod) {
	i.status.JWT = intent.JWTName
	probe := corev1.ProbeHandler{
		HTTPGet: &corev1.HTTPGetAction{Path: templates.ReadinessPath, Port: intstr.FromInt32(ir.JWTProbePort)},
	}
	c := corev1.Container{
		Name:          intent.JWTName,
		Image:         i.intent.Sidecar.JWT.Image,
		Args:          i.jwtArgs(),
		Resources:     i.intent.Sidecar.JWT.Resources,
		RestartPolicy: new(corev1.ContainerRestartPolicyAlways),
		// Passes when all tokens and keys have come, as Envoy's does for its certificate.
		StartupProbe: &corev1.Probe{ProbeHandler: probe, PeriodSeconds: 1, FailureThreshold: patience},
		// One that hangs lets tokens expire. To start it again costs nothing: it takes up what is there.
		LivenessProbe: &corev1.Probe{
			ProbeHandler:                  probe,
			PeriodSeconds:                 5,
			FailureThreshold:              3,
			TimeoutSeconds:                3,
			TerminationGracePeriodSeconds: new(int64(1)),
		},
		SecurityContext: restricted(i.user),
		VolumeMounts: []corev1.VolumeMount{
			{Name: JWTVolume, MountPath: templates.JWTDir},
			{Name: SocketVolume, MountPath: intent.SocketMountPath, ReadOnly: true},
			{Name: ConfigVolume, MountPath: serviceAccountDir, ReadOnly: true}, // as in Envoy's
		},
	}
	putFirst(pod, c)
}

// audienceFlag is the flag of that container for each audience.
const audienceFlag = "--audience"

// jwtArgs is the command line of that container.
func (i injection) jwtArgs() []string {
	args := []string{"tokens", "--workload-api", workloadAPIAddress(i.Platform), "--spiffe-id", i.intent.ID.String()}
	for _, audience := range i.intent.Audiences() {
		args = append(args, audienceFlag, literal(audience))
	}
	return args
}

func jwtVolume(i injection) *corev1.VolumeSource {
	if !i.intent.Tokens() {
		return nil
	}
	return memoryVolume(jwtVolumeSize)
}

func jwtMistakes(i injection, pod *corev1.Pod) []intent.Mistake {
	mistakes := reserved(pod, intent.JWTName, "has the name of an injected container")
	if !i.intent.Tokens() {
		return mistakes
	}
	if i.intent.Sidecar.JWT.Image == "" {
		mistakes = append(mistakes, intent.Mistake{
			Where: whereJWT,
			What:  "the platform file names no image that fetches tokens and keys",
			Hint:  "ask the platform team to write sidecar.jwt.image, which is the injector's own, or remove jwt",
		})
	}
	if !i.Kubernetes.hasNativeSidecars() {
		mistakes = append(mistakes, intent.Mistake{
			Where: whereJWT,
			What: fmt.Sprintf("what fetches tokens and keys has to start before Envoy, and Kubernetes %s has no native sidecars",
				i.Kubernetes),
			Hint: "use Kubernetes 1.29 or newer, or remove jwt",
		})
	}
	return mistakes
}

// sameTokens says whether the container that fetches tokens would fetch them for the same audiences.
func sameTokens(was, is Status, started, today EnvoyStatus) bool {
	return was.JWT == is.JWT && slices.Equal(started.Audiences, today.Audiences)
}

// otherTokens is the mistake of a running pod whose tokens would be others.
func otherTokens() intent.Mistake {
	m := needsNewPod(whereJWT)
	m.What = "tokens were not fetched before, would not be any more, or for another audience; " + m.What
	return m
}
