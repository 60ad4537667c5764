package inject

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"github.com/spire-injector/spire-injector/webhook/intent"
)

// portNameMistakes find ports of the user's with the names of Envoy's. A Service that names the port would find that of
// the app first, and in one container the API server takes a name once.
func portNameMistakes(i injection, pod *corev1.Pod) []intent.Mistake {
	if !i.intent.Mode.Envoy() {
		return nil
	}
	ours := map[string]corev1.ContainerPort{}
	for _, p := range i.envoyPorts() {
		ours[p.Name] = p
	}
	var mistakes []intent.Mistake
	for c := range intent.ContainersOf(pod) {
		for n, p := range c.Ports {
			our, taken := ours[p.Name]
			if !taken || i.intent.Mode.Gateway && isSamePort(p, our) {
				continue
			}
			mistakes = append(mistakes, intent.Mistake{
				Where: fmt.Sprintf("container %s, ports[%d].name", c.Name, n),
				What:  fmt.Sprintf("%s is the name of Envoy's port %d, to which Services lead by it", p.Name, our.ContainerPort),
				Hint:  "rename it",
			})
		}
	}
	return mistakes
}
