package scene

import (
	"bufio"
	"context"
	"fmt"
	"regexp"
	"strings"
)

var forwarded = regexp.MustCompile(`127\.0\.0\.1:[0-9]+`)

// Forward makes a port of a workload or service reachable at the returned address of this machine, until end is called.
func (s Scene) Forward(ctx context.Context, namespace, target, port string) (address string, end func(), err error) {
	ctx, cancel := context.WithCancel(ctx)
	c := In(namespace, "port-forward", target, ":"+port) // any free port of ours
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
	address = forwarded.FindString(line)
	if address == "" {
		end()
		return "", nil, &Mismatch{What: c.String(), Expected: "the address that it listens on", Got: strings.TrimSpace(fmt.Sprint(line, " ", err))}
	}
	return address, end, nil
}
