package jwt

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spire-injector/spire-injector/test/demo/play"
	"github.com/spire-injector/spire-injector/test/demo/scene"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

const (
	// traffic is how long the load lasts, in which everything has to happen.
	traffic = 25 * time.Second
	// envoysPause is longer than between two looks of Envoy at the keys.
	envoysPause = 2 * time.Second
)

// rotated is what came of a rotation under traffic.
type rotated struct {
	Old      string `json:"oldKey"`
	New      string `json:"newKey"`
	Requests int    `json:"requests"`
	Failed   int    `json:"failed"`
	// KeySeconds from the start of prepare until the new key was beside trustworthy's Envoy.
	KeySeconds float64 `json:"secondsToNewKey"`
	// Revoked is the answer to a token that the old key has signed, when that was revoked.
	Revoked string `json:"answerToOldToken"`
}

// authority is a command of SPIRE's server about the key that signs JWT-SVIDs.
func authority(verb string, flags ...string) scene.Command {
	return scene.ServerCommand("spire", append([]string{"localauthority", "jwt", verb}, flags...)...)
}

// load calls all the time and prints a line for each answer.
func load() scene.Command {
	const every = 20 * time.Millisecond
	return in("exec", "deploy/"+app, "-c", clientContainer, "--", "/sample", "client", "--url", egress+"/api",
		"--every", every.String(), "--count", strconv.Itoa(int(traffic/every)))
}

// sentTraffic is what the lines of [load] say.
type sentTraffic struct {
	total    int
	failures []string  // the lines
	last     time.Time // the start of the last request
}

func readTraffic(lines string) (sentTraffic, error) {
	var sent sentTraffic
	for line := range strings.Lines(lines) {
		line = strings.TrimSpace(line)
		at, answer, _ := strings.Cut(line, " ")
		started, err := time.Parse(time.RFC3339, at)
		if err != nil {
			return sent, err
		}
		sent.total++
		sent.last = started
		if answer != "200 ok" {
			sent.failures = append(sent.failures, line)
		}
	}
	return sent, nil
}

func tellRotation(ctx context.Context, t play.Telling) (any, error) {
	var facts rotated
	old, err := mint(ctx, t)
	if err != nil {
		return facts, err
	}
	if err := old.accepted(ctx, t); err != nil {
		return facts, err
	}
	t.Story.Say("In another terminal, so to speak, app sends constant traffic:")
	t.Story.Typed(load().String())
	type ended struct {
		ran scene.Ran
		err error
	}
	loaded := make(chan ended, 1)
	go func() {
		ran, err := t.Scene.Try(ctx, load())
		loaded <- ended{ran, err}
	}()
	err = rotate(ctx, t, &facts)
	over := time.Now()
	done := t.Waiting("waiting for the end of the traffic")
	result := <-loaded
	done()
	if err == nil {
		err = result.err
	}
	if err != nil {
		return facts, err
	}
	sent, err := readTraffic(result.ran.Stdout)
	if err != nil {
		return facts, &scene.Mismatch{What: load().String(), Expected: "a line for each request", Got: err.Error()}
	}
	facts.Requests, facts.Failed = sent.total, len(sent.failures)
	switch {
	case facts.Failed > 0 || facts.Requests == 0:
		return facts, &scene.Mismatch{What: "requests during the rotation", Expected: "none that failed",
			Got: fmt.Sprintf("%d of %d: %s", facts.Failed, facts.Requests, strings.Join(sent.failures[:min(facts.Failed, 5)], "; "))}
	case sent.last.Before(over.Add(-scene.ClockSkew)):
		return facts, &scene.Mismatch{What: "the rotation", Expected: "its end before that of the traffic", Got: over.Sub(sent.last).String() + " later"}
	}
	t.Story.Checked("%d requests meanwhile, not one failed", facts.Requests)
	t.Story.Say("The token that the old key has signed would be good for minutes:")
	if facts.Revoked, err = old.refused(ctx, t); err != nil {
		return facts, err
	}
	t.Story.Checked("nothing that the old key signed is accepted any more")
	return facts, nil
}

// rotate has the server take another key and revoke the old one, each when the sidecars are ready for it.
func rotate(ctx context.Context, t play.Telling, facts *rotated) error {
	var state struct {
		Active struct {
			ID string `json:"authority_id"`
		} `json:"active"`
		Prepared struct {
			ID string `json:"authority_id"`
		} `json:"prepared_authority"`
	}
	read := func(c scene.Command) error {
		c.Args = append(c.Args, "-output", "json")
		r, err := t.Scene.Run(ctx, c)
		if err == nil && json.Unmarshal([]byte(r.Stdout), &state) != nil {
			err = &scene.Mismatch{What: c.String(), Expected: "JSON", Got: r.Stdout}
		}
		return err
	}
	if err := read(authority("show")); err != nil {
		return err
	}
	begin := time.Now()
	if err := read(authority("prepare")); err != nil {
		return err
	}
	facts.Old, facts.New = state.Active.ID, state.Prepared.ID
	t.Story.Typed(authority("prepare").String())
	if err := wait(ctx, t, trustworthy, "keys have come", 1, begin); err != nil {
		return err
	}
	facts.KeySeconds = scene.Seconds(time.Since(begin))
	t.Story.Checked("the new key %s is beside trustworthy's Envoy after %.1f s", facts.New, facts.KeySeconds)
	pause(ctx, envoysPause)
	begin = time.Now()
	if err := show(ctx, t, authority("activate", "-authorityID", facts.New)); err != nil {
		return err
	}
	// The second token since then is signed with the new key for certain.
	if err := wait(ctx, t, app, "new token", 2, begin); err != nil {
		return err
	}
	t.Story.Checked("app has had two new tokens")
	begin = time.Now()
	for _, verb := range []string{"taint", "revoke"} {
		if err := show(ctx, t, authority(verb, "-authorityID", facts.Old)); err != nil {
			return err
		}
	}
	if err := wait(ctx, t, trustworthy, "keys have come", 1, begin); err != nil {
		return err
	}
	pause(ctx, envoysPause)
	t.Story.Checked("the old key %s is gone", facts.Old)
	return nil
}

func show(ctx context.Context, t play.Telling, c scene.Command) error {
	r, err := t.Scene.Run(ctx, c)
	if err == nil {
		t.Show(r)
	}
	return err
}

// wait waits until a workload's container of tokens has logged a message so many times since a point in time.
func wait(ctx context.Context, t play.Telling, workload, message string, times int, since time.Time) error {
	log := logOf(workload, intent.JWTName)
	defer t.Waiting("waiting for " + message)()
	got := 0
	found, err := scene.Poll(ctx, traffic, func() (bool, error) {
		r, err := t.Scene.Run(ctx, log)
		got = count(r.Stdout, message, since)
		return got >= times, err
	})
	if err == nil && !found {
		err = &scene.Mismatch{What: log.String(), Expected: fmt.Sprintf("%q %d times since %s", message, times, since.Format(time.TimeOnly)), Got: fmt.Sprint(got)}
	}
	return err
}

// count is how often a message is in a log since a point in time.
func count(log, message string, since time.Time) int {
	n := 0
	for text := range strings.Lines(log) {
		var line struct {
			Time time.Time `json:"time"`
			Msg  string    `json:"msg"`
		}
		if json.Unmarshal([]byte(text), &line) == nil && line.Msg == message && !line.Time.Before(since) {
			n++
		}
	}
	return n
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
