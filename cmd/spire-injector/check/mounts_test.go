package check

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
)

func TestConfigMapOf(t *testing.T) {
	t.Parallel()
	named := func(name string) corev1.LocalObjectReference { return corev1.LocalObjectReference{Name: name} }
	spec := corev1.PodSpec{
		Containers: []corev1.Container{{Name: "app", VolumeMounts: []corev1.VolumeMount{
			{Name: "some", MountPath: "/etc/all/some/"},
			{Name: "all", MountPath: "/etc/all"},
			{Name: "all", MountPath: "/run/one.conf", SubPath: "agent.conf"},
			{Name: "projected", MountPath: "/projected"},
			{Name: "secret", MountPath: "/secret"},
		}}},
		Volumes: []corev1.Volume{
			{Name: "all", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: named("all")}}},
			{Name: "some", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{
				LocalObjectReference: named("some"), Items: []corev1.KeyToPath{{Key: "key", Path: "a/file"}}}}},
			{Name: "projected", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{
				{Secret: &corev1.SecretProjection{LocalObjectReference: named("s")}},
				{ConfigMap: &corev1.ConfigMapProjection{LocalObjectReference: named("p")}},
			}}}},
			{Name: "secret", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "s"}}},
		},
	}
	for file, want := range map[string][2]string{
		"/etc/all/agent.conf":      {"all", "agent.conf"},
		"/etc/all/../all/a":        {"all", "a"},
		"/etc/all/some/a/file":     {"some", "key"},
		"/run/one.conf":            {"all", "agent.conf"},
		"/projected/x":             {"p", "x"},
		"/etc/all/some/agent.conf": {},
		"/etc/allother/agent.conf": {},
		"/secret/x":                {},
		"/elsewhere":               {},
	} {
		name, key, ok := configMapOf(spec, "app", file)
		if !ok {
			name, key = "", ""
		}
		if [2]string{name, key} != want || ok != (want != [2]string{}) {
			t.Errorf("%s: expected %v, got %s %s %v", file, want, name, key, ok)
		}
	}
	if _, _, ok := configMapOf(spec, "other", "/projected/x"); ok {
		t.Error("expected no file in a container that is not there")
	}
}

func TestArgument(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"run", "-config", "a"}, {"--config", "a"}, {"-config=a"}, {"--x", "y", "--config=a"}} {
		if got, ok := argument(args, "config"); !ok || got != "a" {
			t.Errorf("%q: got %q", args, got)
		}
	}
	for _, args := range [][]string{nil, {"-config"}, {"config", "a"}, {"--config-map", "a"}} {
		if got, ok := argument(args, "config"); ok {
			t.Errorf("%q: expected none, got %q", args, got)
		}
	}
}

func TestImageName(t *testing.T) {
	t.Parallel()
	for _, image := range []string{"spire-agent", "spiffe/spire-agent:1.15.3", "ghcr.io:443/spiffe/spire-agent", "spire-agent@sha256:ab", "a/spire-agent:1@sha256:ab"} {
		if got := imageName(image); got != "spire-agent" {
			t.Errorf("%s: got %s", image, got)
		}
	}
}
