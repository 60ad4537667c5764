package main

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// usage is what a program took while it was measured, all its replicas together, as its own metrics have it.
type usage struct {
	CPU    seconds `json:"cpu"`
	Memory int     `json:"memory"` // the most that was seen resident, in bytes
}

// process is what the metrics of one or several processes say.
type process struct {
	cpu    time.Duration // since they started
	memory int
}

// sums are the counters and gauges of one process, whatever their labels, by name.
type sums map[string]float64

// scrape reads the metrics of every replica of a program.
func (c *cluster) scrape(ctx context.Context, at programAt) ([]sums, error) {
	pods, err := c.client.CoreV1().Pods(at.namespace).List(ctx, metav1.ListOptions{LabelSelector: at.selector})
	if err != nil {
		return nil, err
	}
	if len(pods.Items) == 0 {
		return nil, fmt.Errorf("expected pods with %s in namespace %s, got none", at.selector, at.namespace)
	}
	var all []sums
	for _, pod := range pods.Items {
		text, err := c.client.RESTClient().Get().
			AbsPath("/api/v1/namespaces", at.namespace, "pods", fmt.Sprintf("%s:%d", pod.Name, at.port), "proxy", "metrics").DoRaw(ctx)
		if err != nil {
			return nil, fmt.Errorf("reading the metrics of pod %s/%s: %w", at.namespace, pod.Name, err)
		}
		s, err := parseSums(text)
		if err != nil {
			return nil, fmt.Errorf("parsing the metrics of pod %s/%s: %w", at.namespace, pod.Name, err)
		}
		all = append(all, s)
	}
	return all, nil
}

// parseSums reads Prometheus' text format.
func parseSums(metrics []byte) (sums, error) {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(metrics))
	if err != nil {
		return nil, err
	}
	out := sums{}
	for name, family := range families {
		if t := family.GetType().String(); t != "COUNTER" && t != "GAUGE" {
			continue
		}
		for _, m := range family.GetMetric() {
			out[name] += m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return out, nil
}

// processOf adds up what replicas say of themselves, as Prometheus' clients do.
func processOf(replicas []sums) process {
	var p process
	for _, s := range replicas {
		p.cpu += time.Duration(s["process_cpu_seconds_total"] * float64(time.Second))
		p.memory += int(s["process_resident_memory_bytes"])
	}
	return p
}

// watched are the programs that are watched during a measurement, by the name that figures have for them.
type watched map[string]programAt

// sampling is how often memory is looked at.
const sampling = 2 * time.Second

// watch looks at programs until the returned function says what they took.
func (c *cluster) watch(ctx context.Context, programs watched) (end func() (map[string]usage, error), err error) {
	first, err := c.processes(ctx, programs)
	if err != nil {
		return nil, err
	}
	most := map[string]int{}
	see := func(now map[string]process) {
		for name, p := range now {
			most[name] = max(most[name], p.memory)
		}
	}
	see(first)
	looking, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-looking.Done():
				return
			case <-time.After(sampling):
			}
			if now, err := c.processes(looking, programs); err == nil { // a look that fails is one less
				see(now)
			}
		}
	}()
	return func() (map[string]usage, error) {
		stop()
		<-done
		last, err := c.processes(ctx, programs)
		if err != nil {
			return nil, err
		}
		see(last)
		out := map[string]usage{}
		for name := range programs {
			out[name] = usage{CPU: seconds(last[name].cpu - first[name].cpu), Memory: most[name]}
		}
		return out, nil
	}, nil
}

func (c *cluster) processes(ctx context.Context, programs watched) (map[string]process, error) {
	out := map[string]process{}
	for name, at := range programs {
		replicas, err := c.scrape(ctx, at)
		if err != nil {
			return nil, err
		}
		out[name] = processOf(replicas)
	}
	return out, nil
}
