package main

import (
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

// TestProxyConfigurationsNeedNoAgent: every secret comes from a file that is there.
func TestProxyConfigurationsNeedNoAgent(t *testing.T) {
	certificates, err := makeCertificates(t.TempDir(), time.Hour)
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

// TestBothConfigurationsLogTheSame: what they are compared for is not what they write.
func TestBothConfigurationsLogTheSame(t *testing.T) {
	certificates, err := makeCertificates(t.TempDir(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	ports := proxyPorts{1, 2, 3, 4, 5, 6, 7}
	for event, callee := range map[string]bool{"request": true, "upstream_request": false} {
		logs := func(config makeConfig, file string) any {
			t.Helper()
			dir := t.TempDir()
			if _, err := config(dir, ports, callee); err != nil {
				t.Fatal(err)
			}
			text, err := os.ReadFile(filepath.Join(dir, file))
			if err != nil {
				t.Fatal(err)
			}
			var document any
			if err := yaml.Unmarshal(text, &document); err != nil {
				t.Fatal(err)
			}
			return logFormat(document, event)
		}
		generated, byHand := logs(generatedConfig(certificates), "listeners.json"), logs(handWrittenConfig(certificates, jsonLog), "envoy.yaml")
		if diff := cmp.Diff(generated, byHand); generated == nil || diff != "" {
			t.Errorf("%s (-generated +by hand):\n%s", event, diff)
		}
	}
}

func TestInstructionsAreOfTheWorker(t *testing.T) {
	busy, idle := map[string]int{"01": 500, "02": 9000, "03": 20}, map[string]int{"01": 480, "02": 1000}
	if got := ofWorker(busy, idle); got != 8000 {
		t.Errorf("got %d, want 8000", got)
	}
}

// logFormat finds the format of an event's line.
func logFormat(value any, event string) any {
	var inner []any
	switch value := value.(type) {
	case []any:
		inner = value
	case map[string]any:
		if format, ok := value["json_format"].(map[string]any); ok && format["event"] == event {
			return value
		}
		inner = slices.Collect(maps.Values(value))
	}
	for _, v := range inner {
		if found := logFormat(v, event); found != nil {
			return found
		}
	}
	return nil
}
