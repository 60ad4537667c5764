package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/spire-injector/spire-injector/webhook/intent"
	"github.com/spire-injector/spire-injector/webhook/webhooktest"
)

// hostileFigures say what honest pods of one tenant notice while another one sends pods that are small for what they
// ask for.
type hostileFigures struct {
	Flood   seconds        `json:"flood"` // how long
	AtOnce  int            `json:"atOnce"`
	Pace    float64        `json:"pace,omitempty"` // most hostile pods a second, and honest ones; 0 for no bound
	Pods    int            `json:"pods"`           // hostile ones
	Answers map[string]int `json:"answers"`        // to them
	// Alone is before the flood, Beside during it, and Floor what a pod that no webhook sees takes meanwhile, on the same
	// machine with the same API server.
	Alone  honestLoad `json:"alone"`
	Beside honestLoad `json:"beside"`
	Floor  honestLoad `json:"floor"`
	// Memory is the most that one replica had resident, in bytes, and Limit what its container may have.
	Memory   int   `json:"memory"`
	Limit    int64 `json:"limit"`
	Restarts int   `json:"restarts"` // of containers of replicas, during the flood
}

// honestLoad is what pods took that came one after the other.
type honestLoad struct {
	Pods       int     `json:"pods"`
	P50        seconds `json:"p50"`
	P99        seconds `json:"p99"`
	Max        seconds `json:"max"`
	Errors     int     `json:"errors"`
	FirstError string  `json:"firstError,omitempty"`
}

const (
	leastPause = 50 * time.Millisecond // between two honest pods
	// hostileSets are how many different ones of each hostile pod there are: what is kept of one must not serve another.
	hostileSets = 8
	// mostHostileBytes leaves out what costs the API server more than the injector, and so measures that.
	mostHostileBytes = 128 << 10
)

// hostileRate is how many hostile pods are sent a second.
func (s settings) hostileRate() rate.Limit {
	if s.pace == 0 {
		return rate.Inf
	}
	return rate.Limit(s.pace)
}

// honestPause is the time between two honest pods.
func (s settings) honestPause() time.Duration {
	if s.pace == 0 {
		return leastPause
	}
	return max(leastPause, time.Duration(float64(time.Second)/s.pace))
}

func measureHostile(ctx context.Context, s settings, c *cluster, r *report) error {
	f := hostileFigures{Flood: seconds(s.flood), AtOnce: s.floodAtOnce, Pace: s.pace, Answers: map[string]int{}}
	bodies, err := hostileBodies()
	if err != nil {
		return err
	}
	err = c.in(ctx, "honest", func(honest string) error {
		return c.in(ctx, "hostile", func(hostile string) error {
			return c.measureFlood(ctx, s, &f, honest, hostile, bodies)
		})
	})
	if f.Pods > 0 {
		r.Hostile = &f
	}
	return err
}

func (c *cluster) measureFlood(
	ctx context.Context, s settings, f *hostileFigures, honest, hostile string, bodies [][]byte,
) error {
	replicas := theInjector().processes
	before, err := c.restartsOf(ctx, replicas)
	if err != nil {
		return err
	}
	f.Limit = before.limit
	if f.Alone, err = c.honestPods(ctx, honest, ours(), s.honestPause(), min(s.flood, time.Minute)); err != nil {
		return err
	}
	c.tell("alone: p50 %s ms, p99 %s ms", milliseconds(f.Alone.P50), milliseconds(f.Alone.P99))
	flooding, end := context.WithTimeout(ctx, s.flood)
	defer end()
	var group errgroup.Group
	group.Go(func() error {
		c.flood(flooding, s, hostile, bodies, f)
		return nil
	})
	group.Go(func() error {
		f.Memory = c.mostMemory(flooding, replicas)
		return nil
	})
	group.Go(func() (err error) {
		f.Beside, err = c.honestPods(ctx, honest, ours(), s.honestPause(), s.flood)
		return err
	})
	group.Go(func() (err error) {
		f.Floor, err = c.honestPods(ctx, honest, withoutWebhook(), s.honestPause(), s.flood)
		return err
	})
	if err := group.Wait(); err != nil {
		return err
	}
	after, err := c.restartsOf(ctx, replicas)
	f.Restarts = after.restarts - before.restarts
	return err
}

// hostileBodies are requests for the pods of which a tenant would send many.
func hostileBodies() ([][]byte, error) {
	var bodies [][]byte
	for number := range hostileSets {
		for _, hostile := range webhooktest.HostilePods(number) {
			pod := hostile.Pod
			pod.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"}
			pod.GenerateName = "hostile-"
			delete(pod.Annotations, intent.AnnotationSPIFFEID)
			body, err := json.Marshal(pod)
			if err != nil {
				return nil, err
			}
			if len(body) > mostHostileBytes {
				continue
			}
			bodies = append(bodies, body)
		}
	}
	return bodies, nil
}

// flood sends hostile pods until ctx ends. What is admitted of them is not stored: it is a dry run.
func (c *cluster) flood(ctx context.Context, s settings, namespace string, bodies [][]byte, f *hostileFigures) {
	var mu sync.Mutex
	var sent atomic.Int64
	var group sync.WaitGroup
	pace := rate.NewLimiter(s.hostileRate(), 1)
	for range s.floodAtOnce {
		group.Go(func() {
			for pace.Wait(ctx) == nil {
				body := bodies[int(sent.Add(1))%len(bodies)]
				answer := answerTo(c.createPod(ctx, namespace, body, &metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}}, nil))
				if ctx.Err() != nil {
					break
				}
				mu.Lock()
				f.Pods++
				f.Answers[answer]++
				mu.Unlock()
			}
		})
	}
	group.Wait()
}

func (c *cluster) createPod(
	ctx context.Context, namespace string, body []byte, options *metav1.CreateOptions, into *corev1.Pod,
) error {
	result := c.client.CoreV1().RESTClient().Post().Namespace(namespace).Resource("pods").
		VersionedParams(options, metav1.ParameterCodec).SetHeader("Content-Type", "application/json").Body(body).Do(ctx)
	if into == nil {
		return result.Error()
	}
	return result.Into(into)
}

// answerTo tells apart who denied a pod, and why.
func answerTo(err error) string {
	switch {
	case err == nil:
		return "admitted"
	case strings.Contains(err.Error(), "OverLimit: "):
		return "denied: over a limit"
	case strings.Contains(err.Error(), "Invalid: "):
		return "denied: invalid"
	case apierrors.IsTooManyRequests(err) || strings.Contains(err.Error(), "try again"):
		return "told to try again"
	case strings.Contains(err.Error(), "failed calling webhook"):
		return "failed: the webhook did not answer"
	}
	return "denied by the API server"
}

// honestPods creates pods one after the other for some time, and deletes each, which is not measured.
func (c *cluster) honestPods(
	ctx context.Context, namespace string, v variant, pause, lasting time.Duration,
) (honestLoad, error) {
	body, err := request(pendingPod(namespace, v))
	if err != nil {
		return honestLoad{}, err
	}
	var l honestLoad
	var took []seconds
	now := metav1.DeleteOptions{GracePeriodSeconds: new(int64)}
	for end := time.Now().Add(lasting); time.Now().Before(end) && ctx.Err() == nil; {
		var pod corev1.Pod
		begun := time.Now()
		err := c.createPod(ctx, namespace, body, &metav1.CreateOptions{}, &pod)
		took = append(took, seconds(time.Since(begun)))
		if err != nil {
			l.Errors++
			if l.FirstError == "" {
				l.FirstError = err.Error()
			}
		} else if err := c.client.CoreV1().Pods(namespace).Delete(ctx, pod.Name, now); ignoreNotFound(err) != nil {
			return honestLoad{}, err
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
	l.Pods, l.P50, l.P99, l.Max = len(took), median(took), quantile(took, 0.99), quantile(took, 1)
	return l, context.Cause(ctx)
}

// mostMemory is the most that a replica had until ctx ends, of those readings that came about.
func (c *cluster) mostMemory(ctx context.Context, at programAt) int {
	most := 0
	for ctx.Err() == nil {
		if replicas, err := c.scrape(ctx, at); err == nil {
			for _, s := range replicas {
				most = max(most, int(s["process_resident_memory_bytes"]))
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
	return most
}

// containerState is what is known of the containers of a program.
type containerState struct {
	restarts int
	limit    int64 // of memory, of one of them
}

func (c *cluster) restartsOf(ctx context.Context, at programAt) (containerState, error) {
	pods, err := c.client.CoreV1().Pods(at.namespace).List(ctx, metav1.ListOptions{LabelSelector: at.selector})
	if err != nil {
		return containerState{}, err
	}
	var s containerState
	for _, pod := range pods.Items {
		for _, status := range pod.Status.ContainerStatuses {
			s.restarts += int(status.RestartCount)
		}
		for _, container := range pod.Spec.Containers {
			s.limit = container.Resources.Limits.Memory().Value()
		}
	}
	if len(pods.Items) == 0 {
		return s, errors.New("expected replicas of the injector, found none")
	}
	return s, nil
}

func printHostile(t io.Writer, f hostileFigures) {
	flood := time.Duration(f.Flood)
	pace := ""
	if f.Pace > 0 {
		pace = fmt.Sprintf(" and %g a second", f.Pace)
	}
	title(t, fmt.Sprintf("Honest pods beside a flood of hostile ones, at most %d at a time%s, for %s", f.AtOnce, pace, flood))
	row(t, "pods, milliseconds", "number", "p50", "p99", "max", "errors")
	for _, l := range []struct {
		name string
		load honestLoad
	}{{"honest, before", f.Alone}, {"honest, during", f.Beside}, {"without a webhook, during", f.Floor}} {
		p50, p99, most := milliseconds(l.load.P50), milliseconds(l.load.P99), milliseconds(l.load.Max)
		row(t, l.name, l.load.Pods, p50, p99, most, l.load.Errors)
		if l.load.FirstError != "" {
			line(t, l.load.FirstError)
		}
	}
	for _, answer := range slices.Sorted(maps.Keys(f.Answers)) {
		row(t, "hostile, "+answer, f.Answers[answer])
	}
	row(t, "most memory of a replica", fmt.Sprintf("%d MiB of %d MiB", f.Memory>>20, f.Limit>>20))
	row(t, "restarts", f.Restarts)
}
