package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// processMemory is what the kernel counts for one process, in bytes.
type processMemory struct {
	Resident  int `json:"resident"`  // with the pages of the program file, which all Envoys of a node share
	Anonymous int `json:"anonymous"` // its own alone
}

// findEnvoy reads the memory of the Envoy of a pod from the kernel's tables, which show the processes of this machine's
// containers too. Elsewhere there is none, and the error says so.
func findEnvoy(proc, podUID string) (processMemory, error) {
	processes, err := processesOfPod(proc, podUID)
	if err != nil {
		return processMemory{}, err
	}
	for _, process := range processes {
		status, err := os.ReadFile(filepath.Join(process, "status"))
		if err != nil || field(string(status), "Name") != "envoy" {
			continue
		}
		m := processMemory{Resident: kibibytes(string(status), "VmRSS") * 1024, Anonymous: kibibytes(string(status), "RssAnon") * 1024}
		if m.Resident == 0 {
			return processMemory{}, fmt.Errorf("expected VmRSS and RssAnon in %s of the Envoy, got neither", filepath.Join(process, "status"))
		}
		return m, nil
	}
	return processMemory{}, fmt.Errorf("resident memory is read from %s, and no Envoy of this pod runs on this machine: measure on the node", proc)
}

// processesOfPod are the folders in the kernel's tables of those processes of a pod that run on this machine.
func processesOfPod(proc, podUID string) ([]string, error) {
	// The two ways in which cgroup drivers write a UID.
	names := []string{podUID, strings.ReplaceAll(podUID, "-", "_")}
	return processesWith(proc, "cgroup", func(cgroup string) bool {
		return strings.Contains(cgroup, names[0]) || strings.Contains(cgroup, names[1])
	})
}

// apiServerOf is the folder of the API server of the cluster of this machine whose files lie beside a kubeconfig.
func apiServerOf(proc, kubeconfig string) ([]string, error) {
	folder := filepath.Dir(kubeconfig) + string(filepath.Separator)
	return processesWith(proc, "cmdline", func(arguments string) bool {
		program, rest, _ := strings.Cut(arguments, "\x00")
		return filepath.Base(program) == "kube-apiserver" && strings.Contains(rest, "="+folder)
	})
}

// processesWith are the folders of processes of which a file says what is asked. One that has just ended has none.
func processesWith(proc, file string, says func(content string) bool) ([]string, error) {
	paths, err := filepath.Glob(filepath.Join(proc, "[0-9]*", file))
	if err != nil {
		return nil, err
	}
	var found []string
	for _, path := range paths {
		if content, err := os.ReadFile(path); err == nil && says(string(content)) {
			found = append(found, filepath.Dir(path))
		}
	}
	return found, nil
}

// clockTick is the unit of processor time in /proc, on every architecture that Go knows.
const clockTick = 10 * time.Millisecond

// processorTime is how long processes have run since they started, for themselves and in the kernel.
func processorTime(processes []string) (time.Duration, error) {
	var sum time.Duration
	for _, process := range processes {
		path := filepath.Join(process, "stat")
		stat, err := os.ReadFile(path)
		if err != nil {
			return 0, fmt.Errorf("a process ended while it was measured: %w", err)
		}
		// The second field is the program's name in parentheses and may have any character; user and kernel time are the
		// 14th and the 15th.
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		if len(fields) < 13 {
			return 0, fmt.Errorf("expected at least 15 fields in %s, got %q", path, stat)
		}
		for _, field := range fields[11:13] {
			ticks, err := strconv.Atoi(field)
			if err != nil {
				return 0, fmt.Errorf("expected processor time in %s: %w", path, err)
			}
			sum += time.Duration(ticks) * clockTick
		}
	}
	return sum, nil
}
