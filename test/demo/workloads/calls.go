package workloads

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/spire-injector/spire-injector/test/demo/scene"
)

// Event is a line in the server's log.
type Event struct {
	Time    time.Time `json:"time"`
	Message string    `json:"msg"`
	Peer    string    `json:"peer,omitempty"` // by its X.509-SVID
	JWT     string    `json:"jwt,omitempty"`  // by its JWT-SVID
	Reason  string    `json:"reason,omitempty"`
}

// eventsOf are the lines of a message since a point in time, in their order.
func eventsOf(log, message string, since time.Time) []Event {
	var out []Event
	for line := range strings.Lines(log) {
		var e Event
		if json.Unmarshal([]byte(line), &e) == nil && e.Message == message && !e.Time.Before(since) {
			out = append(out, e)
		}
	}
	return out
}

// event waits for a line of the server about a call, with a text in its reason, and returns how to see it.
func (s stage) event(ctx context.Context, call scene.Ran, message, reason string) (scene.Command, Event, error) {
	log := serverLog()
	log.Pipe = "grep " + scene.Quote(`"`+message+`"`) + " | tail -n 1"
	var found Event
	ok, err := scene.Poll(ctx, scene.LogLimit, func() (bool, error) {
		r, err := s.Run(ctx, serverLog())
		for _, e := range eventsOf(r.Stdout, message, call.Start.Add(-scene.ClockSkew)) {
			if strings.Contains(e.Reason, reason) {
				found = e
				return true, err
			}
		}
		return false, err
	})
	if err == nil && !ok {
		err = &scene.Mismatch{What: "log of " + HTTPSServer, Expected: fmt.Sprintf("a line %q with %q", message, reason), Look: serverLog().String()}
	}
	return log, found, err
}

// Called is a call that was answered, as both sides saw it.
type Called struct {
	Call   scene.Ran     `json:"-"`
	Answer string        `json:"answer"`
	Log    scene.Command `json:"-"`
	Line   Event         `json:"serverLog"`
}

// Call calls the server as the client that it lets in.
func (s stage) Call(ctx context.Context) (Called, error) {
	var c Called
	// The server waits for its SVID before it listens, and the node learns of it somewhat later.
	found, err := scene.Poll(ctx, scene.StartLimit, func() (bool, error) {
		var err error
		c.Call, err = s.Try(ctx, callCommand(HTTPSClient, HTTPSServer, Audience))
		return !c.Call.Failed, err
	})
	c.Answer = c.Call.Stdout
	if err != nil {
		return c, err
	}
	want := fmt.Sprintf("Login successful!\nmTLS: %s\nJWT: %s for %s\nAnswered by: %s for %s\n",
		ID(HTTPSClient), ID(HTTPSClient), Audience, ID(HTTPSServer), ID(HTTPSClient))
	if !found || c.Answer != want {
		return c, &scene.Mismatch{What: c.Call.Command.String(), Expected: want, Got: c.Call.Output(), Look: serverLog().String()}
	}
	c.Log, c.Line, err = s.event(ctx, c.Call, "called", "")
	if err == nil && (c.Line.Peer != ID(HTTPSClient) || c.Line.JWT != ID(HTTPSClient)) {
		err = &scene.Mismatch{What: "log of " + HTTPSServer, Expected: "a call of " + ID(HTTPSClient), Got: fmt.Sprintf("%+v", c.Line)}
	}
	return c, err
}

// Refusal is a call that was refused, as both sides saw it.
type Refusal struct {
	Who    string        `json:"who"`
	Call   scene.Ran     `json:"-"`
	Client string        `json:"client"` // what the client was told
	Log    scene.Command `json:"-"`
	Line   Event         `json:"serverLog"`
}

// Refusals makes the calls that have to be refused.
func (s stage) Refusals(ctx context.Context) ([]Refusal, error) {
	var out []Refusal
	for _, r := range []struct {
		who     string
		call    scene.Command
		client  string // in what the client is told
		message string // of the server
		reason  string // in it
	}{
		{who: "a client that the server does not let in", call: callCommand(SPIFFEClient, HTTPSServer, Audience),
			client: "bad certificate", message: "handshake refused", reason: fmt.Sprintf("unexpected ID %q", ID(SPIFFEClient))},
		{who: "a server that is not the one meant", call: callCommand(HTTPSClient, SPIFFEClient, Audience),
			client: fmt.Sprintf("unexpected ID %q", ID(HTTPSServer)), message: "handshake refused", reason: "bad certificate"},
		{who: "a JWT-SVID for another audience", call: callCommand(HTTPSClient, HTTPSServer, "otherapp"),
			client: "401 Unauthorized", message: "refused", reason: fmt.Sprintf("expected audience in [%q]", Audience)},
	} {
		call, err := s.Try(ctx, r.call)
		refusal := Refusal{Who: r.who, Call: call, Client: strings.TrimSpace(call.Output())}
		if err == nil && (!call.Failed || !strings.Contains(refusal.Client, r.client)) {
			err = &scene.Mismatch{What: r.who, Expected: "a refusal with " + r.client, Got: call.Output(), Look: r.call.String()}
		}
		if err == nil {
			refusal.Log, refusal.Line, err = s.event(ctx, call, r.message, r.reason)
		}
		out = append(out, refusal)
		if err != nil {
			return out, err
		}
	}
	return out, nil
}
