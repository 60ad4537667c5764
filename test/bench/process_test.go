package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// procWith makes the kernel's table of one process, with its files.
func procWith(t *testing.T, proc, pid string, files map[string]string) string {
	t.Helper()
	folder := filepath.Join(proc, pid)
	if err := os.Mkdir(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}

// Several clusters run on one machine.
func TestAPIServerOfOneCluster(t *testing.T) {
	proc := t.TempDir()
	const serves = "/programs/kube-apiserver\x00--client-ca-file=/clusters/"
	procWith(t, proc, "1", map[string]string{"cmdline": "/programs/kube-controller-manager\x00--root-ca-file=/clusters/one/pki/ca.crt\x00"})
	want := procWith(t, proc, "2", map[string]string{"cmdline": serves + "one/pki/ca.crt\x00"})
	procWith(t, proc, "3", map[string]string{"cmdline": serves + "one-more/pki/ca.crt\x00"})
	procWith(t, proc, "4", map[string]string{}) // ended
	got, err := apiServerOf(proc, "/clusters/one/kubeconfig")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{want}, got); diff != "" {
		t.Errorf("processes (-want +got):\n%s", diff)
	}
}

func TestProcessorTimesAddUp(t *testing.T) {
	proc := t.TempDir()
	stat := func(user, kernel string) map[string]string {
		return map[string]string{"stat": "7 (a ) b) S 1 7 7 0 -1 4194560 11 12 13 14 " + user + " " + kernel + " 900 901 20 0 5 0 77\n"}
	}
	both := []string{procWith(t, proc, "1", stat("150", "50")), procWith(t, proc, "2", stat("1", "2"))}
	got, err := processorTime(both)
	if want := 2030 * time.Millisecond; err != nil || got != want {
		t.Errorf("got %s and error %v, want %s", got, err, want)
	}
	for name, process := range map[string]string{
		"a process ended": filepath.Join(proc, "3"),
		"at least 15":     procWith(t, proc, "4", map[string]string{"stat": "7 (a) S 1"}),
		"processor time":  procWith(t, proc, "5", stat("many", "1")),
	} {
		if _, err := processorTime([]string{process}); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: got error %v", name, err)
		}
	}
}
