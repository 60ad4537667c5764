package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestFindEnvoy(t *testing.T) {
	proc := t.TempDir()
	process := func(pid, cgroup, status string) {
		t.Helper()
		dir := filepath.Join(proc, pid)
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		for name, text := range map[string]string{"cgroup": cgroup, "status": status} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	const envoy = "Name:\tenvoy\nVmRSS:\t66560 kB\nRssAnon:\t14336 kB\n"
	process("1", "0::/\n", "Name:\tinit\nVmRSS:\t1 kB\n")
	process("10", "4:memory:/cluster/kubepods/podaaaa-1/x\n", "Name:\tpause\nVmRSS:\t1 kB\n")
	process("11", "4:memory:/cluster/kubepods/podaaaa-1/y\n", envoy)
	process("12", "0::/kubepods.slice/kubepods-podbbbb_2.slice/z\n", strings.Replace(envoy, "66560", "2048", 1))

	tests := map[string]struct {
		uid  string
		want int // resident KiB
	}{
		"cgroupfs": {"aaaa-1", 66560},
		"systemd":  {"bbbb-2", 2048},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := findEnvoy(proc, tt.uid)
			if err != nil {
				t.Fatal(err)
			}
			if want := (processMemory{Resident: tt.want * 1024, Anonymous: 14336 * 1024}); got != want {
				t.Errorf("got %+v, want %+v", got, want)
			}
		})
	}
	_, err := findEnvoy(proc, "cccc-3")
	if err == nil || !strings.Contains(err.Error(), "no Envoy of this pod runs on this machine") {
		t.Errorf("a pod elsewhere: got error %v", err)
	}
}

func TestParseStat(t *testing.T) {
	got, err := parseStat([]byte(`{"stats":[{"name":"server.memory_allocated","value":12345}]}`), "server.memory_allocated")
	if err != nil || got != 12345 {
		t.Errorf("got %d and %v, want 12345", got, err)
	}
	_, err = parseStat([]byte(`{"stats":[]}`), "server.memory_allocated")
	if err == nil || !strings.Contains(err.Error(), "expected the stat server.memory_allocated") {
		t.Errorf("got error %v, want one that names the stat", err)
	}
}
