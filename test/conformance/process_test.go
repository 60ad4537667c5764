package conformance

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"sync/atomic"
	"syscall"

	"github.com/spire-injector/spire-injector/test/printed"
)

// process is a running program whose output is kept.
type process struct {
	out     *printed.Output
	command *exec.Cmd
	ended   chan struct{} // closed when it has ended
}

func start(path string, args ...string) (*process, error) {
	p := &process{out: &printed.Output{}, command: exec.Command(path, args...), ended: make(chan struct{})}
	p.command.Stdout, p.command.Stderr = p.out, p.out
	p.command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.command.Start(); err != nil {
		return nil, err
	}
	go func() {
		p.command.Wait()
		close(p.ended)
	}()
	return p, nil
}

func (p *process) stop() {
	p.command.Process.Kill()
	<-p.ended
}

func (p *process) running() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// ports lie below the range that the kernel takes for outgoing connections, which could otherwise take one between its
// choice and its use.
var ports atomic.Uint32

// freePort returns a port that is free on all addresses. Where the search begins is far apart for any two processes, so that
// tests of two packages do not choose the same.
func freePort() (uint16, error) {
	for range 20000 {
		port := uint16(10000 + (uint32(os.Getpid())*61+ports.Add(1))%20000)
		listener, err := net.Listen("tcp", fmt.Sprintf("0.0.0.0:%d", port))
		if err == nil {
			return port, listener.Close()
		}
	}
	return 0, fmt.Errorf("found no free port from 10000 to 29999")
}
