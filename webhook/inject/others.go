package inject

import (
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/spire-injector/spire-injector/webhook/intent"
)

// othersAdditions are what common webhooks add to every container of a pod: the variables and the mounts with which an
// app proves to a cloud who it is. Our containers have no use for either, as they have none for the service account's
// token, so that they are taken away where we come after. All else that is added to our containers is refused.
var othersAdditions = []struct {
	tool      string
	variables []string
	volumes   []string
}{
	{
		tool: "IAM roles for service accounts, of EKS",
		variables: []string{
			"AWS_DEFAULT_REGION", "AWS_REGION", "AWS_ROLE_ARN", "AWS_STS_REGIONAL_ENDPOINTS", "AWS_WEB_IDENTITY_TOKEN_FILE",
		},
		volumes: []string{"aws-iam-token"},
	},
	{
		tool:      "Pod Identity, of EKS",
		variables: []string{"AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_FULL_URI"},
		volumes:   []string{"eks-pod-identity-token"},
	},
	{
		tool:      "Workload Identity, of Azure",
		variables: []string{"AZURE_AUTHORITY_HOST", "AZURE_CLIENT_ID", "AZURE_FEDERATED_TOKEN_FILE", "AZURE_TENANT_ID"},
		volumes:   []string{"azure-identity-token"},
	},
}

// tidied is a pod with our containers before all others and without what common webhooks add to them: the very pod
// given where all is so.
func tidied(pod *corev1.Pod) *corev1.Pod {
	if !hasOurContainer(pod) {
		return pod
	}
	out := pod.DeepCopy()
	changed := false
	for c := range intent.ContainersOf(out) {
		if IsOurContainer(c.Name) {
			changed = withoutOthersAdditions(c) || changed
		}
	}
	if injected(pod) { // a container of the user's with such a name stays where it is, and is refused
		for _, list := range [][]corev1.Container{out.Spec.InitContainers, out.Spec.Containers} {
			changed = oursFirst(list) || changed
		}
	}
	if !changed {
		return pod
	}
	return out
}

func hasOurContainer(pod *corev1.Pod) bool {
	for c := range intent.ContainersOf(pod) {
		if IsOurContainer(c.Name) {
			return true
		}
	}
	return false
}

func withoutOthersAdditions(c *corev1.Container) bool {
	variables, mounts := len(c.Env), len(c.VolumeMounts)
	for _, tool := range othersAdditions {
		c.Env = slices.DeleteFunc(c.Env, func(e corev1.EnvVar) bool { return slices.Contains(tool.variables, e.Name) })
		c.VolumeMounts = slices.DeleteFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool {
			return slices.Contains(tool.volumes, m.Name)
		})
	}
	if len(c.Env) == 0 {
		c.Env = nil
	}
	return len(c.Env) != variables || len(c.VolumeMounts) != mounts
}

// oursFirst moves our containers before all others, and says whether they were not there.
func oursFirst(containers []corev1.Container) bool {
	rank := func(c corev1.Container) int {
		return slices.Index(append(slices.Clone(ourContainers), c.Name), c.Name)
	}
	inOrder := func(a, b corev1.Container) int { return rank(a) - rank(b) }
	if slices.IsSortedFunc(containers, inOrder) {
		return false
	}
	slices.SortStableFunc(containers, inOrder)
	return true
}
