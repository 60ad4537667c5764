package api

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/spire-injector/spire-injector/test/demo/scene"
	"github.com/spire-injector/spire-injector/webhook/inject"
)

// injectedPod is a pod as the story tells it.
func injectedPod() (corev1.Pod, inject.Status) {
	always := corev1.ContainerRestartPolicyAlways
	running := func(second int) []corev1.ContainerStatus {
		since := metav1.NewTime(time.Date(2026, 11, 22, 15, 0, second, 0, time.UTC))
		return []corev1.ContainerStatus{{State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: since}}}}
	}
	return corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "api-1", UID: "u"},
		Spec: corev1.PodSpec{
			InitContainers: []corev1.Container{{
				Name: scene.Sidecar, RestartPolicy: &always, StartupProbe: &corev1.Probe{},
				VolumeMounts: []corev1.VolumeMount{{Name: inject.SocketVolume}},
			}},
			Containers: []corev1.Container{{Name: apiContainer, VolumeMounts: []corev1.VolumeMount{{Name: "token"}}}},
			Volumes:    []corev1.Volume{{Name: inject.ConfigVolume}, {Name: inject.SocketVolume}},
		},
		Status: corev1.PodStatus{InitContainerStatuses: running(1), ContainerStatuses: running(2)},
	}, inject.Status{SPIFFEID: ID(API), Volumes: []string{inject.ConfigVolume, inject.SocketVolume}}
}

func TestCheckPod(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*corev1.Pod, *inject.Status)
		want   string // what of the mismatch
	}{
		{"as told", func(*corev1.Pod, *inject.Status) {}, ""},
		{"another identity", func(_ *corev1.Pod, s *inject.Status) { s.SPIFFEID = ID(Valid) }, "pod api-1: identity"},
		{"not first", func(p *corev1.Pod, _ *inject.Status) { p.Spec.InitContainers[0].Name = "other" }, "pod api-1: first init container"},
		{"not native", func(p *corev1.Pod, _ *inject.Status) { p.Spec.InitContainers[0].RestartPolicy = nil }, "pod api-1: its restartPolicy"},
		{"nothing to wait for", func(p *corev1.Pod, _ *inject.Status) { p.Spec.InitContainers[0].StartupProbe = nil }, "pod api-1: its startupProbe"},
		{"app before Envoy", func(p *corev1.Pod, _ *inject.Status) {
			p.Status.InitContainerStatuses, p.Status.ContainerStatuses = p.Status.ContainerStatuses, p.Status.InitContainerStatuses
		}, "pod api-1: start of the app"},
		{"a volume is missing", func(p *corev1.Pod, _ *inject.Status) { p.Spec.Volumes = p.Spec.Volumes[:1] }, "pod api-1: volumes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			pod, status := injectedPod()
			c.change(&pod, &status)
			wantMismatch(t, checkPod(pod, status), c.want)
		})
	}
}

func TestCheckEntry(t *testing.T) {
	good := scene.Entry{ID: "e", SPIFFEID: ID(API), TTL: "30", Selectors: []string{
		"k8s:sa:default", "k8s:ns:demo", "k8s:container-name:envoy", "k8s:pod-label:spiffe.io/identity:hash",
	}}
	wantMismatch(t, checkEntry(good, "hash"), "")
	wantMismatch(t, checkEntry(good, "another"), "registration entry e")
	open := good
	open.Selectors = good.Selectors[:2] // which every container of the namespace has
	wantMismatch(t, checkEntry(open, "hash"), "registration entry e")
	long := good
	long.TTL = "default"
	wantMismatch(t, checkEntry(long, "hash"), "registration entry e")
}

func TestMounters(t *testing.T) {
	p, _ := injectedPod()
	if diff := cmp.Diff([]string{scene.Sidecar}, mounters(p, inject.SocketVolume)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	p.Spec.Containers[0].VolumeMounts[0].Name = inject.SocketVolume
	if diff := cmp.Diff([]string{scene.Sidecar, apiContainer}, mounters(p, inject.SocketVolume)); diff != "" {
		t.Errorf("with the app's mount, -want +got:\n%s", diff)
	}
}

// wantMismatch asserts which claim failed, or that none did.
func wantMismatch(t *testing.T, err error, what string) {
	t.Helper()
	var m *scene.Mismatch
	switch {
	case what == "" && err != nil:
		t.Errorf("got %v, want no error", err)
	case what != "" && (!errors.As(err, &m) || m.What != what):
		t.Errorf("got %v, want a mismatch of %q", err, what)
	}
}
