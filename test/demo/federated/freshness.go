package federated

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"time"

	"github.com/spire-injector/spire-injector/test/demo/play"
	"github.com/spire-injector/spire-injector/test/demo/scene"
	"github.com/spire-injector/spire-injector/test/install"
)

const (
	injectorNamespace = "spire-injector"
	configMap         = "spire-injector-config"

	// refresh is that of the platform file.
	refresh = 10 * time.Second
	// staleFor is how long it is seen that a bundle stays old: longer than the injector would have let it.
	staleFor = refresh + 5*time.Second
	// freshLimit is how long a new key may take: the time between two fetches, give or take, and what agents need to hear
	// of it.
	freshLimit = refresh + 10*time.Second
)

// stale is a bundle that got old.
type stale struct {
	Next    time.Time `json:"spireFetchesNext"` // what SPIRE said
	Key     string    `json:"newKey"`
	Verdict string    `json:"verdict"`
	Seconds float64   `json:"secondsStale"` // as long as it was looked at
}

func tellStale(ctx context.Context, t play.Telling) (any, error) {
	t.Story.Say("SPIRE fetches a foreign bundle as often as the bundle says, or else by the life of the certificates in it: here a year. " +
		"The keys that sign JWTs live as long as the server's own authority, a day. Its log, since the relationship is there:")
	var facts stale
	var err error
	facts.Next, err = nextFetch(ctx, t)
	if err != nil {
		return facts, err
	}
	// SPIRE goes by a tenth of what the root's life has left, and comes four times in that time.
	if wait := time.Until(facts.Next); wait < rootLife/40-24*time.Hour || wait > rootLife/40 {
		return facts, &scene.Mismatch{
			What: "SPIRE's next fetch of the bundle of " + other.name, Expected: fmt.Sprintf("in %.1f days, as its root lives a year", days(rootLife/40)), Got: facts.Next.String(),
		}
	}
	t.Story.Checked("by itself it would fetch the bundle again on %s, in %.1f days", facts.Next.Format("January 2"), days(time.Until(facts.Next)))
	t.Story.Say("Without the injector's part, that is without spire.federation in the platform file (the relationship stays in SPIRE):")
	if _, err := takeFile(ctx, t, alone); err != nil {
		return facts, err
	}
	t.Story.Say("The next day, so to speak, %s signs with another key:", other.name)
	ran, key, err := t.Scene.RotateJWTKey(ctx, other.namespace)
	for _, r := range ran {
		t.Story.Typed(r.Command.String())
	}
	if err != nil {
		return facts, err
	}
	facts.Key = key
	begin := time.Now()
	token, err := signedWith(ctx, t, key)
	if err != nil {
		return facts, err
	}
	var verdict scene.Verdict
	for last := false; ; last = time.Since(begin) > staleFor {
		if verdict, err = t.Scene.ValidateJWT(ctx, example.workload, token.Value, audience+"-"+key); err != nil {
			return facts, err
		}
		if err := verdict.Invalid(unknownKey(key)); err != nil {
			return facts, err
		}
		if last {
			break
		}
		time.Sleep(time.Second)
	}
	facts.Verdict, facts.Seconds = verdict.Refused, scene.Seconds(time.Since(begin))
	t.Show(verdict.Ran)
	t.Story.Checked("good tokens of %s are refused in %s, for %.0f s as long as we looked, and for days", other.name, example.name, facts.Seconds)
	t.Story.Say("The injector of the nested server has the relationship in its platform file all the time:")
	if _, err := untilValid(ctx, t, nested, token, audience+"-"+key, begin); err != nil {
		return facts, err
	}
	t.Story.Checked("there the same token is valid")
	return facts, nil
}

func days(d time.Duration) float64 { return d.Hours() / 24 }

// unknownKey is why an agent refuses a token that is signed with a key which the bundle of auxiliary.org, as the agent
// has it, lacks.
func unknownKey(key string) string {
	return fmt.Sprintf("public key %q not found in trust domain %q", key, other.domain)
}

// signedWith fetches tokens until one is signed with a key. Agents keep tokens for an audience, so that each key has
// one of its own.
func signedWith(ctx context.Context, t play.Telling, key string) (token scene.Token, err error) {
	found, err := scene.Poll(ctx, freshLimit, func() (bool, error) {
		token, err = t.Scene.FetchJWT(ctx, other.workload, audience+"-"+key)
		return token.Key == key, err
	})
	if err == nil && !found {
		err = &scene.Mismatch{What: "a token of " + other.id, Expected: "one signed with the key " + key, Got: token.Key}
	}
	return token, err
}

// fresh is how long keys took.
type fresh struct {
	Back    float64 `json:"secondsAfterFederationIsBack"`
	Rotated float64 `json:"secondsAfterAnotherKey"`
}

func tellFresh(ctx context.Context, t play.Telling) (any, error) {
	var facts fresh
	token, verdict, err := passed(ctx, t, other, example, audience+"-again")
	if err == nil {
		err = verdict.Invalid(unknownKey(token.Key)) // still
	}
	if err != nil {
		return facts, err
	}
	t.Story.Say("The platform file as it was:")
	begin, err := takeFile(ctx, t, related)
	if err != nil {
		return facts, err
	}
	if facts.Back, err = untilValid(ctx, t, example, token, audience+"-again", begin); err != nil {
		return facts, err
	}
	t.Story.Checked("the same key is known %.1f s later", facts.Back)
	t.Story.Say("And when the key is another one once more, with the injector at work:")
	begin = time.Now()
	ran, key, err := t.Scene.RotateJWTKey(ctx, other.namespace)
	for _, r := range ran {
		t.Story.Typed(r.Command.String())
	}
	if err != nil {
		return facts, err
	}
	if token, err = signedWith(ctx, t, key); err != nil {
		return facts, err
	}
	if facts.Rotated, err = untilValid(ctx, t, example, token, audience+"-"+key, begin); err != nil {
		return facts, err
	}
	t.Story.Checked("a token with the new key is valid in %s %.1f s after the change; the platform file says %s", example.name, facts.Rotated, refresh)
	return facts, nil
}

// untilValid waits until the agent of a site has the key of a token, and takes it, and returns the seconds since begin.
func untilValid(ctx context.Context, t play.Telling, at site, token scene.Token, audience string, begin time.Time) (float64, error) {
	var verdict scene.Verdict
	_, err := scene.Poll(ctx, freshLimit, func() (valid bool, err error) {
		verdict, err = t.Scene.ValidateJWT(ctx, at.workload, token.Value, audience)
		return verdict.Invalid(unknownKey(token.Key)) != nil, err
	})
	if err == nil {
		err = verdict.Valid(other.id)
	}
	if err == nil {
		t.Show(verdict.Ran)
	}
	return scene.Seconds(time.Since(begin)), err
}

var scheduled = regexp.MustCompile(`msg="Scheduling next bundle refresh" at="([^"]+)".* trust_domain=` + regexp.QuoteMeta(other.domain))

// nextFetch is when the SPIRE server of example.org fetches the other's bundle by itself, by its log.
func nextFetch(ctx context.Context, t play.Telling) (time.Time, error) {
	c := scene.In(example.namespace, "logs", "spire-server-0", "-c", "spire-server")
	r, err := t.Scene.Run(ctx, c)
	if err != nil {
		return time.Time{}, err
	}
	all := scheduled.FindAllStringSubmatch(r.Stdout, -1)
	if all == nil {
		return time.Time{}, &scene.Mismatch{What: c.String(), Expected: "when the next fetch is scheduled", Got: "nothing of that"}
	}
	last := all[len(all)-1]
	c.Pipe = "grep 'Scheduling next'"
	t.Story.Typed(c.String())
	t.Story.Came(last[0])
	return time.Parse(time.RFC3339, last[1])
}

// takeFile has the injector of example.org take a platform file over, and returns since when.
func takeFile(ctx context.Context, t play.Telling, path string) (time.Time, error) {
	file, err := os.ReadFile(t.Scene.Path(path))
	if err != nil {
		return time.Time{}, err
	}
	patch, err := json.Marshal(map[string]any{"data": map[string]string{"config.yaml": install.WithImages(t.Scene.Env, string(file))}})
	if err != nil {
		return time.Time{}, err
	}
	create := scene.In(injectorNamespace, "create", "configmap", configMap, "--from-file="+path, "--dry-run=client", "-o", "yaml")
	create.Pipe = "kubectl apply -f -"
	t.Story.Typed(create.String())
	begin := time.Now()
	_, err = t.Scene.Run(ctx, scene.In(injectorNamespace, "patch", "configmap", configMap, "--type=merge", "--patch", string(patch)))
	return begin, err
}
