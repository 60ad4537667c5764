package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestProxyConfigurationsNeedNoAgent: every secret comes from a file that is there.
func TestProxyConfigurationsNeedNoAgent(t *testing.T) {
	certificates, err := makeCertificates(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, callee := range []bool{true, false} {
		dir := t.TempDir()
		if _, err := generatedConfig(certificates)(dir, proxyPorts{1, 2, 3, 4, 5, 6, 7}, callee); err != nil {
			t.Fatal(err)
		}
		secrets := 0
		for _, name := range []string{"bootstrap.json", "listeners.json", "clusters.json"} {
			text, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(string(text), "api_config_source") {
				t.Errorf("%s asks an agent:\n%s", name, text)
			}
			for _, path := range strings.Split(string(text), `"sds_config":{"path_config_source":{"path":"`)[1:] {
				path, _, _ = strings.Cut(path, `"`)
				content, err := os.ReadFile(path)
				if err != nil || !json.Valid(content) {
					t.Errorf("%s: %v", path, err)
				}
				secrets++
			}
		}
		if secrets != 2 {
			t.Errorf("%d secrets, want an SVID and a bundle", secrets)
		}
	}
}

// TestProcessorTime holds the kernel's figures against those of a process that has ended.
func TestProcessorTime(t *testing.T) {
	busy := exec.Command("sh", "-c", "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done; sleep 60")
	if err := busy.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = busy.Process.Kill()
		_ = busy.Wait()
	}()
	deadline := time.Now().Add(30 * time.Second)
	for {
		took, err := processorTimeOf(busy.Process.Pid)
		if err != nil {
			t.Fatal(err)
		}
		if took > 50*time.Millisecond && took < 30*time.Second {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("got %s", took)
		}
		time.Sleep(10 * time.Millisecond)
	}
}
