package federated

import (
	"context"
	"os"
	"strings"
	"time"

	"github.com/spire-injector/spire-injector/test/demo/play"
	"github.com/spire-injector/spire-injector/test/demo/scene"
	"github.com/spire-injector/spire-injector/test/install"
)

// rootLife is how long the authority above the server of auxiliary.org lives.
const rootLife = 365 * 24 * time.Hour

func tellManifests(_ context.Context, t play.Telling) (any, error) {
	manifests, err := t.Scene.Manifests(workloads+"/broker-webapp.yaml", workloads+"/stock-quotes-service.yaml")
	if err != nil {
		return nil, err
	}
	t.Story.Say("A web app in the trust domain example.org and a service in auxiliary.org. Each names the other domain as one whose bundle " +
		"it needs, and the one workload of it that it accepts:")
	t.ShowManifests(manifests)
	config, err := os.ReadFile(t.Scene.Path(related))
	if err != nil {
		return manifests, err
	}
	t.Story.Say("And the platform team of example.org, in %s; that of auxiliary.org has the like:", related)
	_, federation, _ := strings.Cut(string(config), "  federation:\n")
	federation, _, _ = strings.Cut(federation, "identity:\n")
	t.Story.Came("  federation:\n" + federation)
	return manifests, nil
}

// begun is what it took to have both domains and their bundles.
type begun struct {
	RootUntil time.Time `json:"upstreamAuthorityUntil"`
	Seconds   float64   `json:"secondsUntilBothInject"`
}

func tellDomains(ctx context.Context, t play.Telling) (any, error) {
	t.Story.Say("auxiliary.org has a SPIRE server, agents and an injector of its own. The server's authority is signed by one that was made just " +
		"before, with a life of a year:")
	now := time.Now()
	facts := begun{RootUntil: now.Add(rootLife).UTC().Truncate(time.Second)}
	root, err := install.NewAuthority("upstream-authority", now, rootLife)
	if err != nil {
		return facts, err
	}
	if err := install.TLSSecret(ctx, t.Scene.Env, other.namespace, "upstream-authority", root.Certificate, root.Key); err != nil {
		return facts, err
	}
	t.Story.Typed("kubectl create namespace "+other.namespace,
		"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 365 -subj /CN=upstream-authority -keyout tls.key -out tls.crt",
		"kubectl -n "+other.namespace+" create secret tls upstream-authority --cert=tls.crt --key=tls.key",
		scene.ApplyCommand(auxiliary).String(),
		scene.ServerCommand(other.namespace, "entry", "create", "-data", "/etc/spire/injector-entries.json").String())
	neighbour := install.Neighbour{Kustomization: t.Scene.Path(auxiliary), Namespace: other.namespace, Served: other.workload.Namespace}
	if err := install.Neighbours(ctx, t.Scene.Env, []install.Neighbour{neighbour}, t.Progress); err != nil {
		return facts, err
	}
	facts.Seconds = scene.Seconds(time.Since(now))
	t.Story.Say("A server that shows an SVID of its own domain can be known by its bundle alone, so each gets the other's once, by hand:")
	for _, pair := range [][2]domain{{example, other}, {other, example}} {
		if err := introduce(ctx, t, pair[0], pair[1]); err != nil {
			return facts, err
		}
	}
	t.Story.Say("From there on it is the injectors' work:")
	if _, err := takeFile(ctx, t, related); err != nil {
		return facts, err
	}
	for _, d := range []domain{example, other} {
		if err := areRelated(ctx, t, d); err != nil {
			return facts, err
		}
	}
	t.Story.Checked("both are related, by what the platform files say; nobody typed federation create")
	return facts, nil
}

// introduce gives the SPIRE server of one domain the bundle of another.
func introduce(ctx context.Context, t play.Telling, to, of domain) error {
	show := scene.BundleCommand(of.namespace)
	bundle, err := t.Scene.Run(ctx, show)
	if err != nil {
		return err
	}
	set := scene.ServerCommand(to.namespace, "bundle", "set", "-format", "spiffe", "-id", "spiffe://"+of.name)
	set.Args = append([]string{set.Args[0], set.Args[1], set.Args[2], "-i"}, set.Args[3:]...) // kubectl -n NAMESPACE exec -i
	show.Pipe = set.String()
	t.Story.Typed(show.String())
	out, err := t.Scene.K.With(ctx, bundle.Stdout, set.Args...)
	t.Story.Came(out)
	return err
}

// relationLimit is how long the injector may take to make a relationship.
const relationLimit = 60 * time.Second

// areRelated waits until the injector of a domain has made the relationship that its platform file says.
func areRelated(ctx context.Context, t play.Telling, d domain) error {
	c := scene.ServerCommand(d.namespace, "federation", "list")
	var r scene.Ran
	found, err := scene.Poll(ctx, relationLimit, func() (found bool, err error) {
		r, err = t.Scene.Try(ctx, c)
		return err == nil && strings.Contains(r.Stdout, "https_spiffe"), err
	})
	if err == nil && !found {
		err = &scene.Mismatch{What: c.String(), Expected: "a relationship of profile https_spiffe", Got: r.Output()}
	}
	if err == nil {
		t.Show(r)
	}
	return err
}
