package frontproxy

import (
	"bufio"
	"context"
	"fmt"
	"regexp"
	"strings"

	"github.com/spire-injector/spire-injector/test/demo/scene"
)

var forwarded = regexp.MustCompile(`127\.0\.0\.1:([0-9]+)`)

// forward makes a service's port reachable from outside the cluster, at the returned port of 127.0.0.1, until it is ended.
func (s stage) forward(ctx context.Context, namespace, service, port string) (local string, end func(), err error) {
	ctx, cancel := context.WithCancel(ctx)
	c := scene.In(namespace, "port-forward", "service/"+service, ":"+port) // any free port of ours
	command := s.K.Command(ctx, c.Args...)
	stdout, err := command.StdoutPipe()
	if err == nil {
		err = command.Start()
	}
	if err != nil {
		cancel()
		return "", nil, fmt.Errorf("%s: %w", c, err)
	}
	end = func() {
		cancel()
		_ = command.Wait() // killed by us
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	found := forwarded.FindStringSubmatch(line)
	if found == nil {
		end()
		return "", nil, &scene.Mismatch{What: c.String(), Expected: "the address that it listens on", Got: strings.TrimSpace(fmt.Sprint(line, " ", err))}
	}
	return found[1], end, nil
}
