package api

import (
	"context"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/spire-injector/spire-injector/test/demo/scene"
	"github.com/spire-injector/spire-injector/webhook/inject"
)

// Limits is what the app's container cannot do.
type Limits struct {
	MountsRan scene.Ran `json:"-"`
	SVIDRan   scene.Ran `json:"-"`
	// Refusal is why the app's container got no SVID.
	Refusal string `json:"svidRefusal"`
}

// Limits sees that the app's container has neither the agent's socket nor a way to an SVID.
func (s stage) Limits(ctx context.Context) (Limits, error) {
	var l Limits
	pod, err := s.apiPod(ctx)
	if err != nil {
		return l, err
	}
	mounts := inDemo("get", "pod", "-l", "app="+API, "-o", "custom-columns=ENVOY:.spec.initContainers[0].volumeMounts[*].mountPath,"+
		"APP:.spec.containers[0].volumeMounts[*].mountPath")
	if l.MountsRan, err = s.Run(ctx, mounts); err != nil {
		return l, err
	}
	if got := mounters(pod, inject.SocketVolume); !slices.Equal(got, []string{scene.Sidecar}) {
		return l, &scene.Mismatch{What: "containers with the agent's socket", Expected: scene.Sidecar + " alone", Got: strings.Join(got, ", "), Look: mounts.String()}
	}
	if l.SVIDRan, err = s.Try(ctx, inDemo("exec", "deploy/"+API, "-c", apiContainer, "--", "/sample", "svid", "--timeout", "2s")); err != nil {
		return l, err
	}
	if !l.SVIDRan.Failed || !strings.Contains(l.SVIDRan.Stderr, "gave no SVID") {
		return l, &scene.Mismatch{What: l.SVIDRan.Command.String(), Expected: "no SVID", Got: l.SVIDRan.Output()}
	}
	l.Refusal, _, _ = strings.Cut(l.SVIDRan.Stderr, "\n")
	return l, nil
}

// mounters names the containers of a pod that mount a volume.
func mounters(pod corev1.Pod, volume string) []string {
	var names []string
	for _, c := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
		if slices.ContainsFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool { return m.Name == volume }) {
			names = append(names, c.Name)
		}
	}
	return names
}
