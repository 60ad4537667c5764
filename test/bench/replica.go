package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/spire-injector/spire-injector/test/standalone"
)

// replicaFigures are the memory of one replica that admits all pods and leads, in bytes.
type replicaFigures struct {
	Pods      int           `json:"pods"`
	Workloads int           `json:"workloads"` // service accounts, so identities
	Steps     []replicaStep `json:"steps"`
}

// replicaStep is what was resident at the end of a step, and at most during it.
type replicaStep struct {
	Step     string `json:"step"`
	Resident int    `json:"resident"`
	Most     int    `json:"most"`
}

// measureReplica takes an API server, SPIRE and the injector as processes of this machine. The pods are objects alone.
func measureReplica(ctx context.Context, s settings, _ *cluster, r *report) error {
	return withBareCluster(ctx, s.progress, func(b *bareCluster) error {
		namespace, err := b.client.CoreV1().Namespaces().Create(ctx,
			&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "bench-replica-"}}, metav1.CreateOptions{})
		if err != nil {
			return err
		}
		return b.withSPIRE(ctx, spireSettings{}, func(spire *bareSPIRE) error {
			return contenders()[0].run(ctx, b, spire, namespace.Name, func(process *standalone.Process) error {
				if err := b.warmUp(ctx, spire, namespace.Name); err != nil {
					return fmt.Errorf("waiting for it to be at work: %w", err)
				}
				f := replicaFigures{Pods: s.injected, Workloads: s.workloads}
				defer func() { r.Replica = &f }()
				return b.fillReplica(ctx, s, spire, process, namespace.Name, &f)
			})
		})
	})
}

// fillReplica creates the pods, and has them change in rounds: each has its status written, as a kubelet does, and a tenth
// of them gives way to new ones.
func (b *bareCluster) fillReplica(
	ctx context.Context, s settings, spire *bareSPIRE, process *standalone.Process, namespace string, f *replicaFigures,
) error {
	step := func(name string, take func() error) error {
		seen, err := watchResident(ctx, process, take)
		seen.Step = name
		f.Steps = append(f.Steps, seen)
		b.tell("%s: %d MB resident, at most %d MB", name, seen.Resident>>20, seen.Most>>20)
		return err
	}
	pods := burst{pods: s.injected, accounts: s.workloads}.podsOf(namespace)
	create := func(n int) error {
		_, err := b.createPods(ctx, pods, n, s.atOnce, creationTries)
		return err
	}
	if err := step("at work", func() error { return nil }); err != nil {
		return err
	}
	entries, err := spire.entries(ctx)
	if err != nil {
		return err
	}
	err = step(fmt.Sprintf("%d pods created", s.injected), func() error {
		if err := create(s.injected); err != nil {
			return err
		}
		return spire.awaitEntries(ctx, entries+contenders()[0].entries(s.injected, s.workloads, len(pods)))
	})
	for i := 0; i < s.rounds && err == nil; i++ {
		err = step(fmt.Sprintf("round %d of changes", i+1), func() error {
			names, err := b.burstNames(ctx, namespace)
			if err != nil {
				return err
			}
			if _, err := b.updateStatus(ctx, namespace, names, s.atOnce); err != nil {
				return err
			}
			gone := names[:len(names)/10]
			if err := b.removeAtOnce(ctx, namespace, gone, s.atOnce); err != nil {
				return err
			}
			return create(len(gone))
		})
	}
	return err
}

// burstNames are the names of all pods of a burst, oldest first by no order that matters.
func (b *bareCluster) burstNames(ctx context.Context, namespace string) ([]string, error) {
	var names []string
	page := metav1.PartialObjectMetadataList{}
	page.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("PodList"))
	for {
		err := b.api.List(ctx, &page, client.InNamespace(namespace), client.MatchingLabels{"app": burstApp},
			client.Limit(500), client.Continue(page.Continue))
		if err != nil {
			return nil, err
		}
		for _, pod := range page.Items {
			names = append(names, pod.Name)
		}
		if page.Continue == "" {
			return names, nil
		}
	}
}

func (b *bareCluster) removeAtOnce(ctx context.Context, namespace string, names []string, atOnce int) error {
	now := metav1.DeleteOptions{GracePeriodSeconds: new(int64)}
	var next atomic.Int64
	l, err := drive(ctx, len(names), atOnce, func(ctx context.Context) error {
		return b.client.CoreV1().Pods(namespace).Delete(ctx, names[next.Add(1)-1], now)
	})
	if err == nil && l.Errors > 0 {
		err = fmt.Errorf("%d of %d pods were not removed: %s", l.Errors, len(names), l.FirstError)
	}
	return err
}

// watchResident looks at the memory of a process while something is done, and until what follows from it is done too.
func watchResident(ctx context.Context, process *standalone.Process, take func() error) (replicaStep, error) {
	var most atomic.Int64
	looking, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			if now, err := residentOf(process); err == nil {
				most.Store(max(most.Load(), int64(now)))
			}
			select {
			case <-looking.Done():
				return
			case <-time.After(poll):
			}
		}
	}()
	err := take()
	select {
	case <-ctx.Done():
	case <-time.After(5 * settled):
	}
	stop()
	<-done
	if err != nil {
		return replicaStep{Most: int(most.Load())}, err
	}
	now, err := residentOf(process)
	return replicaStep{Resident: now, Most: int(max(most.Load(), int64(now)))}, err
}

func residentOf(process *standalone.Process) (int, error) {
	path := filepath.Join("/proc", strconv.Itoa(process.PID()), "status")
	status, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	resident := kibibytes(string(status), "VmRSS") * 1024
	if resident == 0 {
		return 0, fmt.Errorf("expected VmRSS in %s, got:\n%s", path, status)
	}
	return resident, nil
}

func printReplica(t io.Writer, f replicaFigures) {
	title(t, fmt.Sprintf("Memory of a replica that admits %d pods of %d workloads, and leads", f.Pods, f.Workloads))
	row(t, "step", "resident MB", "at most MB")
	for _, s := range f.Steps {
		row(t, s.Step, s.Resident>>20, s.Most>>20)
	}
}
