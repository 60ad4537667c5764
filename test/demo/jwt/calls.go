package jwt

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/spire-injector/spire-injector/templates"
	"github.com/spire-injector/spire-injector/test/demo/play"
	"github.com/spire-injector/spire-injector/test/demo/scene"
	"github.com/spire-injector/spire-injector/test/demo/story"
)

// line is one of a server's Envoy on a request.
type line struct {
	Time    time.Time `json:"time"`
	Event   string    `json:"event"`
	Peer    string    `json:"peer,omitempty"`    // by the certificate
	Subject string    `json:"subject,omitempty"` // by the token
	Status  int       `json:"status"`
	Details string    `json:"details"`
	Path    string    `json:"path"`
}

func tellCaller(ctx context.Context, t play.Telling) (any, error) {
	forged := templates.JWTSubjectHeader + ": " + id("admin")
	t.Story.Say("The app behind trustworthy answers with the headers that it saw. The client tries to be somebody else:")
	r, err := t.Scene.Run(ctx, call(app, egress+"/echo", "--header", forged))
	if err != nil {
		return nil, err
	}
	t.Show(r)
	subject, err := subjectSeen(r.Stdout)
	if err != nil {
		return nil, err
	}
	t.Story.Checked("the app saw %s: %s, and neither the forged one nor the token", templates.JWTSubjectHeader, subject)
	return struct {
		Subject string `json:"subject"`
	}{subject}, nil
}

// subjectSeen is the subject in an answer of /echo, which has to be that of app alone, without the token.
func subjectSeen(answer string) (string, error) {
	var seen struct {
		Headers http.Header `json:"headers"`
	}
	if err := json.Unmarshal([]byte(answer), &seen); err != nil {
		return "", &scene.Mismatch{What: "answer of /echo", Expected: "JSON", Got: answer}
	}
	got := strings.Join(seen.Headers.Values(templates.JWTSubjectHeader), ", ")
	if token := seen.Headers.Get("Authorization"); got != id(app) || token != "" {
		return got, &scene.Mismatch{What: "headers that the app saw", Expected: id(app) + " and no token", Got: fmt.Sprintf("%q and %q", got, token)}
	}
	return got, nil
}

// refusal is a call that was refused, as both sides saw it.
type refusal struct {
	Answer string `json:"answer"`
	Line   line   `json:"serverLog"`
}

func tellRefused(ctx context.Context, t play.Telling) (any, error) {
	var facts struct {
		Subject refusal `json:"wrongSubject"`
		Missing refusal `json:"noToken"`
	}
	t.Story.Say("The certificate of stranger is good, and so is its token. It is not among the subjects:")
	var err error
	if facts.Subject, err = refused(ctx, t, call(stranger, egress+"/api"), "RBAC: access denied", line{
		Event: "request", Peer: id(stranger), Subject: id(stranger), Status: http.StatusForbidden, Details: "rbac_access_denied",
	}); err != nil {
		return facts, err
	}
	t.Story.Say("On the public port nobody shows a certificate, and without a token nobody gets in:")
	facts.Missing, err = refused(ctx, t, call(stranger, public+"/api"), "Jwt is missing", line{
		Event: "request", Status: http.StatusUnauthorized, Details: "Jwt_is_missing",
	})
	return facts, err
}

// refused makes a call that has to be refused in certain words, and shows the line that the server's Envoy wrote about
// it.
func refused(ctx context.Context, t play.Telling, c scene.Command, words string, want line) (refusal, error) {
	r, err := t.Scene.Try(ctx, c)
	if err != nil {
		return refusal{}, err
	}
	t.Show(r)
	out := refusal{Answer: strings.TrimSpace(r.Stdout)}
	if !r.Failed || out.Answer != words {
		return out, &scene.Mismatch{What: c.String(), Expected: words, Got: r.Output()}
	}
	log := logOf(trustworthy, scene.Sidecar)
	found, err := scene.Poll(ctx, scene.LogLimit, func() (found bool, err error) {
		lines, err := t.Scene.Run(ctx, log)
		out.Line, found = lastLine(lines.Stdout, want, r.Start.Add(-scene.ClockSkew))
		return found, err
	})
	if err == nil && !found {
		err = &scene.Mismatch{What: log.String(), Expected: fmt.Sprintf("a line like %+v", want), Look: log.String()}
	}
	if err != nil {
		return out, err
	}
	log.Pipe = fmt.Sprintf("grep %s | tail -n 1", scene.Quote(want.Details))
	t.Story.Typed(log.String())
	t.Story.Fields(story.Pairs("time", out.Line.Time.Format("15:04:05.000"), "event", out.Line.Event, "status", fmt.Sprint(out.Line.Status),
		"peer", out.Line.Peer, "subject", out.Line.Subject, "details", out.Line.Details)...)
	return out, nil
}

// lastLine is the last one since a point in time that is as wanted; of details a part is.
func lastLine(log string, want line, since time.Time) (last line, found bool) {
	for text := range strings.Lines(log) {
		var got line
		if json.Unmarshal([]byte(text), &got) != nil || got.Time.Before(since) || !strings.Contains(got.Details, want.Details) {
			continue
		}
		if got.Event == want.Event && got.Peer == want.Peer && got.Subject == want.Subject && got.Status == want.Status {
			last, found = got, true
		}
	}
	return last, found
}
