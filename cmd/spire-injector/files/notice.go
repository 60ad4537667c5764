package files

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// Notice is how a program that does not watch files is told that they have changed: by a signal, which reaches it where
// the containers of the pod share their processes. The zero value is none.
type Notice struct {
	Signal  syscall.Signal
	Process string // as in /proc/PID/comm
}

// Signals are those that a notice may be, by name. Programs that reload their files take one of these; others would end
// them. The numbers are Linux's.
func Signals() map[string]syscall.Signal {
	return map[string]syscall.Signal{"SIGHUP": syscall.SIGHUP, "SIGUSR1": 10, "SIGUSR2": 12}
}

// SignalNames are the names of all, in order.
func SignalNames() []string { return slices.Sorted(maps.Keys(Signals())) }

// process is one of those that this one sees.
type process struct {
	pid, parent int
	name        string
}

// send signals every process of the name whose parent has another: a program's first process passes it on to its own, or
// they have no use for it. It says how many there were.
func (n Notice) send(proc string) (int, error) {
	all, err := processes(proc)
	if err != nil {
		return 0, err
	}
	names := map[int]string{}
	for _, p := range all {
		names[p.pid] = p.name
	}
	sent := 0
	var errs []error
	for _, p := range all {
		if p.name != n.Process || names[p.parent] == n.Process || p.pid == os.Getpid() {
			continue
		}
		switch err := syscall.Kill(p.pid, n.Signal); {
		case err == nil:
			sent++
		case !errors.Is(err, syscall.ESRCH): // it has ended
			errs = append(errs, fmt.Errorf("signalling process %d: %w", p.pid, err))
		}
	}
	return sent, errors.Join(errs...)
}

func processes(proc string) ([]process, error) {
	files, err := filepath.Glob(filepath.Join(proc, "[0-9]*", "stat"))
	if err != nil {
		return nil, err
	}
	var all []process
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		if p, ok := parseStat(string(text)); ok {
			all = append(all, p)
		}
	}
	return all, nil
}

// parseStat reads "PID (NAME) STATE PARENT …". A name may have parentheses and blanks.
func parseStat(text string) (process, bool) {
	begin, end := strings.IndexByte(text, '('), strings.LastIndexByte(text, ')')
	if begin < 0 || end < begin {
		return process{}, false
	}
	rest := strings.Fields(text[end+1:])
	pid, err := strconv.Atoi(strings.TrimSpace(text[:begin]))
	if err != nil || len(rest) < 2 {
		return process{}, false
	}
	parent, err := strconv.Atoi(rest[1])
	return process{pid: pid, parent: parent, name: text[begin+1 : end]}, err == nil
}
