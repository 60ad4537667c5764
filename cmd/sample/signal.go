package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

func newSignalCommand() *cobra.Command {
	var proc string
	command := &cobra.Command{
		Use:   "signal PROGRAM SIGNAL",
		Short: "Send a signal to the processes of a program",
		Long: `Send a signal to every process whose program has this file name, and print their numbers. The exit
code is 1 when there is none. In a pod it takes hostPID: true to see those of other pods.`,
		Example: `  sample signal spire-server STOP
  sample signal spire-server CONT`,
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
			return sendSignal(command.OutOrStdout(), proc, arguments[0], signal)
		},
	}
	command.Flags().StringVar(&proc, "proc", "/proc", "where the processes are listed")
	return command
}

func sendSignal(out io.Writer, proc, program string, signal syscall.Signal) error {
	pids, err := processesOf(proc, program)
	if err != nil {
		return err
	}
	if len(pids) == 0 {
		return fmt.Errorf("expected a process of %s in %s, got none", program, proc)
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
func processesOf(proc, program string) ([]int, error) {
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
		if err == nil && filepath.Base(string(name)) == program {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}
