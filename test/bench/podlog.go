package main

import (
	"bufio"
	"context"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// logLine is a line that a container wrote, and when, by the clock of its node.
type logLine struct {
	at   time.Time
	text string
}

// ok says whether the sample client reports an answered call: its lines are the time, the status and the body.
func (l logLine) ok() bool {
	fields := strings.Fields(l.text)
	return len(fields) >= 2 && fields[1] == "200"
}

// parseLogLine parses a line as the API server gives it with timestamps.
func parseLogLine(line string) (logLine, error) {
	stamp, text, _ := strings.Cut(strings.TrimRight(line, "\n"), " ")
	at, err := time.Parse(time.RFC3339Nano, stamp)
	if err != nil {
		return logLine{}, fmt.Errorf("expected a log line that begins with a time, got %q: %w", line, err)
	}
	return logLine{at: at, text: text}, nil
}

// follow hands over the lines of a container that runs, until each says that it is enough.
func (c *cluster) follow(ctx context.Context, namespace, pod, container string, since time.Time, each func(logLine) (enough bool)) error {
	options := &corev1.PodLogOptions{Container: container, Follow: true, Timestamps: true}
	stream, err := c.client.CoreV1().Pods(namespace).GetLogs(pod, options).Stream(ctx)
	if err != nil {
		return fmt.Errorf("reading the log of %s in %s/%s: %w", container, namespace, pod, err)
	}
	defer func() { _ = stream.Close() }()
	scanner := bufio.NewScanner(stream)
	for scanner.Scan() {
		l, err := parseLogLine(scanner.Text())
		if err != nil {
			return err
		}
		if !l.at.Before(since) && each(l) {
			return nil
		}
	}
	if err := scanner.Err(); err != nil {
		return fmt.Errorf("reading the log of %s in %s/%s: %w", container, namespace, pod, err)
	}
	return fmt.Errorf("the log of %s in %s/%s ended before what was waited for", container, namespace, pod)
}
