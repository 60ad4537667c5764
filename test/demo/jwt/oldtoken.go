package jwt

import (
	"context"
	"strings"

	"github.com/spire-injector/spire-injector/test/demo/play"
	"github.com/spire-injector/spire-injector/test/demo/scene"
)

// unknownKey is what Envoy answers to a token whose key it does not have.
const unknownKey = "Jwks doesn't have key to match kid or alg from Jwt"

// oldToken is a token of app that is good for longer than a rotation takes. The story does not show it.
type oldToken string

// mint has SPIRE's server make one, with the key that it has.
func mint(ctx context.Context, t play.Telling) (oldToken, error) {
	c := scene.ServerCommand("spire", "jwt", "mint", "-spiffeID", id(app), "-audience", id(trustworthy), "-ttl", "5m")
	t.Story.Say("SPIRE's key signs a token for five minutes. On the public port it is good, for anybody who has it:")
	t.Story.Typed("TOKEN=$(" + c.String() + ")")
	r, err := t.Scene.Run(ctx, c)
	return oldToken(strings.TrimSpace(r.Stdout)), err
}

// send sends it to the public port, as somebody else.
func (o oldToken) send(ctx context.Context, t play.Telling) (scene.Ran, error) {
	shown := call(stranger, public+"/api", "--header").String() + ` "Authorization: Bearer $TOKEN"`
	t.Story.Typed(shown)
	r, err := t.Scene.Try(ctx, call(stranger, public+"/api", "--header", "Authorization: Bearer "+string(o)))
	t.Story.Came(r.Output())
	return r, err
}

func (o oldToken) accepted(ctx context.Context, t play.Telling) error {
	r, err := o.send(ctx, t)
	if err == nil && strings.TrimSpace(r.Stdout) != "ok" {
		err = &scene.Mismatch{What: "call with a token of the key in use", Expected: "ok", Got: r.Output()}
	}
	return err
}

// refused returns the answer.
func (o oldToken) refused(ctx context.Context, t play.Telling) (string, error) {
	r, err := o.send(ctx, t)
	answer := strings.TrimSpace(r.Stdout)
	if err == nil && (!r.Failed || answer != unknownKey) {
		err = &scene.Mismatch{What: "call with a token of the revoked key", Expected: unknownKey, Got: r.Output()}
	}
	return answer, err
}
