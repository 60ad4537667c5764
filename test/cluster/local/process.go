package local

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// process names one process for all time: the kernel uses process ids again, but not with the same start.
type process struct {
	PID   int    `json:"pid"`
	Start uint64 `json:"start"` // clock ticks from the machine's start; field 22 of /proc/PID/stat
}

func identify(pid int) (process, error) {
	start, _, err := readStat(pid)
	return process{PID: pid, Start: start}, err
}

func readStat(pid int) (start uint64, state string, err error) {
	data, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return 0, "", err
	}
	return parseStat(string(data))
}

// parseStat reads a stat file. Its second field is the program's name in parentheses and may itself have any character.
func parseStat(stat string) (start uint64, state string, err error) {
	_, rest, ok := cutLast(stat, ")")
	fields := strings.Fields(rest)
	if !ok || len(fields) < 20 {
		return 0, "", fmt.Errorf("unexpected content of a stat file: %q", stat)
	}
	start, err = strconv.ParseUint(fields[19], 10, 64)
	return start, fields[0], err
}

func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

// runs tells whether p still runs. A process that ended but was not yet waited for does not.
func (p process) runs() bool {
	start, state, err := readStat(p.PID)
	return err == nil && start == p.Start && state != "Z" && state != "X"
}

func (p process) save(path string) error {
	data, err := json.Marshal(p)
	if err != nil {
		return err
	}
	return writeWhole(path, data)
}

// loadProcess returns the recorded process, or none if there is no record or only a broken one.
func loadProcess(path string) (process, bool) {
	data, err := os.ReadFile(path)
	if err != nil {
		return process{}, false
	}
	var p process
	return p, json.Unmarshal(data, &p) == nil && p.PID > 1
}

const killLimit = 20 * time.Second

// kill ends p and waits until it has gone. For the first process of a namespace the kernel ends all others first.
func (p process) kill() error {
	if !p.runs() {
		return nil
	}
	if err := unix.Kill(p.PID, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("end process %d: %w", p.PID, err)
	}
	for deadline := time.Now().Add(killLimit); p.runs(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			return fmt.Errorf("process %d was killed but has not ended within %s: is it stuck in the kernel (state D)?", p.PID, killLimit)
		}
	}
	return nil
}

// writeWhole writes a file so that no reader ever sees a part of it.
func writeWhole(path string, data []byte) error {
	if err := os.WriteFile(path+".new", data, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist)
}
