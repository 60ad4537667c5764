package main

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/spire-injector/spire-injector/webhook/rollout"
)

const (
	defaultRolloutRate = "1"
	// maxRolloutRate is what one replica can do, which changes one pod after the other.
	maxRolloutRate = 10
	// calm is longer than a replica takes to end.
	calm = 30 * time.Second
)

// parseRolloutRate reads the flag --rollout-rate: pods per second, with or without "/s".
func parseRolloutRate(flag string) (float64, error) {
	rate, err := strconv.ParseFloat(strings.TrimSuffix(flag, "/s"), 64)
	if err != nil || math.IsNaN(rate) || rate < 0 || rate > maxRolloutRate {
		return 0, usageError{fmt.Errorf("--rollout-rate: expected pods per second from 0 to %d, such as 0.5 or 10/s, got %q", maxRolloutRate, flag)}
	}
	return rate, nil
}

// addRollout lets the leading replica carry changes of namespaces, of the platform and, by its own start, of the templates to running pods.
func (s *server) addRollout(ctx context.Context) error {
	if err := s.setUpRollout(ctx); err != nil {
		return fmt.Errorf("setting up what carries changes to running pods: %w", err)
	}
	return nil
}

func (s *server) setUpRollout(ctx context.Context) error {
	shown, err := rollout.NewMetrics(metrics.Registry)
	if err != nil {
		return err
	}
	mgr := s.manager
	r := &rollout.Rollout{
		Injector: s.inForce.Get,
		Cluster: &rollout.APIServer{
			Cached: mgr.GetClient(), Direct: mgr.GetAPIReader(), Writer: mgr.GetClient(), Configuration: s.flags.webhookConfig,
		},
		Envoys:  rollout.NewByHTTP(),
		Plan:    rollout.NewPlan(s.rolloutRate),
		Metrics: shown,
		Logger:  mgr.GetLogger().WithName("rollout"),
		Calm:    calm,
		Tell:    rolloutEvents(mgr),
	}
	s.inForce.OnChange(r.PlatformChanged)
	err = watch(ctx, mgr, &corev1.Namespace{}, func(object any) {
		if ns, ok := object.(*corev1.Namespace); ok {
			r.NamespaceChanged(ns.Name)
		}
	})
	if err != nil {
		return err
	}
	if err := mgr.Add(r); err != nil {
		return err
	}
	return mgr.Add(&rollout.PodWatch{Config: mgr.GetConfig(), Rollout: r})
}

// rolloutEvents makes events about a pod, and the same about its owner, where its author looks.
func rolloutEvents(mgr ctrl.Manager) func(pod *corev1.Pod, reason, note string) {
	events := eventsOf(mgr, "Refresh")
	return func(pod *corev1.Pod, reason, note string) {
		events.Event(pod, corev1.EventTypeWarning, reason, note)
		owner := metav1.GetControllerOf(pod)
		if owner == nil {
			return
		}
		about := &corev1.ObjectReference{APIVersion: owner.APIVersion, Kind: owner.Kind, Namespace: pod.Namespace, Name: owner.Name, UID: owner.UID}
		events.Related(about, pod, corev1.EventTypeWarning, reason, "pod "+pod.Name+": "+note)
	}
}
