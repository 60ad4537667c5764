package inject

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/spire-injector/spire-injector/webhook/intent"
)

// filesVolumeSize is plenty for the bundles of many trust domains, twice, in the node's memory.
const filesVolumeSize = "8Mi"

// program is where the injector's image has its only one.
const program = "/spire-injector"

// whereFiles is the annotation that says more of the files.
const whereFiles = "annotation " + intent.AnnotationFiles

// filesPart is the container that keeps SVID, key and bundles as files, and the app's containers that see them.
var filesPart = part{
	mistakes: filesMistakes,
	wanted:   func(i injection) bool { return i.intent.Mode.Files },
	add:      addFiles,
	remove: func(pod *corev1.Pod, was Status) {
		if was.Files == "" {
			return
		}
		removeInitContainer(pod, intent.FilesName)
		for c := range intent.ContainersOf(pod) {
			c.VolumeMounts = slices.DeleteFunc(c.VolumeMounts, isFilesMount)
		}
	},
	same: func(arrived, injected *corev1.Pod) []intent.Mistake {
		return sameContainer(arrived, injected, intent.FilesName) // the mounts are those of the volume
	},
}

func isFilesMount(m corev1.VolumeMount) bool {
	return m.Name == FilesVolume && m.MountPath == intent.FilesMountPath
}

// addFiles puts the container in front of all others: the user's init containers have the files too. It has the user of
// those who read them, and nobody else can.
func addFiles(i injection, pod *corev1.Pod) {
	i.status.Files = intent.FilesName
	readers := i.readers(pod)
	user, _ := userOf(pod, readers[0])
	for _, c := range readers {
		mount := corev1.VolumeMount{Name: FilesVolume, MountPath: intent.FilesMountPath, ReadOnly: true}
		c.VolumeMounts = append(c.VolumeMounts, mount)
		i.status.Readers = append(i.status.Readers, c.Name)
	}
	security := restricted(user)
	security.RunAsNonRoot = new(user != 0)
	c := corev1.Container{
		Name:          intent.FilesName,
		Image:         i.filesImage(),
		Args:          i.filesArgs(),
		Resources:     i.intent.Sidecar.Files.Resources,
		RestartPolicy: new(corev1.ContainerRestartPolicyAlways),
		// Passes when all files have come. By a command, because a port would be one more for others to call, and taken in
		// pods on the node's network. No probe after the start: to run a command again and again costs more than what it
		// would find.
		StartupProbe: &corev1.Probe{
			ProbeHandler: corev1.ProbeHandler{
				Exec: &corev1.ExecAction{Command: []string{program, "files", "--check"}},
			},
			PeriodSeconds:    1,
			FailureThreshold: patience,
			TimeoutSeconds:   5,
		},
		SecurityContext: security,
		VolumeMounts: []corev1.VolumeMount{
			{Name: FilesVolume, MountPath: intent.FilesMountPath},
			{Name: SocketVolume, MountPath: intent.SocketMountPath, ReadOnly: true},
			{Name: FilesVolume, MountPath: serviceAccountDir, ReadOnly: true}, // as in Envoy's
		},
	}
	putFirst(pod, c)
}

// filesImage is empty when the platform names none.
func (i injection) filesImage() string {
	return cmp.Or(i.intent.Sidecar.Files.Image, i.intent.Sidecar.JWT.Image)
}

// filesArgs is the command line of that container.
func (i injection) filesArgs() []string {
	args := []string{"files", "--workload-api", workloadAPIAddress(i.Platform), "--spiffe-id", i.intent.ID.String()}
	for _, t := range i.intent.Files.Tokens {
		args = append(args, "--token", literal(t.File+"="+t.Audience))
	}
	if s := i.intent.Files.Signal; s.Name != "" {
		args = append(args, "--signal", s.Name, "--process", literal(s.Process))
	}
	return args
}

func filesVolume(i injection) *corev1.VolumeSource {
	if !i.intent.Mode.Files {
		return nil
	}
	return memoryVolume(filesVolumeSize)
}

// readers are the user's containers that see the files.
func (i injection) readers(pod *corev1.Pod) []*corev1.Container {
	var all []*corev1.Container
	for c := range intent.ContainersOf(pod) {
		if listed := i.intent.Files.Containers; !IsOurContainer(c.Name) && (listed == nil || slices.Contains(listed, c.Name)) {
			all = append(all, c)
		}
	}
	return all
}

// userOf is whom a container runs as, if that is known: otherwise its image says it, which nobody here reads.
func userOf(pod *corev1.Pod, c *corev1.Container) (int64, bool) {
	if s := c.SecurityContext; s != nil && s.RunAsUser != nil {
		return *s.RunAsUser, true
	}
	if s := pod.Spec.SecurityContext; s != nil && s.RunAsUser != nil {
		return *s.RunAsUser, true
	}
	return 0, false
}

func filesMistakes(i injection, pod *corev1.Pod) []intent.Mistake {
	mistakes := reserved(pod, intent.FilesName, "has the name of an injected container")
	if !i.intent.Mode.Files {
		return mistakes
	}
	where := "annotation " + intent.AnnotationMode
	if i.filesImage() == "" {
		mistakes = append(mistakes, intent.Mistake{
			Where: where,
			What:  "the platform file names no image that keeps files",
			Hint:  "ask the platform team to write sidecar.files.image, which is the injector's own, or remove files",
		})
	}
	if !i.Kubernetes.hasNativeSidecars() {
		mistakes = append(mistakes, intent.Mistake{
			Where: where,
			What: fmt.Sprintf("what keeps files has to start before the app, and Kubernetes %s has no native sidecars",
				i.Kubernetes),
			Hint: "use Kubernetes 1.29 or newer, or remove files",
		})
	}
	mistakes = append(mistakes, i.readerMistakes(pod)...)
	return append(mistakes, i.signalMistakes(pod)...)
}

// readerMistakes find files for containers that there are not, for users that nobody knows, or for several users.
func (i injection) readerMistakes(pod *corev1.Pod) []intent.Mistake {
	var mistakes []intent.Mistake
	readers := i.readers(pod)
	for n, name := range i.intent.Files.Containers {
		if !slices.ContainsFunc(readers, func(c *corev1.Container) bool { return c.Name == name }) {
			mistakes = append(mistakes, intent.Mistake{
				Where: fmt.Sprintf("%s.containers[%d]", whereFiles, n),
				What:  fmt.Sprintf("expected a container of the pod, got %q", name),
				Hint:  didYouMeanContainer(name, pod),
			})
		}
	}
	first := -1
	for n, c := range readers {
		mistakes = append(mistakes, filesMountMistakes(c)...)
		user, known := userOf(pod, c)
		if !known {
			mistakes = append(mistakes, intent.Mistake{
				Where: "container " + c.Name + ", securityContext.runAsUser",
				What:  "expected the user that the app runs as, who alone may read the files; nobody knows whom its image runs as",
				Hint: fmt.Sprintf("write runAsUser there or in spec.securityContext, or write %s: {containers: […]} "+
					"without this one", intent.AnnotationFiles),
			})
			continue
		}
		if first < 0 {
			first = n
			continue
		}
		if was, _ := userOf(pod, readers[first]); was != user {
			mistakes = append(mistakes, intent.Mistake{
				Where: "container " + c.Name + ", securityContext.runAsUser",
				What: fmt.Sprintf("expected %d, the user of container %s, who alone may read the files; got %d",
					was, readers[first].Name, user),
				Hint: fmt.Sprintf("let them run as one user, or write %s: {containers: [%s]}", intent.AnnotationFiles, c.Name),
			})
		}
	}
	return mistakes
}

func filesMountMistakes(c *corev1.Container) []intent.Mistake {
	var mistakes []intent.Mistake
	for _, m := range c.VolumeMounts {
		if path.Clean(m.MountPath) == intent.FilesMountPath {
			mistakes = append(mistakes, intent.Mistake{
				Where: "container " + c.Name + ", volumeMounts",
				What:  fmt.Sprintf("something is mounted at %s already, where the files go", intent.FilesMountPath),
				Hint:  "remove it",
			})
		}
	}
	return mistakes
}

func didYouMeanContainer(name string, pod *corev1.Pod) string {
	var names []string
	for c := range intent.ContainersOf(pod) {
		names = append(names, c.Name)
	}
	if near := intent.Nearest(name, names...); near != "" {
		return fmt.Sprintf("did you mean %q?", near)
	}
	return "write one of " + strings.Join(names, ", ")
}

// signalMistakes find a signal that would reach nobody, or others than the pod's own.
func (i injection) signalMistakes(pod *corev1.Pod) []intent.Mistake {
	s := i.intent.Files.Signal
	if s.Name == "" {
		return nil
	}
	where := whereFiles + ".signal"
	if pod.Spec.HostPID {
		return []intent.Mistake{{
			Where: where,
			What:  "with spec.hostPID it would reach every " + s.Process + " of the node",
			Hint:  "remove hostPID, or remove signal and let the app watch the files",
		}}
	}
	if share := pod.Spec.ShareProcessNamespace; share == nil || !*share {
		return []intent.Mistake{{
			Where: where,
			What:  "a signal reaches other containers only in a pod whose containers share their processes",
			Hint:  "write spec.shareProcessNamespace: true, or remove signal and let the app watch the files",
		}}
	}
	return nil
}
