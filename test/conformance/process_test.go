package conformance

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"syscall"
)

// process is a running program whose output is kept.
type process struct {
	out     *output
	command *exec.Cmd
	ended   chan struct{} // closed when it has ended
}

func start(path string, args ...string) (*process, error) {
	p := &process{out: &output{}, command: exec.Command(path, args...), ended: make(chan struct{})}
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

// output collects what a process prints while it runs.
type output struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buffer.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buffer.String()
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
