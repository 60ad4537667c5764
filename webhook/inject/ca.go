package inject

import corev1 "k8s.io/api/core/v1"

// caKey is the key of a Secret under which its CA is, as in Secrets of cert-manager.
const caKey = "ca.crt"

// caVolume has the CA of each Secret that upstreams name, as a file of the Secret's name, and nothing else of it. A pod
// waits for a Secret that is not there yet.
func caVolume(i injection) *corev1.VolumeSource {
	if !i.intent.Mode.Envoy() || len(i.intent.Proxy.CASecrets()) == 0 {
		return nil
	}
	all := &corev1.ProjectedVolumeSource{}
	for _, name := range i.intent.Proxy.CASecrets() {
		all.Sources = append(all.Sources, corev1.VolumeProjection{Secret: &corev1.SecretProjection{
			LocalObjectReference: corev1.LocalObjectReference{Name: name},
			Items:                []corev1.KeyToPath{{Key: caKey, Path: name}},
		}})
	}
	return &corev1.VolumeSource{Projected: all}
}

// caSecrets are the Secrets with CAs that an injected pod has, in order.
func caSecrets(pod *corev1.Pod) []string {
	var names []string
	for _, v := range pod.Spec.Volumes {
		if v.Name != CAVolume || v.Projected == nil {
			continue
		}
		for _, source := range v.Projected.Sources {
			if source.Secret != nil {
				names = append(names, source.Secret.Name)
			}
		}
	}
	return names
}
