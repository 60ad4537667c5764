package api

import (
	"context"
	"strings"

	"github.com/spire-injector/spire-injector/test/demo/scene"
)

// refusedBody begins what a client's Envoy answers its app when it was refused itself.
const refusedBody = "upstream connect error or disconnect/reset before headers"

// notAllowed is in the reason of a handshake whose caller has a good certificate, but an ID that is not on the list.
const notAllowed = "verify_cert_failed:_SAN_match"

// CallCommand calls the API from the app container of a client.
func CallCommand(client string) scene.Command {
	return inDemo("exec", "deploy/"+client, "-c", clientContainer, "--", "/sample", "get", URL)
}

// Allowed calls as a client that has to be answered.
func (s stage) Allowed(ctx context.Context, client string) (scene.Ran, error) {
	r, err := s.Try(ctx, CallCommand(client))
	if err == nil && (r.Failed || strings.TrimSpace(r.Stdout) != "ok") {
		err = &scene.Mismatch{What: "call of " + client, Expected: "ok", Got: r.Output(), Look: clientEnvoyLog(client)}
	}
	return r, err
}

// Refused is a call that was refused, as both sides saw it.
type Refused struct {
	Call   scene.Ran     `json:"-"`
	Answer string        `json:"answer"` // what the app got
	Log    scene.Command `json:"-"`
	Line   scene.LogLine `json:"serverLog"`
}

// Refused calls as a client that has to be refused in the handshake, and finds the reason in the server's log.
func (s stage) Refused(ctx context.Context, client string) (Refused, error) {
	call, err := s.Try(ctx, CallCommand(client))
	r := Refused{Call: call, Answer: strings.TrimSpace(call.Stdout)}
	if err != nil {
		return r, err
	}
	if !call.Failed || !strings.HasPrefix(r.Answer, refusedBody) {
		return r, &scene.Mismatch{What: "call of " + client, Expected: refusedBody + " …", Got: call.Output(), Look: clientEnvoyLog(client)}
	}
	r.Log, r.Line, err = s.Refusal(ctx, envoyLog(), ID(client), notAllowed, call.Start, call.End)
	return r, err
}

func clientEnvoyLog(client string) string {
	return inDemo("logs", "deploy/"+client, "-c", scene.Sidecar).String()
}
