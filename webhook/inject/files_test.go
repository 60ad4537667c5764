package inject

import (
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/spire-injector/spire-injector/registrar/reason"
	"github.com/spire-injector/spire-injector/webhook/intent"
	"github.com/spire-injector/spire-injector/webhook/webhooktest"
)

// withFiles is a running pod with files.
func withFiles(t *testing.T, mode string) (Injector, *corev1.Pod) {
	t.Helper()
	injector := Injector{Platform: webhooktest.Platform(t), Version: "test"}
	injector.Platform.Sidecar.Files.Image = "files"
	injector.Platform.Sidecar.JWT.Image = "injector"
	pod := webhooktest.Server()
	pod.Annotations[intent.AnnotationMode] = mode
	if mode == "files" {
		pod.Annotations = map[string]string{intent.AnnotationMode: mode}
	}
	pod.Spec.SecurityContext = &corev1.PodSecurityContext{RunAsUser: new(int64(999))}
	res, err := injector.Inject(intent.Namespace{Name: "demo"}, pod)
	if err != nil {
		t.Fatal(err)
	}
	return injector, res.Pod
}

// A running pod keeps its files as they are, and takes other changes.
func TestUpdateOfFiles(t *testing.T) {
	injector, before := withFiles(t, "sidecar,files")
	if image := before.Spec.InitContainers[0].Image; image != "files" {
		t.Errorf("expected the image of files before that of jwt, got %s", image)
	}
	wantUpdate(t, injector, before, intent.AnnotationAllowedPeers, "/other", "")
	wantUpdate(t, injector, before, intent.AnnotationFiles, "{containers: [app]}", "annotation spiffe.io/files: a running pod cannot")
	wantUpdate(t, injector, before, intent.AnnotationMode, "sidecar", "annotation spiffe.io/mode: a running pod cannot")
	after := before.DeepCopy()
	after.Spec.InitContainers[0].Image = "mine"
	_, err := injector.Update(intent.Namespace{Name: "demo"}, before, after)
	wantRefusal(t, err, reason.NeedsNewPod, "container spiffe-files, image")
}

// A namespace's files are for those of its pods that have the mode.
func TestFilesOfTheNamespace(t *testing.T) {
	injector, _ := withFiles(t, "files")
	without := webhooktest.Server()
	ns := intent.Namespace{Name: "demo", Annotations: map[string]string{
		intent.AnnotationFiles: "{jwt: [{file: api.jwt, audience: /api}]}",
	}}
	if _, err := injector.Inject(ns, without); err != nil {
		t.Errorf("a pod without files: %v", err)
	}
	with := webhooktest.Server()
	with.Annotations = map[string]string{intent.AnnotationMode: "files"}
	with.Spec.SecurityContext = &corev1.PodSecurityContext{RunAsUser: new(int64(999))}
	res, err := injector.Inject(ns, with)
	if err != nil {
		t.Fatal(err)
	}
	if args := res.Pod.Spec.InitContainers[0].Args; !slices.Contains(args, "api.jwt=spiffe://example.org/api") {
		t.Errorf("expected the token's file, got %q", args)
	}
}

// A container that comes after injection, of whatever user, hinders neither the pod nor its later changes.
func TestFilesBesideLaterContainers(t *testing.T) {
	injector, pod := withFiles(t, "sidecar,files")
	pod.Spec.InitContainers = append(pod.Spec.InitContainers, corev1.Container{
		Name: "later", Image: "later", SecurityContext: &corev1.SecurityContext{RunAsUser: new(int64(0))},
	})
	for _, decide := range []func(intent.Namespace, *corev1.Pod) (Result, error){injector.Inject, injector.Validate} {
		if res, err := decide(intent.Namespace{Name: "demo"}, pod); err != nil || res.Reason != reason.AlreadyInjected {
			t.Errorf("%+v, %v", res.Decision, err)
		}
	}
	wantUpdate(t, injector, pod, intent.AnnotationAllowedPeers, "/other", "")
	mounts := pod.DeepCopy()
	mounts.Spec.InitContainers[2].VolumeMounts = []corev1.VolumeMount{
		{Name: FilesVolume, MountPath: intent.FilesMountPath, ReadOnly: true},
	}
	_, err := injector.Validate(intent.Namespace{Name: "demo"}, mounts)
	wantRefusal(t, err, reason.Tampered, "container later, mounts of volume spiffe-files")
}

// A copy of a pod that lost labels and annotations would wait for files for ever: it loses the container too.
func TestCopyWithFiles(t *testing.T) {
	for _, mode := range []string{"files", "sidecar,files"} {
		injector, pod := withFiles(t, mode)
		pod.Labels, pod.Annotations = nil, nil
		res, err := injector.Inject(intent.Namespace{Name: "demo"}, pod)
		if err != nil || res.Reason != reason.LeftoversRemoved {
			t.Fatalf("%s: %+v, %v", mode, res.Decision, err)
		}
		app := res.Pod.Spec.Containers[0]
		if len(res.Pod.Spec.InitContainers)+len(res.Pod.Spec.Volumes)+len(app.VolumeMounts) != 0 {
			t.Errorf("%s: something is left: %+v", mode, res.Pod.Spec)
		}
		if _, err := injector.Validate(intent.Namespace{Name: "demo"}, pod); err == nil {
			t.Errorf("%s: a copy with all of it is let in", mode)
		}
	}
}
