package supervisor

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"syscall"
)

func spawnDaemon(d Daemon, env []string) (pid int, err error) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		return 0, err
	}
	defer func() { _ = null.Close() }()
	return spawn(append([]string{d.Path}, d.Args...), env, null, d.Log, &syscall.SysProcAttr{Setsid: true})
}

// spawn starts a program without waiting for it: whatever ends is waited for in one place.
func spawn(argv, env []string, in *os.File, log string, sys *syscall.SysProcAttr) (pid int, err error) {
	logFile, err := os.OpenFile(log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return 0, err
	}
	defer func() { _ = logFile.Close() }()
	return syscall.ForkExec(argv[0], argv, &syscall.ProcAttr{
		Dir:   "/",
		Env:   env,
		Files: []uintptr{in.Fd(), logFile.Fd(), logFile.Fd()},
		Sys:   sys,
	})
}

// startNodes starts process 1 of each further node, connects it and tells it what to do.
func (s *supervisor) startNodes() error {
	program, err := os.Executable()
	if err != nil {
		return err
	}
	for i, node := range s.spec.Nodes {
		n := len(s.spec.Daemons) + i
		if s.status[n].PID, err = startNode(program, node, s.spec.Env); err != nil {
			return fmt.Errorf("start %s: %w", node.Name, err)
		}
		slog.Info("started", "node", node.Name, "pid", s.status[n].PID)
		s.running[s.status[n].PID] = n
	}
	return nil
}

func startNode(program string, node Node, env []string) (pid int, err error) {
	spec, err := json.Marshal(node.Spec)
	if err != nil {
		return 0, err
	}
	in, out, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	pid, err = spawn([]string{program}, env, in, node.Log, &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWUTS,
		Setsid:     true,
	})
	if err := errors.Join(err, in.Close()); err != nil {
		return 0, err
	}
	for _, argv := range append([][]string{append(node.Connect, strconv.Itoa(pid))}, node.Commands...) {
		if err := runCommand(argv, env); err != nil {
			return 0, err
		}
	}
	_, err = out.Write(spec)
	return pid, err
}
