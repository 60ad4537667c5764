package main

import (
	"os"
	"runtime"
	"strconv"
	"strings"
)

// machine is where the figures were taken. What cannot be read is left out.
type machine struct {
	CPU         string  `json:"cpu,omitempty"`
	Cores       int     `json:"cores"`
	MemoryBytes int     `json:"memoryBytes,omitempty"`
	Kernel      string  `json:"kernel,omitempty"`
	Load        float64 `json:"load"` // processes that wanted to run in the last minute, before anything was measured
	Go          string  `json:"go"`
}

func thisMachine() machine {
	read := func(path string) string {
		data, _ := os.ReadFile(path) // other systems have no such files
		return string(data)
	}
	load, _, _ := strings.Cut(read("/proc/loadavg"), " ")
	m := machine{
		CPU:         field(read("/proc/cpuinfo"), "model name"),
		Cores:       runtime.NumCPU(),
		MemoryBytes: kibibytes(read("/proc/meminfo"), "MemTotal") * 1024,
		Kernel:      strings.TrimSpace(read("/proc/sys/kernel/osrelease")),
		Go:          runtime.Version(),
	}
	m.Load, _ = strconv.ParseFloat(load, 64)
	return m
}

// field is the first value of a key in a file of "key : value" lines, as /proc has them.
func field(text, key string) string {
	for line := range strings.Lines(text) {
		if k, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(k) == key {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// kibibytes is a value such as "1024 kB", of which the kernel means 1024 bytes each; zero if there is none.
func kibibytes(text, key string) int {
	n, err := strconv.Atoi(strings.TrimSuffix(field(text, key), " kB"))
	if err != nil {
		return 0
	}
	return n
}
