package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// processMemory is what the kernel counts for one process, in bytes.
type processMemory struct {
	Resident  int `json:"resident"`  // with the pages of the program file, which all Envoys of a node share
	Anonymous int `json:"anonymous"` // its own alone
}

// findEnvoy reads the memory of the Envoy of a pod from the kernel's tables, which show the processes of this machine's
// containers too. Elsewhere there is none, and the error says so.
func findEnvoy(proc, podUID string) (processMemory, error) {
	// The two ways in which cgroup drivers write a UID.
	names := []string{podUID, strings.ReplaceAll(podUID, "-", "_")}
	cgroups, err := filepath.Glob(filepath.Join(proc, "[0-9]*", "cgroup"))
	if err != nil {
		return processMemory{}, err
	}
	for _, file := range cgroups {
		cgroup, err := os.ReadFile(file)
		if err != nil || !strings.Contains(string(cgroup), names[0]) && !strings.Contains(string(cgroup), names[1]) {
			continue // others, or one that has just ended
		}
		status, err := os.ReadFile(filepath.Join(filepath.Dir(file), "status"))
		if err != nil || field(string(status), "Name") != "envoy" {
			continue
		}
		m := processMemory{Resident: kibibytes(string(status), "VmRSS") * 1024, Anonymous: kibibytes(string(status), "RssAnon") * 1024}
		if m.Resident == 0 {
			return processMemory{}, fmt.Errorf("expected VmRSS and RssAnon in %s of the Envoy, got neither", filepath.Join(filepath.Dir(file), "status"))
		}
		return m, nil
	}
	return processMemory{}, fmt.Errorf("resident memory is read from %s, and no Envoy of this pod runs on this machine: measure on the node", proc)
}
