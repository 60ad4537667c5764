package inject

import (
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

// addWorkloadAPI gives a container the Workload API. An address that it has already is its own choice and stays.
func addWorkloadAPI(c *corev1.Container, p intent.Platform) {
	c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: SocketVolume, MountPath: intent.SocketMountPath, ReadOnly: true})
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
