package federated

import (
	"context"
	"time"

	"github.com/spire-injector/spire-injector/test/demo/play"
	"github.com/spire-injector/spire-injector/test/demo/scene"
)

// callLimit is how long two workloads may take to find each other, and have each other's bundles.
const callLimit = 60 * time.Second

// call is one between the domains.
type call struct {
	From string `json:"from"`
	Saw  string `json:"serverSaw"` // what the called app was told of the caller
}

func tellCalls(ctx context.Context, t play.Telling) (any, error) {
	ran, err := t.Scene.Apply(ctx, workloads)
	if err != nil {
		return nil, err
	}
	t.Show(ran)
	for _, d := range []domain{example, other} {
		if err := t.Scene.RolledOut(ctx, d.workload.Namespace, d.workload.Deployment); err != nil {
			return nil, err
		}
	}
	t.Story.Say("Each app calls the other through its Envoy, in plain HTTP, and is told who called:")
	var facts []call
	for _, pair := range [][2]domain{{example, other}, {other, example}} {
		from, to := pair[0], pair[1]
		c := scene.In(from.workload.Namespace, "exec", "deploy/"+from.workload.Deployment, "-c", from.app, "--", "/sample", "get", from.peerURL)
		r, err := t.Scene.Identified(ctx, c, to.id, from.id, callLimit)
		t.Show(r)
		if err != nil {
			return facts, err
		}
		facts = append(facts, call{from.id, r.Stdout})
		t.Story.Checked("%s called %s", from.id, to.id)
	}
	return facts, nil
}

func tellTokens(ctx context.Context, t play.Telling) (any, error) {
	var facts []scene.Token
	for _, pair := range [][2]domain{{example, other}, {other, example}} {
		from, at := pair[0], pair[1]
		token, verdict, valid, err := passed(ctx, t, from, at, audience)
		if err != nil {
			return facts, err
		}
		facts = append(facts, token)
		t.Story.Typed(token.Ran.Command.String())
		t.Show(verdict)
		if !valid || token.ID != from.id {
			return facts, &scene.Mismatch{What: "the token of " + token.ID, Expected: from.id + " to be valid in " + at.name, Got: verdict.Output()}
		}
		t.Story.Checked("%s, signed with key %s, is valid in %s", token.ID, token.Key, at.name)
	}
	return facts, nil
}

// passed fetches a token for an audience in one domain and shows it to the agent in another.
func passed(ctx context.Context, t play.Telling, from, at domain, audience string) (token scene.Token, verdict scene.Ran, valid bool, err error) {
	token, err = t.Scene.FetchJWT(ctx, from.workload, audience)
	if err != nil {
		return token, verdict, false, err
	}
	verdict, valid, err = t.Scene.ValidateJWT(ctx, at.workload, token.Value, audience)
	return token, verdict, valid, err
}

func tellLimits(ctx context.Context, t play.Telling) (any, error) {
	t.Story.Say("A pod of example.org that would let auxiliary.org in without saying that it federates with it:")
	c := scene.In(example.workload.Namespace, "run", "careless", "--image=spire-injector/sample:dev", "--labels=spiffe.io/inject=enabled",
		"--annotations=spiffe.io/app-port=8080", "--annotations=spiffe.io/allowed-peers="+other.id, "--dry-run=server")
	denial, err := t.Scene.Denied(ctx, c, "spiffe.io/federates-with")
	t.Show(denial.Ran)
	if err == nil {
		t.Story.Checked("refused, with what to write")
	}
	return denial, err
}
