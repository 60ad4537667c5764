package standalone

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os/exec"
	"syscall"

	"github.com/spire-injector/spire-injector/test/printed"
)

// Process is a running program whose output is kept.
type Process struct {
	Out     *printed.Output
	command *exec.Cmd
	ended   chan struct{} // closed when it has ended
}

// Start runs a program, which does not outlive this one.
func Start(path string, args ...string) (*Process, error) {
	command := exec.Command(path, args...) //nolint:noctx // ends with Stop, or with this program
	p := &Process{Out: &printed.Output{}, command: command, ended: make(chan struct{})}
	p.command.Stdout, p.command.Stderr = p.Out, p.Out
	p.command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.command.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = p.command.Wait() // killed, as a rule
		close(p.ended)
	}()
	return p, nil
}

// Stop kills the program and returns when it has ended.
func (p *Process) Stop() {
	_ = p.command.Process.Kill() // or it has ended already
	<-p.ended
}

// Running says whether it has not ended.
func (p *Process) Running() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// FreePort returns a port that is free on all addresses. It lies below the range that the kernel takes for outgoing
// connections, which could otherwise take it between its choice and its use.
func FreePort(ctx context.Context) (uint16, error) {
	var config net.ListenConfig
	for range 20000 {
		port := uint16(10000 + rand.IntN(20000)) //nolint:gosec // nobody is kept from guessing it
		listener, err := config.Listen(ctx, "tcp", fmt.Sprintf("0.0.0.0:%d", port))
		if err == nil {
			return port, listener.Close()
		}
	}
	return 0, errors.New("found no free port from 10000 to 29999")
}
