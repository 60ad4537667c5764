package e2e

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/spire-injector/spire-injector/test/install"
)

// With the CSI driver injected pods, and the injector itself, keep to the strictest of the Pod Security standards.
func TestCSISocketUnderPodSecurityRestricted(t *testing.T) {
	t.Parallel()
	others := namespace(t) // the default release's, by hostPath
	csiDriver(t)
	injector, served := release(t, "injector/overlays/csi")
	for _, namespace := range []string{injector, served} {
		_, err := shared.k.Run(t.Context(), "label", "namespace", namespace, "--overwrite", "pod-security.kubernetes.io/enforce=restricted")
		must(t, err)
	}
	deploy(t, served, restricted(api(served, id(served, "valid"))), restricted(client(served, "valid")), restricted(client(served, "invalid")))

	t.Run("the socket is the driver's", func(t *testing.T) {
		drivers := 0
		for _, volume := range apiPod(t, served).Spec.Volumes {
			if volume.HostPath != nil {
				t.Errorf("volume %s is of the host", volume.Name)
			}
			if volume.CSI != nil && volume.CSI.Driver == "csi.spiffe.io" {
				drivers++
			}
		}
		if drivers != 1 {
			t.Errorf("expected one volume of csi.spiffe.io, got %d", drivers)
		}
	})
	t.Run("the valid client gets ok", func(t *testing.T) {
		awaitOK(t, served, "deployment/valid")
	})
	t.Run("the invalid client is refused", func(t *testing.T) {
		out, err := in(t, served, "deployment/invalid", "/sample", "get", url)
		if err == nil || !strings.HasPrefix(out, "upstream connect error") {
			t.Errorf("expected an upstream connect error, got %q (%v)", out, err)
		}
	})
	t.Run("an app has the driver's socket too, if it asks for it", func(t *testing.T) {
		w := workload{name: "socket", command: []string{"/podtool", "api"}, annotations: identified(served, "socket", map[string]string{"spiffe.io/mode": "socket"})}
		apply(t, restricted(w).deployment(served))
		rollout(t, served, "deployment/socket")
		eventually(t, "an SVID for the app", func() error {
			out, err := in(t, served, "deployment/socket", "/sample", "svid")
			if err == nil && !strings.Contains(out, "spiffe://example.org"+id(served, "socket")) {
				err = fmt.Errorf("got %q", out)
			}
			return err
		})
	})
	t.Run("so is the container that fetches tokens", func(t *testing.T) {
		deploy(t, served, restricted(withToken(served, client(served, "token"))))
	})
	t.Run("by hostPath a pod is refused, and the message says which volume", func(t *testing.T) {
		_, err := shared.k.Run(t.Context(), "label", "namespace", others, "pod-security.kubernetes.io/enforce=restricted")
		must(t, err)
		message := refused(t, restricted(api(others, id(others, "valid"))).pod(others))
		for _, part := range []string{`violates PodSecurity "restricted:latest"`, "hostPath", "spiffe-agent-socket"} {
			if !strings.Contains(message, part) {
				t.Errorf("expected %q in %s", part, message)
			}
		}
	})
}

// restricted is a workload as the Pod Security standard of that name wants it.
func restricted(w workload) workload {
	w.edit = func(spec *corev1.PodSpec) {
		spec.SecurityContext = &corev1.PodSecurityContext{
			RunAsNonRoot: new(true), SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
		}
		for i := range spec.Containers {
			spec.Containers[i].SecurityContext = &corev1.SecurityContext{
				AllowPrivilegeEscalation: new(false), Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
			}
		}
	}
	return w
}

// csiDriver puts the SPIFFE CSI driver on the cluster for one test.
func csiDriver(t *testing.T) {
	t.Helper()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		// Only the driver can take away what it mounted.
		if err := awaitNoCSIVolume(ctx); err != nil {
			t.Error(err)
		}
		driver := filepath.Join(manifests("spire/overlays/csi"), "driver.yaml")
		if _, err := shared.k.Run(ctx, "delete", "--ignore-not-found", "--namespace", "spire", "--filename", driver); err != nil {
			t.Error(err)
		}
	})
	must(t, install.CSI(t.Context(), shared.env, filepath.Join(shared.root, "test", "e2e", "csi"), progress{t}))
}

// awaitNoCSIVolume waits until no pod has a volume of the driver.
func awaitNoCSIVolume(ctx context.Context) error {
	for {
		var pods corev1.PodList
		if err := shared.k.Get(ctx, &pods, "pods", "--all-namespaces"); err != nil {
			return err
		}
		left := slices.IndexFunc(pods.Items, func(pod corev1.Pod) bool {
			return slices.ContainsFunc(pod.Spec.Volumes, func(v corev1.Volume) bool { return v.CSI != nil && v.CSI.Driver == "csi.spiffe.io" })
		})
		if left < 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("pod %s/%s still has a volume of the CSI driver", pods.Items[left].Namespace, pods.Items[left].Name)
		case <-time.After(500 * time.Millisecond):
		}
	}
}
