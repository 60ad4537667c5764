package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spire-injector/spire-injector/test/cluster/supervisor"
)

func (c cluster) apiReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	_, err := c.kubectl(ctx, nil, "get", "--raw", "/readyz")
	return err
}

// waitReady waits until the API server, the node and the name server are ready, and pods can be made.
func (c cluster) waitReady(ctx context.Context) error {
	if err := poll(ctx, c.apiReady); err != nil {
		return err
	}
	for _, args := range [][]string{
		{"wait", "--for=create", "node/" + nodeName},
		{"wait", "--for=condition=Ready", "node/" + nodeName},
		{"wait", "--for=create", "--namespace=default", "serviceaccount/default"},
		{"wait", "--for=condition=Available", "--namespace=kube-system", "deployment/coredns"},
	} {
		if _, err := c.kubectl(ctx, nil, append(args, "--timeout=5m")...); err != nil {
			return err
		}
	}
	return poll(ctx, c.kubeletAnswers)
}

// kubeletAnswers asks the kubelet itself: its node stays Ready for a while after it has ended.
func (c cluster) kubeletAnswers(ctx context.Context) error {
	_, err := c.kubectl(ctx, nil, "get", "--raw", "/api/v1/nodes/"+nodeName+"/proxy/healthz")
	return err
}

// hopeless is how often a daemon may end while the cluster starts before it is given up.
const hopeless = 4

// watch ends the start early when it cannot succeed: when process 1 has ended, or a daemon keeps ending.
func (c cluster) watch(ctx context.Context, init process, give func(error)) {
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if !init.runs() {
			give(c.failure("process 1 of the cluster ended", "init"))
			return
		}
		status, err := readStatus(c.layout)
		if err != nil {
			continue // not written yet
		}
		for _, d := range status {
			if d.Restarts >= hopeless {
				give(c.failure(fmt.Sprintf("%s ended %d times, last: %s", d.Name, d.Restarts, d.LastExit), d.Name))
				return
			}
		}
	}
}

func readStatus(l layout) (supervisor.Status, error) {
	data, err := os.ReadFile(l.daemons())
	if err != nil {
		return nil, err
	}
	var status supervisor.Status
	return status, json.Unmarshal(data, &status)
}

const shownLines = 15

// failure is an error with the end of a daemon's log.
func (c cluster) failure(what, daemon string) error {
	data, err := os.ReadFile(c.log(daemon))
	if err != nil {
		return errors.Join(errors.New(what), err)
	}
	lines := strings.Split(strings.TrimRight(string(data), "\n"), "\n")
	lines = lines[max(0, len(lines)-shownLines):]
	return fmt.Errorf("%s; the end of %s:\n%s", what, c.log(daemon), strings.Join(lines, "\n"))
}
