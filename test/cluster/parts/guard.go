package parts

import (
	"fmt"
	"io"
	"os/exec"
	"strconv"
)

// guard ends a process group when this process ends in whatever way, SIGKILL and a test's timeout included. A build is
// many processes: a parent death signal would reach but the first of them.
type guard struct {
	program *exec.Cmd
	alive   io.Closer // held open by this process alone
}

// watch starts a guard of the group, which has to exist.
func watch(group int) (*guard, error) {
	program := exec.Command("sh", "-c", `read -r _; kill -s KILL -- "-$1"`, "guard", strconv.Itoa(group)) //nolint:noctx // it has to outlive this process
	alive, err := program.StdinPipe()
	if err != nil {
		return nil, err
	}
	program.SysProcAttr = ownGroup() // what interrupts this process must not end its guard first
	if err := program.Start(); err != nil {
		return nil, fmt.Errorf("start the guard of what is built: %w", err)
	}
	return &guard{program: program, alive: alive}, nil
}

// dismiss ends the guard and spares the group.
func (g *guard) dismiss() {
	_ = g.program.Process.Kill()
	_ = g.program.Wait() // killed
	_ = g.alive.Close()
}
