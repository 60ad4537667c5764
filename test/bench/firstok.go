package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// firstOKFigures are the way from kubectl apply to the first answered call. Parts are in order; each is how much later
// than the one before both pods had made a step.
type firstOKFigures struct {
	Parts []part `json:"parts"`
	Total spread `json:"total"`
}

type part struct {
	Until string `json:"until"`
	Took  spread `json:"took"`
}

// callEvery is how often the client calls: its first calls may come before the API's pod can answer, and the answer is
// then noticed this much late at most.
const callEvery = 100 * time.Millisecond

func measureFirstOK(ctx context.Context, s settings, c *cluster, r *report) error {
	var took [steps + 1][]seconds
	var totals []seconds
	defer func() {
		if len(totals) == 0 {
			return
		}
		f := firstOKFigures{Total: spreadOf(totals)}
		for i, name := range stepNames() {
			f.Parts = append(f.Parts, part{Until: name, Took: spreadOf(took[i])})
		}
		f.Parts = append(f.Parts, part{Until: "first ok (service, DNS, handshake, call)", Took: spreadOf(took[steps])})
		r.FirstOK = &f
	}()
	for i := range s.times {
		// A namespace of its own: the identities are new, and nothing of the last time runs beside.
		err := c.in(ctx, "first-ok", func(namespace string) error {
			start, timelines, end, err := c.firstOK(ctx, namespace)
			if err != nil {
				return err
			}
			for s, t := range durations(start, timelines, end) {
				took[s] = append(took[s], t)
			}
			totals = append(totals, seconds(end.Sub(start)))
			c.tell("%d of %d: %.2f s", i+1, s.times, end.Sub(start).Seconds())
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// firstOK applies an API and a client and waits for the client's first ok.
func (c *cluster) firstOK(ctx context.Context, namespace string) (start time.Time, pods []timeline, end time.Time, err error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	manifest, err := workloads{namespace: namespace, image: c.env.Images[sampleImage], every: callEvery.String()}.manifest()
	if err != nil {
		return start, nil, end, err
	}
	watching, err := c.client.CoreV1().Pods(namespace).Watch(ctx, listAll)
	if err != nil {
		return start, nil, end, err
	}
	defer watching.Stop()
	applied := make(chan error, 1)
	start = time.Now()
	go func() {
		_, err := c.kubectl.With(ctx, manifest, "apply", "-f", "-")
		applied <- err
	}()
	seen := map[string]*timeline{}
	for started := 0; started < 2; {
		select {
		case err := <-applied:
			if err != nil {
				return start, nil, end, err
			}
			applied = nil
		case event, open := <-watching.ResultChan():
			pod, isPod := event.Object.(*corev1.Pod)
			if !open || !isPod {
				return start, nil, end, fmt.Errorf("watching the pods of %s ended before they ran: %w", namespace, errors.Join(errors.New("the watch was closed"), context.Cause(ctx)))
			}
			now := time.Now()
			if seen[pod.Name] == nil {
				seen[pod.Name] = &timeline{}
			}
			before := seen[pod.Name][appStarted]
			seen[pod.Name].see(pod, now)
			if before.IsZero() && !seen[pod.Name][appStarted].IsZero() {
				started++
			}
		}
	}
	if end, err = c.firstOKOf(ctx, namespace); err != nil {
		return start, nil, end, err
	}
	for name, t := range seen {
		if err := c.ask(ctx, namespace, name, t); err != nil {
			return start, nil, end, err
		}
		t.settle()
		pods = append(pods, *t)
	}
	return start, pods, end, nil
}

// firstOKOf is when the client of a namespace wrote that a call was answered.
func (c *cluster) firstOKOf(ctx context.Context, namespace string) (time.Time, error) {
	pod, err := c.podOf(ctx, namespace, "client")
	if err != nil {
		return time.Time{}, err
	}
	var when time.Time
	var last string
	err = c.follow(ctx, namespace, pod, "client", time.Time{}, func(l logLine) bool {
		when, last = l.at, l.text
		return l.ok()
	})
	if err != nil {
		return time.Time{}, fmt.Errorf("waiting for the client's first ok, after %q: %w", last, err)
	}
	return when, nil
}

// ask completes a timeline by what the pod itself knows: Envoy its own times, and the app by its first line.
func (c *cluster) ask(ctx context.Context, namespace, name string, t *timeline) error {
	dump, err := c.admin(ctx, namespace, name, "/config_dump")
	if err != nil {
		return err
	}
	times, err := parseConfigDump(dump)
	if err != nil {
		return fmt.Errorf("pod %s/%s: %w", namespace, name, err)
	}
	t[envoyStarted], t[svidReceived] = times.bootstrap, times.secrets
	pod, err := c.client.CoreV1().Pods(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	return c.follow(ctx, namespace, name, pod.Spec.Containers[0].Name, time.Time{}, func(l logLine) bool {
		t[appStarted] = earlier(t[appStarted], l.at)
		return true
	})
}

// podOf is the name of the one pod of an app.
func (c *cluster) podOf(ctx context.Context, namespace, app string) (string, error) {
	pods, err := c.client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: "app=" + app})
	if err != nil {
		return "", err
	}
	if len(pods.Items) != 1 {
		return "", fmt.Errorf("expected one pod of %s in %s, got %d", app, namespace, len(pods.Items))
	}
	return pods.Items[0].Name, nil
}
