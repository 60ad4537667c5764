package inject

import (
	"fmt"
	"path"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/spire-injector/spire-injector/webhook/intent"
)

// endpointVariable is where SPIFFE libraries look for the Workload API's address (SPIFFE Workload Endpoint, section 4).
const endpointVariable = "SPIFFE_ENDPOINT_SOCKET"

func workloadAPIAddress(p intent.Platform) string {
	return "unix://" + path.Join(intent.SocketMountPath, p.AgentSocket.File)
}

// workloadAPIPart is the Workload API of the app's containers.
var workloadAPIPart = part{
	mistakes: workloadAPIMistakes,
	wanted:   func(i injection) bool { return i.intent.Mode.Socket },
	add: func(i injection, pod *corev1.Pod) {
		for c := range intent.ContainersOf(pod) {
			addWorkloadAPI(c, i.Platform)
		}
	},
	remove: func(pod *corev1.Pod, _ Status) {
		for c := range intent.ContainersOf(pod) {
			removeWorkloadAPI(c)
		}
	},
	same: func(arrived, injected *corev1.Pod) []intent.Mistake {
		return sameInContainers(arrived, injected, func(c corev1.Container) any {
			return corev1.Container{Env: c.Env} // the mounts are those of the volume
		})
	},
}

// workloadAPIMistakes find a pod in which the agent's socket has no place.
func workloadAPIMistakes(i injection, pod *corev1.Pod) []intent.Mistake {
	var mistakes []intent.Mistake
	for c := range intent.ContainersOf(pod) {
		for _, m := range c.VolumeMounts {
			if i.intent.Mode.Socket && path.Clean(m.MountPath) == intent.SocketMountPath {
				mistakes = append(mistakes, intent.Mistake{
					Where: "container " + c.Name + ", volumeMounts",
					What: fmt.Sprintf("something is mounted at %s already, where the Workload API's socket goes",
						intent.SocketMountPath),
					Hint: "remove it",
				})
			}
		}
	}
	return mistakes
}

// addWorkloadAPI gives a container the Workload API. An address that it has already is its own choice and stays.
func addWorkloadAPI(c *corev1.Container, p intent.Platform) {
	mount := corev1.VolumeMount{Name: SocketVolume, MountPath: intent.SocketMountPath, ReadOnly: true}
	c.VolumeMounts = append(c.VolumeMounts, mount)
	if !slices.ContainsFunc(c.Env, func(e corev1.EnvVar) bool { return e.Name == endpointVariable }) {
		c.Env = append(c.Env, corev1.EnvVar{Name: endpointVariable, Value: workloadAPIAddress(p)})
	}
}

// removeWorkloadAPI takes the mount away, and the address of whoever had the mount.
func removeWorkloadAPI(c *corev1.Container) {
	isOurs := func(m corev1.VolumeMount) bool {
		return m.Name == SocketVolume && m.MountPath == intent.SocketMountPath
	}
	if !slices.ContainsFunc(c.VolumeMounts, isOurs) {
		return
	}
	c.VolumeMounts = slices.DeleteFunc(c.VolumeMounts, isOurs)
	c.Env = slices.DeleteFunc(c.Env, func(e corev1.EnvVar) bool {
		return e.Name == endpointVariable && path.Dir(e.Value) == "unix:"+intent.SocketMountPath
	})
}
