package supervisor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"sync"
	"syscall"
	"time"
)

// Run is the life of process 1. It reads the Spec from in and returns only if it cannot begin; SIGTERM ends the
// process.
func Run(in io.Reader) error {
	if os.Getpid() != 1 {
		return fmt.Errorf("this is process %d; it must be the first of a process namespace: use `go run ./test/cluster up`", os.Getpid())
	}
	signal.Ignore(syscall.SIGINT, syscall.SIGHUP, syscall.SIGPIPE)
	var spec Spec
	if err := json.NewDecoder(in).Decode(&spec); err != nil {
		return fmt.Errorf("read what to do: %w", err)
	}
	if err := arrange(spec); err != nil {
		return err
	}
	for _, dir := range spec.OpenDirs {
		if err := openNewFolders(dir); err != nil {
			return err
		}
	}
	s := newSupervisor(spec)
	if err := s.startNodes(); err != nil {
		return err
	}
	for n := range spec.Daemons {
		go s.begin(n)
	}
	s.reap()
	return nil
}

func newSupervisor(spec Spec) *supervisor {
	count := len(spec.Daemons) + len(spec.Nodes)
	s := &supervisor{spec: spec, status: make(Status, count), running: map[int]int{}, since: make([]time.Time, count)}
	for n, d := range spec.Daemons {
		s.status[n].Name = d.Name
	}
	for n, node := range spec.Nodes {
		s.status[len(spec.Daemons)+n].Name = node.Name
	}
	return s
}

type supervisor struct {
	spec Spec

	mu      sync.Mutex
	status  Status
	running map[int]int // process id to index in status
	since   []time.Time
}

func (s *supervisor) begin(n int) {
	if after := s.spec.Daemons[n].After; after != nil {
		if err := await(*after); err != nil {
			slog.Error("wait before a daemon's start", "daemon", s.spec.Daemons[n].Name, "error", err)
			os.Exit(1)
		}
	}
	s.start(n)
}

// start holds the lock, so that a daemon that ends at once is known by the time it is reaped.
func (s *supervisor) start(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.spec.Daemons[n]
	pid, err := spawnDaemon(d, slices.Concat(s.spec.Env, d.Env))
	if err != nil {
		slog.Error("start a daemon", "daemon", d.Name, "error", err)
		s.ended(n, err.Error())
		return
	}
	slog.Info("started", "daemon", d.Name, "pid", pid)
	s.running[pid], s.status[n].PID, s.since[n] = n, pid, time.Now()
	s.save()
}

// idlePoll is how long the reaper rests when there is nothing to reap at all.
const idlePoll = 50 * time.Millisecond

// reap takes in every process that ends: daemons, and what they and the containers leave to process 1.
func (s *supervisor) reap() {
	for {
		var ws syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &ws, 0, nil)
		if errors.Is(err, syscall.ECHILD) {
			time.Sleep(idlePoll)
			continue
		}
		if err != nil {
			continue // interrupted
		}
		s.mu.Lock()
		if n, ok := s.running[pid]; ok {
			delete(s.running, pid)
			s.ended(n, describe(ws))
		}
		s.mu.Unlock()
	}
}

func describe(ws syscall.WaitStatus) string {
	if ws.Signaled() {
		return "killed by signal " + ws.Signal().String()
	}
	return fmt.Sprintf("exit status %d", ws.ExitStatus())
}

const (
	firstPause = 250 * time.Millisecond
	longPause  = 8 * time.Second
	// steady is how long a daemon must have run for its earlier ends to be forgotten.
	steady = 30 * time.Second
)

// ended notes that n does not run. A daemon is started again after a pause, which grows while it keeps ending.
// The caller holds the lock.
func (s *supervisor) ended(n int, how string) {
	st := &s.status[n]
	if n >= len(s.spec.Daemons) {
		st.PID, st.LastExit = 0, how
		slog.Warn("ended", "node", st.Name, "how", how)
		s.save()
		return
	}
	if !s.since[n].IsZero() && time.Since(s.since[n]) > steady {
		st.Restarts = 0
	}
	pause := min(firstPause<<min(st.Restarts, 10), longPause)
	st.PID, st.LastExit = 0, how
	st.Restarts++
	slog.Warn("ended", "daemon", st.Name, "how", how, "restart_in", pause)
	s.save()
	time.AfterFunc(pause, func() { s.start(n) })
}

// save writes the status file whole or not at all. The caller holds the lock.
func (s *supervisor) save() {
	data, err := json.Marshal(s.status)
	if err == nil {
		err = os.WriteFile(s.spec.StatusFile+".new", data, 0o644)
	}
	if err == nil {
		err = os.Rename(s.spec.StatusFile+".new", s.spec.StatusFile)
	}
	if err != nil {
		slog.Error("write the status file", "error", err)
	}
}

const awaitPoll = 50 * time.Millisecond

// await returns when the endpoint answers 200. It has no limit: the one who started the cluster has.
func await(e Endpoint) error {
	ca, err := os.ReadFile(e.CAFile)
	if err != nil {
		return err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(ca) {
		return fmt.Errorf("%s has no certificate", e.CAFile)
	}
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}, DisableKeepAlives: true}}
	request, err := http.NewRequestWithContext(context.Background(), http.MethodGet, e.URL, nil)
	if err != nil {
		return err
	}
	for {
		if response, err := client.Do(request); err == nil {
			_ = response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return nil
			}
		}
		time.Sleep(awaitPoll)
	}
}
