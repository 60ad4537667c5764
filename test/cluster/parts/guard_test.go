package parts

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// groupFile names where TestInterruptedRunLeavesNoBuild has a second test process write the group that it builds in.
const groupFile = "PARTS_TEST_GROUP_FILE"

// TestBuildForever stands for a test run that is building: it is a process of its own, started by the test below.
func TestBuildForever(t *testing.T) {
	file := os.Getenv(groupFile)
	if file == "" {
		t.Skip("only another test starts this")
	}
	build := command{argv: []string{"sh", "-c", `sleep 600 & echo $$ > "$1.new"; mv "$1.new" "$1"; sleep 600`, "sh", file}}
	_, err := build.run(context.Background())
	t.Fatalf("ended: %v", err)
}

// TestInterruptedRunLeavesNoBuild: neither a signal nor a kill of the test run leaves the build or its children.
func TestInterruptedRunLeavesNoBuild(t *testing.T) {
	t.Parallel()
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGKILL} {
		t.Run(signal.String(), func(t *testing.T) {
			t.Parallel()
			file := t.TempDir() + "/group"
			run := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestBuildForever$")
			run.Env = append(os.Environ(), groupFile+"="+file)
			if err := run.Start(); err != nil {
				t.Fatal(err)
			}
			group := 0
			await(t, "the build", func() bool {
				content, err := os.ReadFile(file)
				if err == nil {
					group, err = strconv.Atoi(strings.TrimSpace(string(content)))
				}
				return err == nil && len(members(t, group)) == 3
			})
			t.Cleanup(func() { _ = syscall.Kill(-group, syscall.SIGKILL) })
			if err := run.Process.Signal(signal); err != nil {
				t.Fatal(err)
			}
			if err := run.Wait(); err == nil {
				t.Error("expected the run to end by the signal")
			}
			await(t, "the end of the build", func() bool { return len(members(t, group)) == 0 })
		})
	}
}

func TestCommandLeavesNoGuard(t *testing.T) {
	t.Parallel()
	out, err := command{argv: []string{"sh", "-c", "echo $$"}}.run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if left := running(t, "guard", strings.TrimSpace(out)); left != 0 {
		t.Errorf("%d guards of group %s are left", left, strings.TrimSpace(out))
	}
}

// members are the processes of a group that have not ended.
func members(t *testing.T, group int) []string {
	t.Helper()
	var found []string
	for _, line := range processes(t, "pgid=,stat=,args=") {
		fields := strings.Fields(line)
		if len(fields) > 2 && fields[0] == strconv.Itoa(group) && !strings.HasPrefix(fields[1], "Z") {
			found = append(found, line)
		}
	}
	return found
}

// running counts the processes whose last words are these.
func running(t *testing.T, words ...string) int {
	t.Helper()
	count := 0
	for _, line := range processes(t, "args=") {
		if strings.HasSuffix(line, strings.Join(words, " ")) {
			count++
		}
	}
	return count
}

func processes(t *testing.T, columns string) []string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "ps", "-A", "-o", columns).Output()
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for scanner := bufio.NewScanner(strings.NewReader(string(out))); scanner.Scan(); {
		lines = append(lines, scanner.Text())
	}
	return lines
}

func await(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}
