package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// memoryFigures are of the sidecar of a pod that only waits, in bytes.
type memoryFigures struct {
	Pod       string         `json:"pod"`
	Process   *processMemory `json:"process,omitempty"` // as the kernel sees it; only when it runs on this machine
	Allocated int            `json:"allocated"`         // what Envoy itself says that it has allocated and not freed
	// Unreadable says why Process is missing.
	Unreadable string `json:"unreadable,omitempty"`
}

func measureMemory(ctx context.Context, s settings, c *cluster, r *report) error {
	return c.in(ctx, "memory", func(namespace string) error {
		// The client calls once, when it starts, and then not for an hour.
		manifest, err := workloads{namespace: namespace, image: c.env.Images[sampleImage], every: "1h"}.manifest()
		if err != nil {
			return err
		}
		if _, err := c.kubectl.With(ctx, manifest, "apply", "-f", "-"); err != nil {
			return err
		}
		names := []string{"api", "client"}
		for _, name := range names {
			if err := c.waitRollout(ctx, namespace, name); err != nil {
				return err
			}
		}
		c.tell("leaving them alone for %s", s.idle)
		select {
		case <-time.After(s.idle):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		pods, err := c.client.CoreV1().Pods(namespace).List(ctx, listAll)
		if err != nil {
			return err
		}
		for _, pod := range pods.Items {
			f, err := c.memoryOf(ctx, pod)
			if err != nil {
				return err
			}
			r.Memory = append(r.Memory, f)
		}
		return nil
	})
}

func (c *cluster) memoryOf(ctx context.Context, pod corev1.Pod) (memoryFigures, error) {
	f := memoryFigures{Pod: pod.Labels["app"]}
	// Read before Envoy is asked, which costs it memory.
	process, err := findEnvoy("/proc", string(pod.UID))
	if err != nil {
		f.Unreadable = err.Error()
	} else {
		f.Process = &process
	}
	body, err := c.admin(ctx, pod.Namespace, pod.Name, "/stats?format=json&filter=^server.memory_allocated$")
	if err != nil {
		return memoryFigures{}, err
	}
	f.Allocated, err = parseStat(body, "server.memory_allocated")
	return f, err
}

// parseStat is the value of one of Envoy's stats in its JSON format.
func parseStat(body []byte, name string) (int, error) {
	var answer struct {
		Stats []struct {
			Name  string `json:"name"`
			Value int    `json:"value"`
		} `json:"stats"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return 0, fmt.Errorf("decoding Envoy's stats: %w", err)
	}
	for _, s := range answer.Stats {
		if s.Name == name {
			return s.Value, nil
		}
	}
	return 0, fmt.Errorf("expected the stat %s, got %.200s", name, body)
}
