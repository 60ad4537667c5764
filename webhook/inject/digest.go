package inject

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	corev1 "k8s.io/api/core/v1"
)

// ConfigDigest distinguishes states of the configuration that Envoy reads again when it changes in a running pod. Equal
// configurations have equal digests, whatever the version of the injector and the image of Envoy.
func ConfigDigest(pod *corev1.Pod) string {
	hash := sha256.New()
	for _, key := range regenerated {
		text := pod.Annotations[key]
		_, _ = fmt.Fprintf(hash, "%d\n%s", len(text), text) // a hash takes everything
	}
	return hex.EncodeToString(hash.Sum(nil)[:8])
}
