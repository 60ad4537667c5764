package edge

import (
	"context"
	"fmt"
	"strings"

	"github.com/spire-injector/spire-injector/test/demo/scene"
)

// Attempt is a call of the app's pod that does not come by the edge.
type Attempt struct {
	// How it was made.
	How string `json:"how"`
	// Call and Answer are what the caller got.
	Call   scene.Ran `json:"-"`
	Answer string    `json:"answer"`
	// Log and Line are what the app's Envoy said about it, if it came that far.
	Log  scene.Command `json:"-"`
	Line scene.LogLine `json:"serverLog"`
}

// Around tries to reach the app without the edge.
func (s stage) Around(ctx context.Context) ([]Attempt, error) {
	app, err := s.Pod(ctx, Namespace, "app="+App)
	if err != nil {
		return nil, err
	}
	var attempts []Attempt
	for _, a := range []struct {
		how     string
		command scene.Command
		answer  string // in what the caller got
		reason  string // in what the app's Envoy says; empty if it is not asked
	}{
		{"without a certificate", visitor("/sample", "dial", App+":"+Port, "--tls", "--path", "/"), "certificate required", "PEER_DID_NOT_RETURN_A_CERTIFICATE"},
		{"in plain text", visitor("/sample", "dial", App+":"+Port, "--plain", "--path", "/"), "refused: ", "HTTP_REQUEST"},
		{"at the app's own port", visitor("/sample", "dial", app.Status.PodIP+":8080", "--plain", "--path", "/"), "connection refused", ""},
	} {
		attempt, err := s.attempt(ctx, a.how, a.command, a.answer, a.reason)
		attempts = append(attempts, attempt)
		if err != nil {
			return attempts, err
		}
	}
	return attempts, nil
}

func (s stage) attempt(ctx context.Context, how string, c scene.Command, answer, reason string) (Attempt, error) {
	call, err := s.Try(ctx, c)
	a := Attempt{How: how, Call: call, Answer: strings.TrimSpace(call.Stdout)}
	if err != nil {
		return a, err
	}
	if !call.Failed || !strings.Contains(a.Answer, answer) {
		return a, &scene.Mismatch{What: "call of the app " + how, Expected: "a refusal with " + answer, Got: call.Output(), Look: c.String()}
	}
	if reason != "" {
		a.Log, a.Line, err = s.Refusal(ctx, envoyLog(App), "", reason, call.Start, call.End)
	}
	return a, err
}

// Claimed is a pod that takes a name that it has no claim to.
type Claimed struct {
	Run scene.Ran `json:"-"`
	// Refusal is what the API server answered.
	Refusal string `json:"refusal"`
}

// Claim has the API server try a pod of another namespace's name, which leaves nothing in SPIRE.
func (s stage) Claim(ctx context.Context) (Claimed, error) {
	d, err := s.Denied(ctx, inDemo("run", "thief", "--image=app", "--labels=spiffe.io/inject=enabled,spire-discover=payments",
		`--annotations=spiffe.io/app-port=8080`, "--annotations=spiffe.io/allowed-peers=/edge-proxy", "--dry-run=server"), "has no claim to "+ID("payments"))
	c := Claimed{Run: d.Ran, Refusal: d.Message}
	if err != nil {
		return c, err
	}
	entries, err := s.Entries(ctx, "-spiffeID", ID("payments"))
	if err == nil && len(entries) > 0 {
		err = &scene.Mismatch{What: scene.EntriesCommand("-spiffeID", ID("payments")).String(), Expected: "no entry", Got: fmt.Sprint(entries)}
	}
	return c, err
}
