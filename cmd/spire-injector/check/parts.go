package check

import (
	"path"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// part is a program that the injector lives with.
type part struct {
	image string // name of its image, whoever's registry it is from
	// config is where it looks for its configuration, unless the flag -config says otherwise.
	config string
	// directory is where its image starts it.
	directory string
	// command is the subcommand by which its program does this, where it can do other things too.
	command string
}

func serverPart() part  { return part{"spire-server", "conf/server/server.conf", "/opt/spire", "run"} }
func agentPart() part   { return part{"spire-agent", "conf/agent/agent.conf", "/opt/spire", "run"} }
func managerPart() part { return part{"spire-controller-manager", "", "/", ""} }

// in finds the part's container. In SPIRE's own namespace the label app.kubernetes.io/name finds it too, for images
// of other names.
func (p part) in(spec corev1.PodSpec, labels map[string]string) (corev1.Container, bool) {
	for _, c := range spec.Containers {
		if imageName(c.Image) == p.image && p.isRun(c) {
			return c, true
		}
	}
	if labels["app.kubernetes.io/name"] == p.image {
		for _, c := range spec.Containers {
			if (c.Name == p.image || len(spec.Containers) == 1) && p.isRun(c) {
				return c, true
			}
		}
	}
	return corev1.Container{}, false
}

// isRun says whether a container of the part's image runs it, which the image does unless its command says otherwise.
// Some are workloads that only use the program to call an agent.
func (p part) isRun(c corev1.Container) bool {
	words := strings.Fields(strings.Join(slices.Concat(c.Command, c.Args), " "))
	return p.command == "" || len(c.Command) == 0 || slices.Contains(words, p.command)
}

// configPath is where the part's configuration is in its container, if it has any.
func (p part) configPath(spec corev1.PodSpec, c corev1.Container) string {
	file, ok := argument(slices.Concat(c.Command, c.Args), "config")
	if !ok {
		file = p.config
	}
	if file == "" || path.IsAbs(file) {
		return file
	}
	return p.resolve(spec, c, file)
}

// resolve finds a relative path where the container starts. If that is for its image to say, which may be anybody's,
// it is where a ConfigMap is mounted that has such a file.
func (p part) resolve(spec corev1.PodSpec, c corev1.Container, file string) string {
	if c.WorkingDir != "" {
		return path.Join(c.WorkingDir, file)
	}
	for _, directory := range []string{p.directory, "/"} {
		if _, _, ok := configMapOf(spec, c.Name, path.Join(directory, file)); ok {
			return path.Join(directory, file)
		}
	}
	for _, m := range c.VolumeMounts {
		if strings.HasSuffix(path.Clean(m.MountPath), "/"+path.Clean(file)) {
			return m.MountPath
		}
	}
	return path.Join(p.directory, file)
}

// imageName is an image's name without registry, folders, tag and digest.
func imageName(image string) string {
	name, _, _ := strings.Cut(image, "@")
	name = path.Base(name)
	name, _, _ = strings.Cut(name, ":")
	return name
}
