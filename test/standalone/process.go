package standalone

import (
	"os"
	"os/exec"
	"syscall"

	"github.com/spire-injector/spire-injector/test/command"
)

// Process is a running program whose output is kept.
type Process struct {
	Out     *command.Output
	program *exec.Cmd
	ended   chan struct{} // closed when it has ended
}

// Start runs a program, which does not outlive this one.
func Start(path string, args ...string) (*Process, error) { return StartWith(nil, path, args...) }

// StartWith also sets variables of the environment, NAME=VALUE, beside those of this program.
func StartWith(variables []string, path string, args ...string) (*Process, error) {
	program := exec.Command(path, args...) //nolint:noctx // ends with Stop, or with this program
	program.Env = append(os.Environ(), variables...)
	p := &Process{Out: &command.Output{}, program: program, ended: make(chan struct{})}
	p.program.Stdout, p.program.Stderr = p.Out, p.Out
	p.program.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.program.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = p.program.Wait() // killed, as a rule
		close(p.ended)
	}()
	return p, nil
}

// Stop kills the program and returns when it has ended.
func (p *Process) Stop() {
	_ = p.program.Process.Kill() // or it has ended already
	<-p.ended
}

// Signal sends the program a signal, such as SIGSTOP.
func (p *Process) Signal(signal os.Signal) error { return p.program.Process.Signal(signal) }

// Running says whether it has not ended.
func (p *Process) Running() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// PID is the program's process ID.
func (p *Process) PID() int { return p.program.Process.Pid }
