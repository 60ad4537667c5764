package check

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// A relative path is resolved as the container's own start would.
func TestConfigPath(t *testing.T) {
	t.Parallel()
	mounts := func(paths ...string) (out []corev1.VolumeMount) {
		for _, p := range paths {
			out = append(out, corev1.VolumeMount{Name: "config", MountPath: p})
		}
		return out
	}
	for name, tt := range map[string]struct {
		part part
		c    corev1.Container
		want string
	}{
		"an absolute path":              {managerPart(), corev1.Container{Args: []string{"--config=/etc/a.yaml"}, WorkingDir: "/run"}, "/etc/a.yaml"},
		"no flag, with a default":       {serverPart(), corev1.Container{VolumeMounts: mounts("/opt/spire/conf/server")}, "/opt/spire/conf/server/server.conf"},
		"no flag, in another directory": {agentPart(), corev1.Container{WorkingDir: "/srv", VolumeMounts: mounts("/opt/spire/conf/agent")}, "/srv/conf/agent/agent.conf"},
		"no flag and no default":        {managerPart(), corev1.Container{}, ""},
		"in the root of the container": {
			managerPart(), corev1.Container{Args: []string{"--config=a.yaml"}, VolumeMounts: mounts("/etc/other", "/a.yaml")}, "/a.yaml"},
		"in the directory of SPIRE's image": {
			serverPart(), corev1.Container{Args: []string{"-config", "conf/a.conf"}, VolumeMounts: mounts("/conf", "/opt/spire/conf")}, "/opt/spire/conf/a.conf"},
		"in the root, with another image of SPIRE": {
			serverPart(), corev1.Container{Args: []string{"-config", "conf/a.conf"}, VolumeMounts: mounts("/conf")}, "/conf/a.conf"},
		"where the container is told to start": {
			managerPart(), corev1.Container{Args: []string{"--config=a.yaml"}, WorkingDir: "/srv", VolumeMounts: mounts("/a.yaml")}, "/srv/a.yaml"},
		"where the one file is mounted": {
			managerPart(), corev1.Container{Args: []string{"--config=conf/a.yaml"}, VolumeMounts: mounts("/elsewhere/conf/ba.yaml", "/app/conf/a.yaml")}, "/app/conf/a.yaml"},
		"nowhere": {managerPart(), corev1.Container{Args: []string{"--config=a.yaml"}, VolumeMounts: mounts("/etc/other")}, "/a.yaml"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tt.c.Name = "c"
			spec := corev1.PodSpec{Containers: []corev1.Container{tt.c}, Volumes: []corev1.Volume{{
				Name: "config", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{}},
			}}}
			if got := tt.part.configPath(spec, tt.c); got != tt.want {
				t.Errorf("expected %q, got %q", tt.want, got)
			}
		})
	}
}

// Workloads that have SPIRE's image to call an agent are no agents.
func TestPartsThatRun(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		part part
		c    corev1.Container
		want bool
	}{
		"as the image does":       {agentPart(), corev1.Container{Args: []string{"-config", "a.conf"}}, true},
		"by a command":            {agentPart(), corev1.Container{Command: []string{"/opt/spire/bin/spire-agent", "run"}, Args: []string{"-config", "a.conf"}}, true},
		"by a shell":              {serverPart(), corev1.Container{Command: []string{"sh", "-c"}, Args: []string{"exec spire-server run -config a.conf"}}, true},
		"a call of an agent":      {agentPart(), corev1.Container{Command: []string{"/opt/spire/bin/spire-agent", "api", "watch"}}, false},
		"something that waits":    {agentPart(), corev1.Container{Command: []string{"sleep"}, Args: []string{"infinity"}}, false},
		"a controller manager":    {managerPart(), corev1.Container{Command: []string{"/spire-controller-manager"}}, true},
		"a server that is called": {serverPart(), corev1.Container{Command: []string{"spire-server", "entry", "show"}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tt.c.Name, tt.c.Image = "c", "spiffe/"+tt.part.image+":1.15.3"
			for image, labels := range map[string]map[string]string{tt.c.Image: nil, "registry.example.org/own:1": {"app.kubernetes.io/name": tt.part.image}} {
				tt.c.Image = image
				if _, got := tt.part.in(corev1.PodSpec{Containers: []corev1.Container{tt.c}}, labels); got != tt.want {
					t.Errorf("%s: expected %t", image, tt.want)
				}
			}
		})
	}
}
