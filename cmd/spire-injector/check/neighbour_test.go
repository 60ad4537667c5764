package check

import (
	"encoding/json"
	"maps"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The rows are those of TestDisruptiveBesideControllerManager in test/e2e, where the real one is seen to delete or to spare.
func TestControllerManager(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		config  map[string]any
		deletes bool
	}{
		{"the prefix of the charts", map[string]any{"entryIDPrefix": "demo-cluster"}, false},
		{"a prefix of its own", map[string]any{"entryIDPrefix": "controller-manager.demo-cluster"}, false},
		{"a prefix that ours only begin with", map[string]any{"entryIDPrefix": "spire"}, false},
		{"the prefix of another cluster of ours", map[string]any{"entryIDPrefix": "spire-injector.demo"}, false},
		{"clean-up of an old prefix", map[string]any{"entryIDPrefix": "demo-cluster", "entryIDPrefixCleanup": "old"}, false},
		{"clean-up of IDs without prefix", map[string]any{"entryIDPrefix": "demo-cluster", "entryIDPrefixCleanup": ""}, false},
		{"our prefix", map[string]any{"entryIDPrefix": "spire-injector"}, true},
		{"our prefix and a dot", map[string]any{"entryIDPrefix": "spire-injector."}, true},
		{"our prefix and cluster", map[string]any{"entryIDPrefix": "spire-injector.demo-cluster"}, true},
		{"clean-up of our prefix", map[string]any{"entryIDPrefix": "demo-cluster", "entryIDPrefixCleanup": "spire-injector"}, true},
		{"clean-up of our prefix and cluster", map[string]any{"entryIDPrefix": "demo-cluster", "entryIDPrefixCleanup": "spire-injector.demo-cluster"}, true},
		{"no prefix", nil, true},
		{"no prefix and no entries", map[string]any{"reconcile": map[string]any{"clusterFederatedTrustDomains": true}}, false},
		{"no prefix and static entries", map[string]any{"reconcile": map[string]any{"clusterStaticEntries": true}}, true},
		{"no prefix in another trust domain", map[string]any{"trustDomain": "other.org"}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			config := map[string]any{"apiVersion": "spire.spiffe.io/v1alpha1", "kind": "ControllerManagerConfig", "clusterName": "demo-cluster", "trustDomain": "example.org"}
			maps.Copy(config, tt.config)
			text, err := json.Marshal(config)
			if err != nil {
				t.Fatal(err)
			}
			c := healthy(t)
			c.add(t, manager(), configMap("manager", "manager-config", "config.json", string(text)))
			findings := Judge(c.gather(t))
			status := OK
			if tt.deletes {
				status = Error
			}
			if !has(findings, "spire-controller-manager", status, "manager") || has(findings, "spire-controller-manager", OK, "") == tt.deletes {
				t.Errorf("expected %s, got %+v", status, findings)
			}
		})
	}
}

// What it works by cannot be seen: no clean bill of health.
func TestControllerManagerWithoutConfiguration(t *testing.T) {
	t.Parallel()
	c := healthy(t)
	c.add(t, manager())
	if findings := Judge(c.gather(t)); !has(findings, "spire-controller-manager", Warning, "Deployment manager/manager: its configuration cannot be read") {
		t.Errorf("got %+v", findings)
	}
}

// manager is a spire-controller-manager beside another container.
func manager() *appsv1.Deployment {
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: "manager", Name: "manager"},
		Spec: appsv1.DeploymentSpec{Template: corev1.PodTemplateSpec{Spec: corev1.PodSpec{
			Containers: []corev1.Container{
				{Name: "other", Image: "other"},
				{
					Name: "manager", Image: "registry.example.org:5000/spiffe/spire-controller-manager:0.7.0@sha256:abc", Args: []string{"--config=/etc/manager/config.json"},
					VolumeMounts: []corev1.VolumeMount{{Name: "config", MountPath: "/etc/manager"}},
				},
			},
			Volumes: []corev1.Volume{{Name: "config", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{
				LocalObjectReference: corev1.LocalObjectReference{Name: "manager-config"},
			}}}},
		}}},
	}
}

// SPIRE's Helm charts (spire 0.30.0) run it beside the server, with its file in the root of the container, by a
// relative path.
func TestControllerManagerOfCharts(t *testing.T) {
	t.Parallel()
	const settings = "kind: ControllerManagerConfig\nclusterName: demo-cluster\ntrustDomain: example.org\n"
	for text, status := range map[string]Status{settings + "entryIDPrefix: demo-cluster\n": OK, settings: Error} {
		c := healthy(t)
		c.set(t, configMap("spire-injector", "spire-injector-config", "config.yaml",
			strings.Replace(file(t, "injector/base/config.yaml"), "spire-server.spire:8081", "spire-server.spire-mgmt:443", 1)))
		c.add(t, serverOfCharts(), configMap("spire-mgmt", "spire-controller-manager", "controller-manager-config.yaml", text))
		findings := Judge(c.gather(t))
		if !has(findings, "spire-controller-manager", status, "ConfigMap spire-mgmt/spire-controller-manager, controller-manager-config.yaml: ") {
			t.Errorf("expected %s, got %+v", status, findings)
		}
		if has(findings, "spire-controller-manager", Warning, "") {
			t.Errorf("expected its settings to be read, got %+v", findings)
		}
	}
}

// serverOfCharts is what the charts render of the SPIRE server, without what has nothing to do with files.
func serverOfCharts() *appsv1.StatefulSet {
	configMapNamed := func(name string) corev1.VolumeSource {
		return corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: name}}}
	}
	empty := corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}
	labels := map[string]string{"app.kubernetes.io/name": "server", "app.kubernetes.io/instance": "spire", "app.kubernetes.io/component": "server"}
	return &appsv1.StatefulSet{
		ObjectMeta: metav1.ObjectMeta{Namespace: "spire-mgmt", Name: "spire-server"},
		Spec: appsv1.StatefulSetSpec{Replicas: new(int32(1)), Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: corev1.PodSpec{
			Containers: []corev1.Container{
				{
					Name: "spire-server", Image: "ghcr.io/spiffe/spire-server:1.15.3", Args: []string{"-expandEnv", "-config", "/run/spire/config/server.conf"},
					VolumeMounts: []corev1.VolumeMount{
						{Name: "spire-server-socket", MountPath: "/tmp/spire-server/private"},
						{Name: "spire-config", MountPath: "/run/spire/config", ReadOnly: true},
						{Name: "spire-data", MountPath: "/run/spire/data"},
						{Name: "server-tmp", MountPath: "/tmp"},
					},
				},
				{
					Name: "spire-controller-manager", Image: "ghcr.io/spiffe/spire-controller-manager:0.7.0", Args: []string{"--config=controller-manager-config.yaml"},
					VolumeMounts: []corev1.VolumeMount{
						{Name: "spire-server-socket", MountPath: "/tmp/spire-server/private", ReadOnly: true},
						{Name: "controller-manager-config", MountPath: "/controller-manager-config.yaml", SubPath: "controller-manager-config.yaml", ReadOnly: true},
						{Name: "spire-controller-manager-tmp", MountPath: "/tmp", SubPath: "spire-controller-manager"},
					},
				},
			},
			Volumes: []corev1.Volume{
				{Name: "server-tmp", VolumeSource: empty},
				{Name: "spire-config", VolumeSource: configMapNamed("spire-server")},
				{Name: "spire-server-socket", VolumeSource: empty},
				{Name: "spire-controller-manager-tmp", VolumeSource: empty},
				{Name: "controller-manager-config", VolumeSource: configMapNamed("spire-controller-manager")},
			},
		}}},
	}
}
