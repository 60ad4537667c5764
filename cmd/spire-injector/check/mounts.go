package check

import (
	"path"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// mountOf finds the volume that holds a path of a container, and where in the volume.
func mountOf(spec corev1.PodSpec, container, file string) (volume corev1.Volume, within string, ok bool) {
	var best corev1.VolumeMount
	for _, c := range append(append([]corev1.Container{}, spec.InitContainers...), spec.Containers...) {
		if c.Name != container {
			continue
		}
		for _, m := range c.VolumeMounts {
			if _, inside := below(m.MountPath, file); inside && len(m.MountPath) > len(best.MountPath) {
				best = m
			}
		}
	}
	for _, v := range spec.Volumes {
		if best.Name != "" && v.Name == best.Name {
			rest, _ := below(best.MountPath, file)
			return v, path.Join(best.SubPath, rest), true
		}
	}
	return corev1.Volume{}, "", false
}

// below is a path seen from a folder, if it is in it.
func below(folder, file string) (string, bool) {
	folder, file = path.Clean(folder), path.Clean(file)
	if folder == file {
		return "", true
	}
	return strings.CutPrefix(file, strings.TrimSuffix(folder, "/")+"/")
}

// configMapOf finds the ConfigMap, and the key in it, that is a file of a container.
func configMapOf(spec corev1.PodSpec, container, file string) (name, key string, ok bool) {
	volume, within, ok := mountOf(spec, container, file)
	if !ok {
		return "", "", false
	}
	if c := volume.ConfigMap; c != nil {
		if key, ok := keyOf(c.Items, within); ok {
			return c.Name, key, true
		}
	}
	if volume.Projected != nil {
		for _, source := range volume.Projected.Sources {
			if c := source.ConfigMap; c != nil {
				if key, ok := keyOf(c.Items, within); ok {
					return c.Name, key, true
				}
			}
		}
	}
	return "", "", false
}

func keyOf(items []corev1.KeyToPath, within string) (string, bool) {
	for _, item := range items {
		if item.Path == within {
			return item.Key, true
		}
	}
	return within, len(items) == 0 && within != ""
}

// hostPathOf is the path on the node of a path in a container, if it is of the node.
func hostPathOf(spec corev1.PodSpec, container, file string) (string, bool) {
	volume, within, ok := mountOf(spec, container, file)
	if !ok || volume.HostPath == nil {
		return "", false
	}
	return path.Join(volume.HostPath.Path, within), true
}

// argument is the value of a flag, written with one dash or two, and after a blank or an equals sign.
func argument(args []string, flag string) (string, bool) {
	for i, arg := range args {
		name, value, joined := strings.Cut(strings.TrimLeft(arg, "-"), "=")
		switch {
		case !strings.HasPrefix(arg, "-") || name != flag:
		case joined:
			return value, true
		case i+1 < len(args):
			return args[i+1], true
		}
	}
	return "", false
}
