package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

func newSignalCommand() *cobra.Command {
	var proc, cgroup string
	var after time.Duration
	command := &cobra.Command{
		Use:   "signal PROGRAM SIGNAL",
		Short: "Send a signal to the processes of a program",
		Long: `Send a signal to every process whose program has this file name, and print their numbers. The exit
code is 1 when there is none. In a pod it takes hostPID: true to see those of other pods.

With --cgroup they are those in a control group whose path has this text: the ID of a container, or the
UID of a pod, tells replicas apart.

With --after they are those that there are then; a first line tells that the time has begun.`,
		Example: `  podtool signal spire-server STOP
  podtool signal spire-server CONT
  podtool signal spire-injector KILL --cgroup 0f5f8a3c...`,
		Args: func(_ *cobra.Command, arguments []string) error {
			if len(arguments) != 2 {
				return usagef("expected PROGRAM and SIGNAL, got %d arguments", len(arguments))
			}
			return nil
		},
		RunE: func(command *cobra.Command, arguments []string) error {
			signal := unix.SignalNum("SIG" + strings.TrimPrefix(arguments[1], "SIG"))
			if signal == 0 {
				return usagef("expected a signal such as KILL, got %q", arguments[1])
			}
			if after > 0 {
				printf(command.OutOrStdout(), "in %s\n", after)
			}
			select {
			case <-time.After(after):
			case <-command.Context().Done():
				return context.Cause(command.Context())
			}
			return sendSignal(command.OutOrStdout(), proc, arguments[0], cgroup, signal)
		},
	}
	command.Flags().StringVar(&proc, "proc", "/proc", "where the processes are listed")
	command.Flags().DurationVar(&after, "after", 0, "how long to wait before")
	command.Flags().StringVar(&cgroup, "cgroup", "", "only processes in a control group whose path has this text")
	return command
}

func sendSignal(out io.Writer, proc, program, cgroup string, signal syscall.Signal) error {
	pids, err := processesOf(proc, program, cgroup)
	if err != nil {
		return err
	}
	if len(pids) == 0 {
		where := ""
		if cgroup != "" {
			where = fmt.Sprintf(" with %q in its control group", cgroup)
		}
		return fmt.Errorf("expected a process of %s%s in %s, got none", program, where, proc)
	}
	var errs []error
	for _, pid := range pids {
		if err := syscall.Kill(pid, signal); err != nil {
			errs = append(errs, fmt.Errorf("process %d of %s: %w", pid, program, err))
			continue
		}
		printf(out, "%d\n", pid)
	}
	return errors.Join(errs...)
}

// processesOf goes by the first word of the command line: the file that is run may have many names.
func processesOf(proc, program, cgroup string) ([]int, error) {
	files, err := filepath.Glob(filepath.Join(proc, "[0-9]*", "cmdline"))
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, file := range files {
		line, err := os.ReadFile(file)
		if err != nil { // it has ended
			continue
		}
		name, _, _ := bytes.Cut(line, []byte{0})
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if err == nil && filepath.Base(string(name)) == program && inCgroup(filepath.Dir(file), cgroup) {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// inCgroup says whether a control group of a process has a text in its path. Under cgroup v1 a process is in several.
func inCgroup(process, text string) bool {
	if text == "" {
		return true
	}
	groups, err := os.ReadFile(filepath.Join(process, "cgroup"))
	return err == nil && strings.Contains(string(groups), text)
}
