package supervisor

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestRunRefusesToBeAnyOtherProcessThanTheFirst(t *testing.T) {
	err := Run(strings.NewReader("{}"))
	if err == nil || !strings.Contains(err.Error(), "it must be the first of a process namespace") {
		t.Errorf("got error %v", err)
	}
}

func TestDescribe(t *testing.T) {
	for status, want := range map[syscall.WaitStatus]string{
		0:      "exit status 0",
		3 << 8: "exit status 3",
		9:      "killed by signal killed",
	} {
		if got := describe(status); got != want {
			t.Errorf("describe(%#x) = %q, want %q", int(status), got, want)
		}
	}
}

func TestEndedIsRecordedAndOldEndsAreForgotten(t *testing.T) {
	file := filepath.Join(t.TempDir(), "status.json")
	s := &supervisor{
		spec:    Spec{StatusFile: file, Daemons: []Daemon{{Name: "d", Path: "/bin/true"}}},
		status:  Status{{Name: "d", PID: 7, Restarts: 5}},
		running: map[int]int{},
		since:   []time.Time{time.Now()},
	}
	ended := func() DaemonStatus {
		t.Helper()
		s.mu.Lock()
		s.ended(0, "exit status 1")
		s.mu.Unlock()
		return statusIn(t, file)[0]
	}
	if got, want := ended(), (DaemonStatus{Name: "d", Restarts: 6, LastExit: "exit status 1"}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	s.since[0] = time.Now().Add(-2 * steady)
	if got := ended(); got.Restarts != 1 {
		t.Errorf("restarts after a long steady run: got %d, want 1", got.Restarts)
	}
}

func statusIn(t *testing.T, file string) Status {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var status Status
	if err := json.Unmarshal(data, &status); err != nil {
		t.Fatal(err)
	}
	return status
}

func TestANodeThatEndedIsNotStartedAgain(t *testing.T) {
	file := filepath.Join(t.TempDir(), "status.json")
	s := newSupervisor(Spec{StatusFile: file, Daemons: []Daemon{{Name: "d", Path: "/bin/true"}}, Nodes: []Node{{Name: "node2"}}})
	s.status[1].PID = 9
	s.mu.Lock()
	s.ended(1, "killed by signal killed")
	s.mu.Unlock()
	status := statusIn(t, file)
	if want := (DaemonStatus{Name: "node2", LastExit: "killed by signal killed"}); len(status) != 2 || status[1] != want {
		t.Errorf("got %+v, want %+v as the second", status, want)
	}
}

func TestNewFoldersAreOpened(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "volumes")
	if err := openNewFolders(dir); err != nil {
		t.Fatal(err)
	}
	volume := filepath.Join(dir, "v1")
	if err := os.Mkdir(volume, 0o750); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		info, err := os.Stat(volume)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() == 0o777 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("mode of a new folder: %v, want 0777", info.Mode())
		}
	}
}
