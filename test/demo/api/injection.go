package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/spire-injector/spire-injector/test/demo/scene"
	"github.com/spire-injector/spire-injector/webhook/inject"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

// Injected is what the webhook made of the API's pod.
type Injected struct {
	StatusRan scene.Ran     `json:"-"`
	Status    inject.Status `json:"status"`

	ContainersRan scene.Ran `json:"-"`
	// Bytes of the generated Envoy configuration, in the pod's annotations.
	Bytes int `json:"configurationBytes"`

	EntryRan scene.Ran   `json:"-"`
	Entry    scene.Entry `json:"entry"`
}

// Injected looks at the pod and at its registration entry.
func (s stage) Injected(ctx context.Context) (Injected, error) {
	var in Injected
	pod, err := s.apiPod(ctx)
	if err != nil {
		return in, err
	}
	if in.StatusRan, err = s.Run(ctx, podField(`{.items[0].metadata.annotations.spiffe\.io/status}`)); err != nil {
		return in, err
	}
	if err := json.Unmarshal([]byte(in.StatusRan.Stdout), &in.Status); err != nil {
		return in, &scene.Mismatch{What: "annotation " + intent.AnnotationStatus, Expected: "JSON", Got: in.StatusRan.Stdout}
	}
	if in.ContainersRan, err = s.Run(ctx, inDemo("get", "pod", "-l", "app="+API, "-o", "custom-columns=INIT-CONTAINERS:.spec.initContainers[*].name,"+
		"RESTART-POLICY:.spec.initContainers[*].restartPolicy,CONTAINERS:.spec.containers[*].name,VOLUMES:.spec.volumes[*].name")); err != nil {
		return in, err
	}
	for _, key := range []string{intent.AnnotationBootstrap, intent.AnnotationListeners, intent.AnnotationClusters, intent.AnnotationAuthorization} {
		in.Bytes += len(pod.Annotations[key])
	}
	if err := checkPod(pod, in.Status); err != nil {
		return in, err
	}
	if in.EntryRan, err = s.Run(ctx, scene.EntriesCommand("-entryID", strings.Join(in.Status.EntryIDs, ","))); err != nil {
		return in, err
	}
	entries := scene.ParseEntries(in.EntryRan.Stdout)
	if len(entries) != 1 {
		return in, &scene.Mismatch{What: "SPIRE's entries " + strings.Join(in.Status.EntryIDs, ", "), Expected: "one", Got: in.EntryRan.Stdout}
	}
	in.Entry = entries[0]
	return in, checkEntry(in.Entry, pod.Labels[intent.LabelIdentity])
}

// checkPod holds the pod against what the story says of it.
func checkPod(pod corev1.Pod, status inject.Status) error {
	var errs []error
	claim := func(what string, ok bool, expected, got string) {
		if !ok {
			errs = append(errs, &scene.Mismatch{What: "pod " + pod.Name + ": " + what, Expected: expected, Got: got})
		}
	}
	claim("identity", status.SPIFFEID == ID(API), ID(API), status.SPIFFEID)
	first := corev1.Container{}
	if len(pod.Spec.InitContainers) > 0 {
		first = pod.Spec.InitContainers[0]
	}
	claim("first init container", first.Name == scene.Sidecar, scene.Sidecar, first.Name)
	native := first.RestartPolicy != nil && *first.RestartPolicy == corev1.ContainerRestartPolicyAlways
	claim("its restartPolicy", native, "Always, which makes it a native sidecar", fmt.Sprint(first.RestartPolicy))
	claim("its startupProbe", first.StartupProbe != nil, "one, for which the app waits", "none")
	envoy, app := started(pod.Status.InitContainerStatuses), started(pod.Status.ContainerStatuses)
	claim("start of the app", !envoy.IsZero() && !app.Before(envoy), "not before Envoy's, "+envoy.Format(time.TimeOnly), app.Format(time.TimeOnly))
	var volumes []string
	for _, v := range pod.Spec.Volumes {
		volumes = append(volumes, v.Name)
	}
	for _, v := range status.Volumes {
		claim("volumes", slices.Contains(volumes, v), v+" among them", strings.Join(volumes, ", "))
	}
	return errors.Join(errs...)
}

// started is when the first of some containers started, or the zero time.
func started(statuses []corev1.ContainerStatus) time.Time {
	if len(statuses) == 0 || statuses[0].State.Running == nil {
		return time.Time{}
	}
	return statuses[0].State.Running.StartedAt.Time
}

// checkEntry holds the registration entry against what the story says of it. hash is the value of the pod's identity
// label.
func checkEntry(e scene.Entry, hash string) error {
	want := scene.Entry{
		ID: e.ID, SPIFFEID: ID(API), TTL: "30",
		Selectors: []string{
			"k8s:container-name:" + scene.Sidecar, "k8s:ns:" + Namespace,
			"k8s:pod-label:" + intent.LabelIdentity + ":" + hash, "k8s:sa:default",
		},
	}
	got := e
	got.Selectors = slices.Sorted(slices.Values(e.Selectors))
	if want.SPIFFEID != got.SPIFFEID || want.TTL != got.TTL || !slices.Equal(want.Selectors, got.Selectors) {
		return &scene.Mismatch{What: "registration entry " + e.ID, Expected: fmt.Sprintf("%+v", want), Got: fmt.Sprintf("%+v", got)}
	}
	return nil
}

// apiPod is the one pod of the API.
func (s stage) apiPod(ctx context.Context) (corev1.Pod, error) {
	return s.Pod(ctx, Namespace, "app="+API)
}

func podField(jsonpath string) scene.Command {
	return inDemo("get", "pod", "-l", "app="+API, "-o", "jsonpath="+jsonpath)
}
