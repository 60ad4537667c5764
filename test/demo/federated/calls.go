package federated

import (
	"context"
	"errors"
	"time"

	"github.com/spire-injector/spire-injector/test/demo/play"
	"github.com/spire-injector/spire-injector/test/demo/scene"
)

// callLimit is how long two workloads may take to find each other, and have each other's bundles.
const callLimit = 60 * time.Second

// call is one between the domains.
type call struct {
	From string `json:"from"`
	To   string `json:"to"`
	Saw  string `json:"serverSaw"` // what the called app was told of the caller
}

func tellCalls(ctx context.Context, t play.Telling) (any, error) {
	ran, err := t.Scene.Apply(ctx, workloads)
	if err != nil {
		return nil, err
	}
	t.Show(ran)
	for _, s := range sites() {
		if err := t.Scene.RolledOut(ctx, s.workload.Namespace, s.workload.Deployment); err != nil {
			return nil, err
		}
	}
	t.Story.Say("Each app calls those of the other domain through its Envoy, in plain HTTP, and is told who called:")
	var facts []call
	for _, p := range pairs() {
		c := scene.In(p.from.workload.Namespace, "exec", "deploy/"+p.from.workload.Deployment, "-c", p.from.app, "--", "/sample", "get", p.url)
		r, err := t.Scene.Identified(ctx, c, p.to.id, p.from.id, callLimit)
		t.Show(r)
		if err != nil {
			return facts, err
		}
		facts = append(facts, call{p.from.id, p.to.id, r.Stdout})
		t.Story.Checked("%s called %s", p.from.id, p.to.id)
	}
	if err := errors.Join(t.Scene.Between(ctx, example.workload, 0), t.Scene.Between(ctx, nested.workload, 1)); err != nil {
		return facts, err
	}
	t.Story.Checked("between the SVID of %s and the root of example.org is the authority of the nested server; %s has its own from the root", nested.id, example.id)
	return facts, nil
}

func tellTokens(ctx context.Context, t play.Telling) (any, error) {
	var facts []scene.Token
	keys := map[string]string{} // of the site that signed with it
	for _, p := range pairs() {
		token, verdict, err := passed(ctx, t, p.from, p.to, audience)
		if err != nil {
			return facts, err
		}
		facts = append(facts, token)
		t.Story.Typed(token.Ran.Command.String())
		t.Show(verdict.Ran)
		if err := verdict.Valid(p.from.id); err != nil {
			return facts, err
		}
		keys[p.from.name] = token.Key
		t.Story.Checked("%s, signed with key %s, is valid at the agent of %s", token.ID, token.Key, p.to.name)
	}
	if keys[nested.name] == keys[example.name] {
		return facts, &scene.Mismatch{What: "keys of example.org", Expected: "one of each server", Got: keys[example.name] + " for both"}
	}
	t.Story.Checked("the nested server signs with a key of its own, which auxiliary.org has from the root")
	return facts, nil
}

// passed fetches a token for an audience at one site and shows it to the agent of another.
func passed(ctx context.Context, t play.Telling, from, at site, audience string) (scene.Token, scene.Verdict, error) {
	token, err := t.Scene.FetchJWT(ctx, from.workload, audience)
	if err != nil {
		return token, scene.Verdict{}, err
	}
	verdict, err := t.Scene.ValidateJWT(ctx, at.workload, token.Value, audience)
	return token, verdict, err
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
