package main

import (
	"context"
	"encoding/json"
	"fmt"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// updateStatus updates the status of each pod once, and fails if one of them was not updated.
func (c *cluster) updateStatus(ctx context.Context, namespace string, names []string, atOnce int) (load, error) {
	patch, err := json.Marshal(map[string]any{"status": reported(time.Now())})
	if err != nil {
		return load{}, err
	}
	var next atomic.Int64
	l, err := drive(ctx, len(names), atOnce, func(ctx context.Context) error {
		name := names[next.Add(1)-1]
		return c.client.CoreV1().RESTClient().Patch(types.StrategicMergePatchType).Namespace(namespace).Resource("pods").Name(name).
			SubResource("status").Body(patch).Do(ctx).Error()
	})
	if err == nil && l.Errors > 0 {
		err = fmt.Errorf("the status of %d of %d pods was not updated: %s", l.Errors, len(names), l.FirstError)
	}
	return l, err
}

// reported is what a kubelet writes of a pod whose container is being made, in the form in which it writes it: a
// strategic merge patch. The pod has no address, at which somebody would call.
func reported(now time.Time) corev1.PodStatus {
	at := metav1.NewTime(now)
	var conditions []corev1.PodCondition
	for _, c := range []corev1.PodConditionType{corev1.PodReadyToStartContainers, corev1.PodInitialized, corev1.PodReady, corev1.ContainersReady} {
		conditions = append(conditions, corev1.PodCondition{
			Type: c, Status: corev1.ConditionFalse, LastTransitionTime: at, Reason: "ContainersNotReady", Message: "containers with unready status: [api]",
		})
	}
	return corev1.PodStatus{
		Phase:      corev1.PodPending,
		StartTime:  &at,
		Conditions: conditions,
		ContainerStatuses: []corev1.ContainerStatus{{
			Name:    "api",
			Image:   sampleImage,
			Started: new(bool),
			State:   corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ContainerCreating"}},
		}},
	}
}
