package e2e

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/spire-injector/spire-injector/webhook/intent"
)

// storm creates pods that ask for injection, some fifteen a second, and never tries again.
type storm struct {
	created, tried atomic.Int64 // pods, and those of a dry run
	refused        atomic.Int64
	first          atomic.Pointer[error]
	stop           func()
}

// startStorm starts a storm of creations in a namespace. Most are dry runs, so that the cluster stays as it is.
func startStorm(t *testing.T, namespace string) *storm {
	t.Helper()
	client := clientset(t)
	ctx, cancel := context.WithCancel(t.Context())
	s := &storm{}
	var workers sync.WaitGroup
	s.stop = func() { cancel(); workers.Wait() }
	t.Cleanup(s.stop)
	pod := neverScheduled(api(namespace, id(namespace, "valid")).pod(namespace))
	pod.Name, pod.GenerateName = "", "storm-"
	start := func(every time.Duration, options metav1.CreateOptions, count *atomic.Int64) {
		workers.Go(func() {
			for ctx.Err() == nil {
				got, err := client.CoreV1().Pods(namespace).Create(ctx, pod, options)
				if err == nil && got.Annotations[intent.AnnotationStatus] == "" {
					err = errors.New("a pod was created as it is")
				}
				switch {
				case ctx.Err() != nil: // not the server's answer
				case err != nil:
					err = fmt.Errorf("%s: %w", time.Now().Format(time.TimeOnly), err)
					s.refused.Add(1)
					s.first.CompareAndSwap(nil, &err)
				default:
					count.Add(1)
				}
				pause(ctx, every)
			}
		})
	}
	start(100*time.Millisecond, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}}, &s.tried)
	start(200*time.Millisecond, metav1.CreateOptions{}, &s.created)
	return s
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// wantNoRefusal ends the storm.
func (s *storm) wantNoRefusal(t *testing.T) {
	t.Helper()
	s.stop()
	t.Logf("%d pods created and %d dry runs, %d refused", s.created.Load(), s.tried.Load(), s.refused.Load())
	if first := s.first.Load(); first != nil {
		t.Errorf("expected no creation to fail, got %d, the first because: %v", s.refused.Load(), *first)
	}
	if s.created.Load() < fewest || s.tried.Load() < fewest {
		t.Errorf("expected %d of each and more: that is no storm", fewest)
	}
}

// clientset calls the API server without a limit of its own.
func clientset(t *testing.T) kubernetes.Interface {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", shared.env.Kubeconfig)
	must(t, err)
	config.QPS = -1
	client, err := kubernetes.NewForConfig(config)
	must(t, err)
	return client
}
