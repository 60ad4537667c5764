package inject

import (
	"reflect"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"

	"github.com/spire-injector/spire-injector/webhook/intent"
)

// sameContainer finds in what the container of a name, if there is one, did not arrive as it is in the injected pod. It
// is compared as a whole, so that also what a later version of the API knows is an addition: one more argument, variable
// or mount would make another program of it.
func sameContainer(arrived, injected *corev1.Pod, name string) []intent.Mistake {
	for arrived, injected := range containerLists(arrived, injected) {
		c := containerNamed(injected, name)
		if c == nil {
			continue
		}
		a := containerNamed(arrived, name)
		if a == nil {
			return []intent.Mistake{isAltered("container " + name)}
		}
		fields := differences(defaulted(*a), defaulted(withAdmission(*c, *a)))
		if len(fields) > 0 {
			return []intent.Mistake{isAltered("container " + name + ", " + strings.Join(fields, ", "))}
		}
	}
	return nil
}

// differences are the fields, as JSON names them, in which two values of an API type differ. Nothing and an empty list
// are the same, and so are quantities that are spelt otherwise.
func differences[T any](a, b T) []string {
	var fields []string
	va, vb := reflect.ValueOf(a), reflect.ValueOf(b)
	for i := range va.NumField() {
		if !equality.Semantic.DeepEqual(va.Field(i).Interface(), vb.Field(i).Interface()) {
			name, _, _ := strings.Cut(va.Type().Field(i).Tag.Get("json"), ",")
			fields = append(fields, name)
		}
	}
	return fields
}

// IsOurContainer says whether injection gives a container its name.
func IsOurContainer(name string) bool { return slices.Contains(ourContainers, name) }

// ourContainers are the names of all that injection adds, in the order in which they start.
var ourContainers = []string{intent.CaptureName, intent.FilesName, intent.JWTName, intent.SidecarName}

// sameOrder finds our containers where they are not before all others: these would start without mutual TLS.
func sameOrder(arrived, injected *corev1.Pod) []intent.Mistake {
	var mistakes []intent.Mistake
	for arrived, injected := range containerLists(arrived, injected) {
		for n, c := range injected {
			if !IsOurContainer(c.Name) {
				break
			}
			if at := indexOf(arrived, c.Name); at >= 0 && at != n {
				m := isAltered("container " + c.Name)
				m.What = "is not before the pod's other containers"
				mistakes = append(mistakes, m)
			}
		}
	}
	return mistakes
}

func indexOf(containers []corev1.Container, name string) int {
	return slices.IndexFunc(containers, func(c corev1.Container) bool { return c.Name == name })
}

// sameMounts finds containers of the user's that mount a volume of ours otherwise than injection lets them.
func sameMounts(arrived, injected *corev1.Pod, volume string) []intent.Mistake {
	mountsOf := func(c corev1.Container) []corev1.VolumeMount {
		return slices.DeleteFunc(slices.Clone(c.VolumeMounts), func(m corev1.VolumeMount) bool { return m.Name != volume })
	}
	var mistakes []intent.Mistake
	for arrived, injected := range containerLists(arrived, injected) {
		for _, a := range arrived {
			var want []corev1.VolumeMount
			if c := containerNamed(injected, a.Name); c != nil {
				want = mountsOf(*c)
			}
			if !IsOurContainer(a.Name) && !equality.Semantic.DeepEqual(mountsOf(a), want) {
				mistakes = append(mistakes, isAltered("container "+a.Name+", mounts of volume "+volume))
			}
		}
	}
	return mistakes
}
