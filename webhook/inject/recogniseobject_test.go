package inject

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/spire-injector/spire-injector/webhook/intent"
)

// asObject is a pod as the API server writes it.
func asObject(t *testing.T, pod *corev1.Pod) string {
	t.Helper()
	object, err := json.Marshal(pod)
	if err != nil {
		t.Fatal(err)
	}
	return string(object)
}

// injectedReplica is what the mutating webhook makes of a replica.
func injectedReplica(t *testing.T, i Injector, n int) *corev1.Pod {
	t.Helper()
	res, err := i.Inject(intent.Namespace{Name: "demo"}, replica(n))
	if err != nil {
		t.Fatal(err)
	}
	return res.Pod
}

func TestReplicasAreValidatedWithoutDecoding(t *testing.T) {
	injector, demo := remembering(t), intent.Namespace{Name: "demo"}
	decoded := 0
	for n := range 3 {
		pod := injectedReplica(t, injector, n)
		res, err := injector.ValidateObject(demo, []byte(asObject(t, pod)), func() (*corev1.Pod, error) {
			decoded++
			return pod, nil
		})
		want, _ := injector.ValidateCreated(demo, pod)
		if err != nil || res.Remembered != (n > 0) || !reflect.DeepEqual(res.Decision, want.Decision) {
			t.Errorf("replica %d: remembered=%t, expected %+v, got %+v (%v)", n, res.Remembered, want.Decision, res.Decision, err)
		}
	}
	if decoded != 1 {
		t.Errorf("expected one pod to be decoded, got %d", decoded)
	}
	tampered := injectedReplica(t, injector, 3)
	tampered.Spec.InitContainers[0].Args = append(tampered.Spec.InitContainers[0].Args, "--more")
	for range 2 {
		res, err := injector.ValidateObject(demo, []byte(asObject(t, tampered)),
			func() (*corev1.Pod, error) { return tampered, nil })
		if err == nil || res.Remembered {
			t.Errorf("a replica with another argument: remembered=%t, expected a denial", res.Remembered)
		}
	}
	if res, err := injector.ValidateObject(intent.Namespace{Name: "other"}, []byte(asObject(t, injectedReplica(t, injector, 4))),
		func() (*corev1.Pod, error) { return nil, errors.New("decoded") }); err == nil {
		t.Errorf("in another namespace: expected it to be decoded, got %+v", res)
	}
}

// What differs for decisions differs in JSON, and what only says which replica it is does not.
func TestObjectsOfOneRecognitionDecodeToOne(t *testing.T) {
	demo := intent.Namespace{Name: "demo"}
	pod := injectedReplica(t, Injector{Platform: remembering(t).Platform}, 1)
	base, ok := recognitionOfObject(demo, []byte(asObject(t, pod)))
	if !ok {
		t.Fatal("the object is not recognised")
	}
	of := func(object string) (of recognition, like recognition, ok bool) {
		var decoded corev1.Pod
		if err := json.Unmarshal([]byte(object), &decoded); err != nil {
			return recognition{}, recognition{}, false
		}
		of, ok = recognitionOfObject(demo, []byte(object))
		like, _ = recognitionOf(demo, likeItsReplicas(&decoded))
		return of, like, ok
	}
	_, wanted, _ := of(asObject(t, pod))
	other := injectedReplica(t, Injector{Platform: remembering(t).Platform}, 2)
	if got, _, ok := of(asObject(t, other)); !ok || got != base {
		t.Error("another replica: expected the same recognition")
	}
	tried := 0
	check := func(what, object string) {
		tried++
		if got, like, ok := of(object); ok && got == base && like != wanted {
			t.Errorf("%s: expected another recognition, as of the pod that it decodes to", what)
		}
	}
	like := likeItsReplicas(pod)
	for path, of := range map[string]any{"spec": &like.Spec, "labels": &like.Labels, "annotations": &like.Annotations} {
		alterations(path, reflect.ValueOf(of).Elem(), func(path string) {
			if object, err := json.Marshal(like); err == nil { // some are altered to what cannot be written
				check(path, string(object))
			}
		})
	}
	if tried < 100 {
		t.Errorf("expected more to be altered than %d fields", tried)
	}
	// What no API server writes.
	text, token := asObject(t, pod), fmt.Sprintf("%s%05d", tokenVolumePrefix, 1)
	renamed := strings.Replace(text, token, tokenVolumePrefix+"00002", 1) // the volume, and not where it is mounted
	for what, object := range map[string]string{
		"the volume alone":   renamed,
		"the volume escaped": strings.Replace(text, token, tokenVolumePrefix+`0000\u0032`, 1),
		"escaped to five":    strings.ReplaceAll(text, token, tokenVolumePrefix+`000\n`),
		"a key escaped":      strings.Replace(renamed, `"volumes":[{"name"`, `"volumes":[{"n\u0061me"`, 1),
		"two of them":        strings.Replace(text, `"volumes":[`, `"volumes":[{"name":"`+tokenVolumePrefix+`00002"},`, 1),
		"the last of two":    strings.Replace(renamed, `"volumes":[`, `"volumes":[{"name":"`+tokenVolumePrefix+`00001"},`, 1),
		"something moved":    strings.Replace(text, `"labels":{`, `"labels":{},"annotations":{`, 1),
		"more behind it":     text + "{}",
		"cut":                text[:len(text)-1],
		"nothing":            "",
		"a field twice":      strings.Replace(text, `"spec":{`, `"spec":{},"spec":{`, 1),
		"no spec":            strings.Replace(text, `"spec":{`, `"spec":null,"more":{`, 1),
		"no list":            strings.Replace(text, `"volumes":[`, `"volumes":null,"more":[`, 1),
	} {
		if object == text {
			t.Errorf("%s: nothing was altered", what)
		}
		if got, ok := recognitionOfObject(demo, []byte(object)); ok && got == base {
			t.Errorf("%s: expected another recognition", what)
		}
	}
	two := strings.Replace(text, `"volumes":[`, `"volumes":[{"name":"`+tokenVolumePrefix+`00002"},`, 1)
	if _, ok := recognitionOfObject(demo, []byte(two)); ok {
		t.Error("with two volumes of which either could be the token's: expected no recognition")
	}
	if got, ok := recognitionOfObject(intent.Namespace{Name: "other"}, []byte(text)); !ok || got == base {
		t.Error("in another namespace: expected another recognition")
	}
}
