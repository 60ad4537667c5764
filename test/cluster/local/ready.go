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

// waitReady waits until the API server, the nodes and the name server are ready, and pods can be made.
func (c cluster) waitReady(ctx context.Context) error {
	if err := poll(ctx, c.apiReady); err != nil {
		return err
	}
	var conditions [][]string
	for _, n := range c.nodes() {
		conditions = append(conditions, []string{"--for=create", "node/" + n.name()}, []string{"--for=condition=Ready", "node/" + n.name()})
	}
	conditions = append(conditions,
		[]string{"--for=create", "--namespace=default", "serviceaccount/default"},
		[]string{"--for=condition=Available", "--namespace=kube-system", "deployment/coredns"})
	for _, condition := range conditions {
		if _, err := c.kubectl(ctx, nil, append([]string{"wait", "--timeout=5m"}, condition...)...); err != nil {
			return err
		}
	}
	return poll(ctx, c.kubeletsAnswer)
}

// kubeletsAnswer asks the kubelets themselves: their nodes stay Ready for a while after they have ended.
func (c cluster) kubeletsAnswer(ctx context.Context) error {
	for _, n := range c.nodes() {
		if _, err := c.kubectl(ctx, nil, "get", "--raw", "/api/v1/nodes/"+n.name()+"/proxy/healthz"); err != nil {
			return err
		}
	}
	return nil
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
		for _, d := range c.status() {
			switch {
			case d.Restarts >= hopeless:
				give(c.failure(fmt.Sprintf("%s ended %d times, last: %s", d.Name, d.Restarts, d.LastExit), d.Name))
				return
			case d.Restarts == 0 && d.LastExit != "": // a node, which is not started again
				give(c.failure(fmt.Sprintf("process 1 of %s ended: %s", d.Name, d.LastExit), d.Name))
				return
			}
		}
	}
}

// status is how all daemons and further nodes fare, of those nodes that have told it by now.
func (c cluster) status() supervisor.Status {
	var all supervisor.Status
	for _, n := range c.nodes() {
		if status, err := readStatus(c.layout, n); err == nil {
			all = append(all, status...)
		}
	}
	return all
}

func readStatus(l layout, n node) (supervisor.Status, error) {
	data, err := os.ReadFile(l.daemons(n))
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
