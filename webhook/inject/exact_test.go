package inject

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/spire-injector/spire-injector/templates"
	"github.com/spire-injector/spire-injector/webhook/intent"
	"github.com/spire-injector/spire-injector/webhook/webhooktest"
)

// alterations are all that can be done to a value of an API type at one place, by that place: another value, one where
// there is none, one more in a list or map, and none where there is one. Undo is called after each.
func alterations(path string, v reflect.Value, yield func(path string)) {
	set := func(path string, value reflect.Value) {
		was := reflect.New(v.Type()).Elem()
		was.Set(v)
		v.Set(value)
		yield(path)
		v.Set(was)
	}
	switch v.Kind() {
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[resource.Quantity]() {
			set(path, reflect.ValueOf(resource.MustParse("12345")))
			return
		}
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() {
				alterations(path+"."+f.Name, v.Field(i), yield)
			}
		}
	case reflect.Pointer:
		if v.IsNil() {
			set(path, something(v.Type()))
			return
		}
		set(path+" none", reflect.Zero(v.Type()))
		alterations(path, v.Elem(), yield)
	case reflect.Slice:
		set(path+" more", reflect.Append(clone(v), something(v.Type().Elem())))
		for i := range v.Len() {
			set(fmt.Sprintf("%s[%d] less", path, i), slicesWithout(v, i))
			alterations(fmt.Sprintf("%s[%d]", path, i), v.Index(i), yield)
		}
	case reflect.Map:
		with := reflect.MakeMap(v.Type())
		for _, key := range v.MapKeys() {
			with.SetMapIndex(key, v.MapIndex(key))
		}
		with.SetMapIndex(something(v.Type().Key()), something(v.Type().Elem()))
		set(path+" more", with)
	case reflect.String:
		set(path, reflect.ValueOf(v.String()+"x").Convert(v.Type()))
	case reflect.Bool:
		set(path, reflect.ValueOf(!v.Bool()).Convert(v.Type()))
	default:
		set(path, reflect.ValueOf(v.Int()+1).Convert(v.Type()))
	}
}

// something is a value that is not the zero one.
func something(of reflect.Type) reflect.Value {
	v := reflect.New(of).Elem()
	switch of.Kind() {
	case reflect.Struct:
		if of == reflect.TypeFor[resource.Quantity]() {
			return reflect.ValueOf(resource.MustParse("1"))
		}
		if of == reflect.TypeFor[intstr.IntOrString]() {
			return reflect.ValueOf(intstr.FromInt32(1))
		}
		for i := range of.NumField() {
			if of.Field(i).IsExported() {
				v.Field(i).Set(something(of.Field(i).Type))
			}
		}
	case reflect.Pointer:
		v.Set(reflect.New(of.Elem()))
		v.Elem().Set(something(of.Elem()))
	case reflect.Slice:
		v = reflect.Append(v, something(of.Elem()))
	case reflect.Map:
		v.Set(reflect.MakeMap(of))
	case reflect.String:
		v.SetString("x")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Uint8:
		v.SetUint(1)
	default:
		v.SetInt(1)
	}
	return v
}

func clone(v reflect.Value) reflect.Value {
	return reflect.AppendSlice(reflect.MakeSlice(v.Type(), 0, v.Len()+1), v)
}

func slicesWithout(v reflect.Value, i int) reflect.Value {
	return reflect.AppendSlice(reflect.AppendSlice(reflect.MakeSlice(v.Type(), 0, v.Len()), v.Slice(0, i)), v.Slice(i+1, v.Len()))
}

// everything is pods that together have all containers and volumes that injection makes.
func everything(t *testing.T, injector Injector) map[string]*corev1.Pod {
	t.Helper()
	sidecar := webhooktest.Server()
	sidecar.Annotations = map[string]string{
		intent.AnnotationInbound: "[{listen: 8443, app: 8080, peers: [/web], jwt: {subjects: [/web]}}, " +
			"{listen: 9443, app: 9080, certificate: {secret: web}, clientCertificate: none}]",
		intent.AnnotationUpstreams: `[{listen: 8000, address: "db.example.org:443", tls: {ca: {secret: db}}}]`,
	}
	gateway := webhooktest.Server()
	gateway.Annotations = map[string]string{
		intent.AnnotationMode:      "gateway",
		intent.AnnotationInbound:   "[{listen: 8443, tls: none}]",
		intent.AnnotationUpstreams: `[{match: /, address: "db.demo.svc:8443", peers: [/db]}]`,
	}
	gateway.Spec.Containers = []corev1.Container{{Name: intent.SidecarName, Image: imageAuto}}
	files := webhooktest.Server()
	files.Annotations[intent.AnnotationMode] = "sidecar,files"
	files.Spec.SecurityContext = &corev1.PodSecurityContext{RunAsUser: new(int64(999))}
	pods := map[string]*corev1.Pod{"sidecar": sidecar, "gateway": gateway, "files": files}
	for name, pod := range pods {
		res, err := injector.Inject(intent.Namespace{Name: "demo"}, pod)
		if err != nil {
			t.Fatal(err)
		}
		pods[name] = res.Pod
		for c := range intent.ContainersOf(res.Pod) { // as the API server stores them
			if IsOurContainer(c.Name) {
				*c = defaulted(*c)
			}
		}
		for i, v := range res.Pod.Spec.Volumes {
			res.Pod.Spec.Volumes[i] = defaultedVolume(v)
		}
		for _, decide := range []func(intent.Namespace, *corev1.Pod) (Result, error){
			injector.Validate, injector.ValidateCreated, injector.Create, // which may remember the pod
		} {
			if _, err := decide(intent.Namespace{Name: "demo"}, res.Pod); err != nil {
				t.Fatal(err)
			}
		}
	}
	return pods
}

// Whatever the API has for a container or a volume, of ours nothing of it can be added, changed or taken away.
func TestNothingOfOursCanBeAltered(t *testing.T) {
	injector := Injector{Platform: webhooktest.Platform(t)}
	injector.Platform.Sidecar.JWT.Image = "injector:1"
	injector.Platform.Sidecar.Resources.Limits = corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("64Mi")}
	kept := templates.NewCache(1 << 20) // the same again and again
	injector.Generate, injector.Keep = kept.Generate, kept.Keep
	injector.Decisions = NewDecisions()
	// Of no effect: one capability beside all, and what the API server writes again. The others are the user's to write.
	without := map[string]bool{
		".SecurityContext.Capabilities.Drop more":    true,
		".SecurityContext.ProcMount none":            true,
		".VolumeSource.DownwardAPI.DefaultMode none": true,
		".VolumeSource.Projected.DefaultMode none":   true,
		".VolumeSource.Secret.DefaultMode none":      true,
	}
	gatewaysOwn := []string{".Ports", ".Resources", ".ImagePullPolicy"}
	tried := map[string]bool{}
	for name, pod := range everything(t, injector) {
		refused := func(what, path string) {
			tried[what] = true
			own := name == "gateway" && slices.ContainsFunc(gatewaysOwn, func(f string) bool { return strings.HasPrefix(path, f) })
			if without[path] || own {
				return
			}
			if res, err := injector.ValidateCreated(intent.Namespace{Name: "demo"}, pod); err == nil {
				t.Errorf("%s, %s%s: expected a refusal, got %s, remembered=%t", name, what, path, res.Reason, res.Remembered)
			}
			if res, err := injector.Create(intent.Namespace{Name: "demo"}, pod); err == nil {
				t.Errorf("%s, %s%s: expected a refusal of the mutating side, got %s", name, what, path, res.Reason)
			}
		}
		for c := range intent.ContainersOf(pod) {
			if IsOurContainer(c.Name) {
				what := "container " + c.Name
				alterations("", reflect.ValueOf(c).Elem(), func(path string) { refused(what, path) })
			}
		}
		for i := range pod.Spec.Volumes {
			what := "volume " + pod.Spec.Volumes[i].Name
			alterations("", reflect.ValueOf(&pod.Spec.Volumes[i]).Elem(), func(path string) { refused(what, path) })
		}
	}
	want := []string{
		"container envoy", "container spiffe-files", "container spiffe-jwt", "volume spiffe-agent-socket", "volume spiffe-ca",
		"volume spiffe-certificate", "volume spiffe-envoy-config", "volume spiffe-files", "volume spiffe-jwt",
	}
	if got := slices.Sorted(maps.Keys(tried)); !slices.Equal(got, want) {
		t.Errorf("expected to try %q, got %q", want, got)
	}
}

// No container but ours mounts a volume of ours, in whatever way, unless injection made it so.
func TestAppsMountNoVolumeOfOurs(t *testing.T) {
	injector := Injector{Platform: webhooktest.Platform(t)}
	injector.Platform.Sidecar.JWT.Image = "injector:1"
	injector.Decisions = NewDecisions()
	const where = "/run/spire/sockets"
	for name, pod := range everything(t, injector) {
		for _, v := range pod.Spec.Volumes {
			for _, path := range []string{where, "/mine"} {
				arrived := pod.DeepCopy()
				mount := []corev1.VolumeMount{{Name: v.Name, MountPath: path, ReadOnly: true}}
				arrived.Spec.InitContainers = append(arrived.Spec.InitContainers, corev1.Container{Name: "mine", VolumeMounts: mount})
				for side, decide := range map[string]func(intent.Namespace, *corev1.Pod) (Result, error){
					"injecting": injector.Create, "validating": injector.ValidateCreated,
				} {
					if _, err := decide(intent.Namespace{Name: "demo"}, arrived); err == nil {
						t.Errorf("%s, %s: a mount of %s at %s: expected a refusal", name, side, v.Name, path)
					}
				}
			}
		}
	}
	fresh := webhooktest.Server()
	fresh.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: SocketVolume, MountPath: "/mine"}}
	_, err := injector.Inject(intent.Namespace{Name: "demo"}, fresh)
	wantRefusal(t, err, "Invalid", "container app, volumeMounts[0]: spiffe-agent-socket is an injected volume")
}

// What common webhooks add to all containers is taken away from ours, and another one's container comes after ours.
func TestInjectAgainTidiesUp(t *testing.T) {
	injector := Injector{Platform: webhooktest.Platform(t)}
	for name, want := range everything(t, Injector{Platform: injector.Platform, Version: "test"}.withJWT()) {
		arrived := want.DeepCopy()
		for c := range intent.ContainersOf(arrived) {
			c.Env = append(c.Env, corev1.EnvVar{Name: "AWS_ROLE_ARN"}, corev1.EnvVar{Name: "AZURE_CLIENT_ID"})
			c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: "aws-iam-token", MountPath: "/var/run/secrets/eks"})
		}
		other := corev1.Container{Name: "other", Image: "other"}
		if name != "gateway" {
			arrived.Spec.InitContainers = append([]corev1.Container{other}, arrived.Spec.InitContainers...)
		}
		res, err := injector.withJWT().Inject(intent.Namespace{Name: "demo"}, arrived)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := injector.withJWT().Validate(intent.Namespace{Name: "demo"}, res.Pod); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		var patched corev1.Pod
		if err := json.Unmarshal(applied(t, encoded(arrived), Patch(arrived, res.Pod)), &patched); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(asJSON(res.Pod), asJSON(&patched)); diff != "" {
			t.Errorf("%s: the patched pod is not the one that was decided (-want +got):\n%s", name, diff)
		}
		for c := range intent.ContainersOf(res.Pod) {
			if isOurs := IsOurContainer(c.Name); c.Name != "other" && isOurs == (len(c.Env) > 0) {
				t.Errorf("%s, container %s has the variables %v", name, c.Name, c.Env)
			}
		}
	}
}

func (i Injector) withJWT() Injector {
	i.Platform.Sidecar.JWT.Image = "injector:1"
	return i
}
