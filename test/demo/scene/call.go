package scene

import (
	"context"
	"strings"
)

// refusedBody begins what a client's Envoy answers its app when it was refused itself.
const refusedBody = "upstream connect error or disconnect/reset before headers"

// CallCommand calls the API from the app container of a client.
func CallCommand(client string) Command {
	return inDemo("exec", "deploy/"+client, "-c", clientContainer, "--", "/sample", "get", URL)
}

// Allowed calls as a client that has to be answered.
func (s Scene) Allowed(ctx context.Context, client string) (Ran, error) {
	r, err := s.try(ctx, CallCommand(client))
	if err == nil && (r.Failed || strings.TrimSpace(r.Stdout) != "ok") {
		err = &Mismatch{What: "call of " + client, Expected: "ok", Got: r.Output(), Look: clientEnvoyLog(client)}
	}
	return r, err
}

// Refused is a call that was refused, as both sides saw it.
type Refused struct {
	Call   Ran     `json:"-"`
	Answer string  `json:"answer"` // what the app got
	Log    Command `json:"-"`
	Line   LogLine `json:"serverLog"`
}

// Refused calls as a client that has to be refused in the handshake, and finds the reason in the server's log.
func (s Scene) Refused(ctx context.Context, client string) (Refused, error) {
	call, err := s.try(ctx, CallCommand(client))
	r := Refused{Call: call, Answer: strings.TrimSpace(call.Stdout)}
	if err != nil {
		return r, err
	}
	if !call.Failed || !strings.HasPrefix(r.Answer, refusedBody) {
		return r, &Mismatch{What: "call of " + client, Expected: refusedBody + " …", Got: call.Output(), Look: clientEnvoyLog(client)}
	}
	r.Log, r.Line, err = s.refusal(ctx, ID(client), call.Start, call.End)
	return r, err
}

func clientEnvoyLog(client string) string {
	return inDemo("logs", "deploy/"+client, "-c", sidecar).String()
}
