package nested

import (
	"context"
	"time"

	"github.com/spire-injector/spire-injector/test/demo/play"
	"github.com/spire-injector/spire-injector/test/demo/scene"
)

// tokens are what the workloads got, and what the other server's agent made of it.
type tokens struct {
	Tokens  []scene.Token `json:"tokens"`
	Refused string        `json:"refusedAudience"`
}

func tellTokens(ctx context.Context, t play.Telling) (any, error) {
	ran, err := t.Scene.Apply(ctx, workloads)
	if err != nil {
		return nil, err
	}
	t.Story.Say("A workload for each of the nested servers, registered by the injector beside it:")
	t.Show(ran)
	var facts tokens
	for _, pair := range [][2]nestedServer{{serverA, serverB}, {serverB, serverA}} {
		from, at := pair[0], pair[1]
		for _, w := range []scene.Workload{from.workload, at.workload} {
			if err := t.Scene.RolledOut(ctx, w.Namespace, w.Deployment); err != nil {
				return facts, err
			}
		}
		token, err := t.Scene.FetchJWT(ctx, from.workload, audience)
		if err != nil {
			return facts, err
		}
		facts.Tokens = append(facts.Tokens, token)
		t.Story.Say("A token from %s, and what the agent of %s says:", from.id, at.id)
		t.Story.Typed(token.Ran.Command.String())
		verdict, err := t.Scene.ValidateJWT(ctx, at.workload, token.Value, audience)
		if err != nil {
			return facts, err
		}
		t.Show(verdict.Ran)
		if err := verdict.Valid(from.workloadID()); err != nil {
			return facts, err
		}
		t.Story.Checked("%s, signed by %s with key %s, is valid at %s", token.ID, from.id, token.Key, at.id)
	}
	if facts.Tokens[0].Key == facts.Tokens[1].Key {
		return facts, &scene.Mismatch{What: "keys of the two tokens", Expected: "one of each server", Got: facts.Tokens[0].Key + " for both"}
	}
	t.Story.Say("And where one for another audience is expected:")
	verdict, err := t.Scene.ValidateJWT(ctx, serverB.workload, facts.Tokens[0].Value, "another")
	t.Show(verdict.Ran)
	if err == nil {
		err = verdict.Invalid(`expected audience in ["another"]`)
	}
	if err == nil {
		t.Story.Checked("the token is refused there")
	}
	facts.Refused = verdict.Refused
	return facts, err
}

// callLimit is how long two workloads may take to find each other.
const callLimit = 30 * time.Second

// call is one between the workloads.
type call struct {
	From string `json:"from"`
	Saw  string `json:"serverSaw"` // what the called app was told of the caller
}

func tellCalls(ctx context.Context, t play.Telling) (any, error) {
	t.Story.Say("Each app calls the other through its Envoy, in plain HTTP, and is told who called:")
	var facts []call
	for _, pair := range [][2]nestedServer{{serverA, serverB}, {serverB, serverA}} {
		from, to := pair[0], pair[1]
		c := scene.In(from.workload.Namespace, "exec", "deploy/"+from.workload.Deployment, "-c", "api", "--", "/sample", "get", "http://127.0.0.1:8000/echo")
		r, err := t.Scene.Identified(ctx, c, to.workloadID(), from.workloadID(), callLimit)
		t.Show(r)
		if err != nil {
			return facts, err
		}
		facts = append(facts, call{From: from.workloadID(), Saw: r.Stdout})
		if err := t.Scene.Between(ctx, from.workload, 1); err != nil {
			return facts, err
		}
		t.Story.Checked("%s called %s; between its certificate and the root is the authority of %s", from.workloadID(), to.workloadID(), from.id)
	}
	return facts, nil
}

func tellLimits(ctx context.Context, t play.Telling) (any, error) {
	t.Story.Say("A team that would like to be a SPIRE server as well:")
	c := scene.In("default", "run", "spire-server", "--image=spiffe/spire-server:1.15.3", "--labels=spiffe.io/inject=enabled",
		"--annotations=spiffe.io/mode=socket", "--annotations=spiffe.io/downstream=true", "--dry-run=server")
	denial, err := t.Scene.Denied(ctx, c, "spiffe.io/downstream")
	t.Show(denial.Ran)
	if err == nil {
		t.Story.Checked("refused: no claim of the platform lets it")
	}
	return denial, err
}
