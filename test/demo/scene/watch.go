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

// Sighting is an answer that differs from the one before it, seen by a client that calls over one connection all the time.
type Sighting struct {
	Status string `json:"status"` // the status, or "error"
	Body   string `json:"body"`
	// Arrived is when we saw it, by our clock.
	Arrived time.Time `json:"-"`
}

// watchLimit is how long a watch may last; the program in the pod ends itself then, whatever becomes of us.
const watchLimit = 90 * time.Second

// watchEvery is the time between two calls, and so the precision of what is measured by them.
const watchEvery = 50 * time.Millisecond

// watch is a client that calls all the time.
type watch struct {
	command   Command
	sightings chan Sighting
	stderr    bytes.Buffer
	cmd       *exec.Cmd
	cancel    context.CancelFunc
}

// WatchCommand calls the API over one connection from the app container of a client, until a status comes.
func WatchCommand(client, until string) Command {
	return inDemo("exec", "deploy/"+client, "-c", clientContainer, "--", "/sample", "watch", URL,
		"--until-status", until, "--interval", watchEvery.String(), "--timeout", watchLimit.String())
}

// watch begins a WatchCommand.
func (s Scene) watch(ctx context.Context, c Command) (*watch, error) {
	c.Args = slices.Concat(c.Args, []string{"-o", "json"})
	ctx, cancel := context.WithCancel(ctx)
	w := &watch{command: c, sightings: make(chan Sighting, 64), cmd: s.k.Command(ctx, c.Args...), cancel: cancel}
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

// stop ends the watch, if it has not ended by itself, and waits for it.
func (w *watch) stop() {
	w.cancel()
	for range w.sightings { // or the reader would hang on a full channel
	}
	_ = w.cmd.Wait() // killed by us, or judged already by what it printed
}

// next is the next answer with another status than the previous one; other changes are left out.
func (w *watch) next(ctx context.Context, previous Sighting, expected string) (Sighting, error) {
	limit := time.NewTimer(watchLimit)
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
			return Sighting{}, &Mismatch{What: w.command.String(), Expected: expected, Got: fmt.Sprintf("nothing for %s", watchLimit)}
		case <-ctx.Done():
			return Sighting{}, context.Cause(ctx)
		}
	}
}

// nextIs is next, and has to have a status and the beginning of a body.
func (w *watch) nextIs(ctx context.Context, previous Sighting, status, body string) (Sighting, error) {
	expected := status + " " + body
	s, err := w.next(ctx, previous, expected)
	if err == nil && (s.Status != status || !strings.HasPrefix(s.Body, body)) {
		err = &Mismatch{What: w.command.String(), Expected: expected, Got: s.Status + " " + s.Body}
	}
	return s, err
}

func parseSighting(line []byte) (Sighting, bool) {
	var s Sighting
	return s, json.Unmarshal(line, &s) == nil && s.Status != ""
}
