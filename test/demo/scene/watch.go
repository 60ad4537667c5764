package scene

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// Sighting is an answer that differs from the one before it, seen by a client that calls over one connection all the
// time.
type Sighting struct {
	Status string `json:"status"` // the status, or "error"
	Body   string `json:"body"`
	// Arrived is when we saw it, by our clock.
	Arrived time.Time `json:"-"`
}

// WatchLimit is how long a watch may last; the program in the pod ends itself then, whatever becomes of us.
const WatchLimit = 90 * time.Second

// WatchEvery is the time between two calls, and so the precision of what is measured by them.
const WatchEvery = 50 * time.Millisecond

// Watch is a client that calls all the time.
type Watch struct {
	command   Command
	sightings chan Sighting
	stderr    bytes.Buffer
	cmd       *exec.Cmd
	cancel    context.CancelFunc
}

// WatchArgs are the arguments of a command in a pod of the sample image that calls a URL over one connection until a
// status comes.
func WatchArgs(url, until string) []string {
	return []string{"/sample", "watch", url, "--until-status", until, "--interval", WatchEvery.String(), "--timeout", WatchLimit.String()}
}

// Watch begins a command that ends in WatchArgs. Stop it.
func (s Scene) Watch(ctx context.Context, c Command) (*Watch, error) {
	c.Args = slices.Concat(c.Args, []string{"-o", "json"})
	ctx, cancel := context.WithCancel(ctx)
	w := &Watch{command: c, sightings: make(chan Sighting, 64), cmd: s.K.Command(ctx, c.Args...), cancel: cancel}
	w.cmd.Stderr = &w.stderr
	w.cmd.WaitDelay = time.Second
	stdout, err := w.cmd.StdoutPipe()
	if err == nil {
		err = w.cmd.Start()
	}
	if err != nil {
		cancel()
		return nil, fmt.Errorf("%s: %w", c, err)
	}
	go func() {
		defer close(w.sightings)
		for lines := bufio.NewScanner(stdout); lines.Scan(); {
			if sighting, ok := parseSighting(lines.Bytes()); ok {
				sighting.Arrived = time.Now()
				w.sightings <- sighting
			}
		}
	}()
	return w, nil
}

// Stop ends the watch, if it has not ended by itself, and waits for it.
func (w *Watch) Stop() {
	w.cancel()
	for range w.sightings { // or the reader would hang on a full channel
	}
	_ = w.cmd.Wait() // killed by us, or judged already by what it printed
}

// Next is the next answer with another status than the previous one; other changes are left out.
func (w *Watch) Next(ctx context.Context, previous Sighting, expected string) (Sighting, error) {
	limit := time.NewTimer(WatchLimit)
	defer limit.Stop()
	for {
		select {
		case s, ok := <-w.sightings:
			if !ok {
				return Sighting{}, &Mismatch{What: w.command.String(), Expected: expected, Got: "its end: " + w.stderr.String()}
			}
			if s.Status != previous.Status {
				return s, nil
			}
		case <-limit.C:
			return Sighting{}, &Mismatch{What: w.command.String(), Expected: expected, Got: fmt.Sprintf("nothing for %s", WatchLimit)}
		case <-ctx.Done():
			return Sighting{}, context.Cause(ctx)
		}
	}
}

// NextIs is Next, and has to have a status and the beginning of a body. Others may come before it.
func (w *Watch) NextIs(ctx context.Context, previous Sighting, status, body string, before ...string) (Sighting, error) {
	expected := status + " " + body
	s, err := w.Next(ctx, previous, expected)
	for err == nil && slices.Contains(before, s.Status) {
		s, err = w.Next(ctx, s, expected)
	}
	if err == nil && (s.Status != status || !strings.HasPrefix(s.Body, body)) {
		err = &Mismatch{What: w.command.String(), Expected: expected, Got: s.Status + " " + s.Body}
	}
	return s, err
}

func parseSighting(line []byte) (Sighting, bool) {
	var s Sighting
	return s, json.Unmarshal(line, &s) == nil && s.Status != ""
}
