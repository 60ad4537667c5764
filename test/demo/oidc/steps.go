package oidc

import (
	"context"
	"fmt"
	"maps"
	"os"
	"strings"
	"time"

	"github.com/spire-injector/spire-injector/test/demo/play"
	"github.com/spire-injector/spire-injector/test/demo/scene"
	"github.com/spire-injector/spire-injector/test/install"
)

// certificateLife is how long the provider's certificate is good, and the authority that signed it.
const certificateLife = 24 * time.Hour

// keysLimit is how long a new key may take to be served: the agent asks every second, and the provider every two.
const keysLimit = 30 * time.Second

func tellManifests(_ context.Context, t play.Telling) (any, error) {
	manifests, err := t.Scene.Manifests(workloads+"/spire-oidc.yaml", workloads+"/client.yaml")
	if err != nil {
		return nil, err
	}
	t.Story.Say("SPIRE's discovery provider shows the keys that verify JWT-SVIDs to whoever asks. It is a workload like others: it has the agent's " +
		"socket, by two lines, and not the server's, where it would be an administrator:")
	t.Story.Came(manifests[0].Excerpt)
	config, err := os.ReadFile(t.Scene.Path(workloads + "/oidc-discovery-provider.conf"))
	if err != nil {
		return manifests, err
	}
	t.Story.Say("Its own configuration:")
	t.Story.Came(string(config))
	return manifests, nil
}

// provided is how the provider came.
type provided struct {
	Seconds float64 `json:"secondsUntilReady"`
}

func tellProvider(ctx context.Context, t play.Telling) (any, error) {
	begin := time.Now()
	public, err := install.NewAuthority("public", begin, certificateLife)
	if err != nil {
		return nil, err
	}
	certificate, key, err := public.Serving(host, begin, certificateLife)
	if err != nil {
		return nil, err
	}
	if err := install.TLSSecret(ctx, t.Scene.Env, namespace, "oidc-secret", certificate, key); err != nil {
		return nil, err
	}
	// Who relies on the provider knows this, and it has to outlast this step.
	if err := install.TLSSecret(ctx, t.Scene.Env, namespace, "public-authority", public.Certificate, public.Key); err != nil {
		return nil, err
	}
	t.Story.Say("The certificate of %s is of an authority of the public, made just now; yours is of Let's Encrypt, say:", host)
	t.Story.Typed("kubectl create namespace "+namespace, "kubectl -n "+namespace+" create secret tls oidc-secret --cert=tls.crt --key=tls.key")
	ran, err := t.Scene.Apply(ctx, workloads)
	if err != nil {
		return nil, err
	}
	t.Show(ran)
	if err := t.Scene.RolledOut(ctx, namespace, provider, client().Deployment); err != nil {
		return nil, err
	}
	facts := provided{scene.Seconds(time.Since(begin))}
	t.Story.Checked("ready after %.1f s", facts.Seconds)
	return facts, nil
}

// served is what the provider serves.
type served struct {
	Document string   `json:"document"`
	Keys     []string `json:"keys"` // IDs
}

func tellKeys(ctx context.Context, t play.Telling) (any, error) {
	p, err := relyingParty(ctx, t)
	if err != nil {
		return nil, err
	}
	defer p.close()
	t.Story.Typed(forwardCommand().String()+" &", curl("/.well-known/openid-configuration"))
	document, err := p.get(ctx, "/.well-known/openid-configuration")
	if err != nil {
		return nil, err
	}
	t.Story.Came(string(document))
	facts := served{Document: string(document)}
	t.Story.Typed(curl("/keys"), scene.BundleCommand(server).String())
	own, err := t.Scene.Keys(ctx, server)
	if err != nil {
		return facts, err
	}
	facts.Keys = own.IDs()
	if err := p.serves(ctx, own); err != nil {
		return facts, err
	}
	t.Story.Checked("%s/keys is the JWKS of the SPIRE server, key by key: %s", issuer, strings.Join(facts.Keys, ", "))
	return facts, nil
}

// serves waits until the provider serves exactly the keys.
func (p party) serves(ctx context.Context, want scene.Keys) error {
	var got scene.Keys
	equal, err := scene.Poll(ctx, keysLimit, func() (bool, error) {
		body, err := p.get(ctx, "/keys")
		if err != nil {
			return false, err
		}
		got, err = scene.ParseKeys(body)
		return maps.Equal(got.JWT, want.JWT) && len(got.X509) == 0, err
	})
	if err == nil && !equal {
		err = &scene.Mismatch{What: issuer + "/keys", Expected: fmt.Sprint(want.JWT), Got: fmt.Sprint(got.JWT)}
	}
	return err
}

func curl(path string) string {
	return "curl -s --connect-to " + host + ":443:127.0.0.1:443 --cacert public.crt " + issuer + path
}

// relyingParty is one that trusts the authority of the public.
func relyingParty(ctx context.Context, t play.Telling) (party, error) {
	var secret struct {
		Data map[string][]byte `json:"data"`
	}
	if err := t.Scene.K.Get(ctx, &secret, "-n", namespace, "secret", "public-authority"); err != nil {
		return party{}, err
	}
	return newParty(ctx, t.Scene, secret.Data["tls.crt"])
}

// verified is what a party made of tokens.
type verified struct {
	Token   scene.Token `json:"token"`
	Issuer  string      `json:"issuer"`
	Refused []string    `json:"refused"`
}

func tellVerify(ctx context.Context, t play.Telling) (any, error) {
	p, err := relyingParty(ctx, t)
	if err != nil {
		return nil, err
	}
	defer p.close()
	var facts verified
	if facts.Token, err = t.Scene.FetchJWT(ctx, client(), audience); err != nil {
		return facts, err
	}
	t.Story.Typed(facts.Token.Ran.Command.String())
	claims, err := scene.Claims(facts.Token.Value)
	if err != nil {
		return facts, err
	}
	facts.Issuer = fmt.Sprint(claims["iss"])
	t.Story.Say("The token says who issued it, %s. A party that has an OIDC library (here go-oidc) and trusts that name fetches the discovery "+
		"document, then the keys, and verifies signature, issuer, audience and time:", facts.Issuer)
	subject, err := p.verify(ctx, facts.Token.Value, audience)
	if err != nil || subject != clientID || facts.Token.ID != clientID {
		return facts, &scene.Mismatch{What: "the verified token", Expected: clientID, Got: fmt.Sprint(subject, " ", err)}
	}
	t.Story.Checked("verified: sub is %s", subject)
	for _, bad := range []struct{ what, token, audience, because string }{
		{"for another audience", facts.Token.Value, "yours3", `expected audience "yours3" got ["` + audience + `"]`},
		{"with another subject", forged(facts.Token.Value), audience, "failed to verify signature: failed to verify id token signature"},
	} {
		subject, err := p.verify(ctx, bad.token, bad.audience)
		if err == nil || !strings.Contains(err.Error(), bad.because) {
			return facts, &scene.Mismatch{What: "the token " + bad.what, Expected: "to be refused: " + bad.because, Got: fmt.Sprint(subject, " ", err)}
		}
		facts.Refused = append(facts.Refused, err.Error())
		t.Story.Checked("%s it is refused: %v", bad.what, err)
	}
	return facts, nil
}

// rotated is how a new key was served.
type rotated struct {
	Key     string  `json:"newKey"`
	Seconds float64 `json:"secondsUntilServed"`
}

func tellRotation(ctx context.Context, t play.Telling) (any, error) {
	p, err := relyingParty(ctx, t)
	if err != nil {
		return nil, err
	}
	defer p.close()
	t.Story.Say("SPIRE signs with another key every day. To see it now:")
	begin := time.Now()
	ran, key, err := t.Scene.RotateJWTKey(ctx, server)
	for _, r := range ran {
		t.Story.Typed(r.Command.String())
	}
	if err != nil {
		return nil, err
	}
	facts := rotated{Key: key}
	own, err := t.Scene.Keys(ctx, server)
	if err != nil {
		return facts, err
	}
	if err := p.serves(ctx, own); err != nil {
		return facts, err
	}
	facts.Seconds = scene.Seconds(time.Since(begin))
	token, err := t.Scene.FetchJWT(ctx, client(), audience+"-"+key)
	if err != nil {
		return facts, err
	}
	subject, err := p.verify(ctx, token.Value, audience+"-"+key)
	if err != nil || subject != clientID || token.Key != key {
		return facts, &scene.Mismatch{What: "a token after the change of keys", Expected: clientID + ", signed with " + key, Got: fmt.Sprint(subject, " ", token.Key, " ", err)}
	}
	t.Story.Checked("%.1f s later the provider serves the new key %s, and a token signed with it verifies", facts.Seconds, key)
	return facts, nil
}
