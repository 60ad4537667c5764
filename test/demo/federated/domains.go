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
	manifests, err := t.Scene.Manifests(workloads+"/broker-webapp.yaml", workloads+"/branch-webapp.yaml", workloads+"/stock-quotes-service.yaml")
	if err != nil {
		return nil, err
	}
	t.Story.Say("Two web apps in the trust domain example.org and a service in auxiliary.org. Each names the other domain as one whose bundle " +
		"it needs, and the workloads of it that it accepts. That the SVID of branch-webapp comes from a nested SPIRE server nobody has to know:")
	t.ShowManifests(manifests)
	config, err := os.ReadFile(t.Scene.Path(related))
	if err != nil {
		return manifests, err
	}
	t.Story.Say("And the platform team of example.org, in %s; those of auxiliary.org and of the nested server have the like:", related)
	_, federation, _ := strings.Cut(string(config), "  federation:\n")
	federation, _, _ = strings.Cut(federation, "identity:\n")
	t.Story.Came("  federation:\n" + federation)
	return manifests, nil
}

// begun is what it took to have all servers, and what their injectors made of the platform files.
type begun struct {
	Seconds   float64    `json:"secondsUntilAllInject"`
	Relations []relation `json:"relations"`
}

func tellDomains(ctx context.Context, t play.Telling) (any, error) {
	t.Story.Say("auxiliary.org has a SPIRE server, agents and an injector of its own. The server's authority is signed by one that was made just " +
		"before, with a life of a year:")
	now := time.Now()
	var facts begun
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
		scene.ApplyCommand(other.kustomization()).String(), registerInjector(other), certify(other))
	t.Story.Say("And so has a branch of the broker: its SPIRE server is nested in that of example.org, as in the demo nested:")
	t.Story.Typed(scene.ApplyCommand(nested.kustomization()).String(), registerInjector(nested), certify(nested))
	var neighbours []install.Neighbour
	for _, s := range besides() {
		neighbours = append(neighbours, install.Neighbour{
			Kustomization: t.Scene.Path(s.kustomization()), Namespace: s.namespace, Served: s.workload.Namespace,
		})
	}
	if err := install.Neighbours(ctx, t.Scene.Env, neighbours, t.Progress); err != nil {
		return facts, err
	}
	facts.Seconds = scene.Seconds(time.Since(now))
	t.Story.Say("A server that shows an SVID of its own domain can be known by its bundle alone, so each gets the other's once, by hand. " +
		"The nested server needs it, too: bundles of other domains do not come from the root.")
	for _, pair := range [][2]site{{example, other}, {other, example}, {nested, other}} {
		if err := introduce(ctx, t, pair[0], pair[1]); err != nil {
			return facts, err
		}
	}
	t.Story.Say("From there on it is the injectors' work:")
	if _, err := takeFile(ctx, t, related); err != nil {
		return facts, err
	}
	for _, s := range sites() {
		relations, err := areRelated(ctx, t, s)
		if err != nil {
			return facts, err
		}
		facts.Relations = append(facts.Relations, relations...)
	}
	t.Story.Checked("all are related, as the platform files say; nobody typed federation create")
	return facts, nil
}

// registerInjector gives the injector of a site its identity.
func registerInjector(s site) string {
	return scene.ServerCommand(s.namespace, "entry", "create", "-data", "/etc/spire/injector-entries.json").String()
}

// certify gives the injector of a site its serving certificate.
func certify(s site) string { return install.Neighbour{Namespace: s.namespace}.CertificateCommand() }

// introduce gives the SPIRE server of one domain the bundle of another domain.
func introduce(ctx context.Context, t play.Telling, to, of site) error {
	show := scene.BundleCommand(of.namespace)
	bundle, err := t.Scene.Run(ctx, show)
	if err != nil {
		return err
	}
	set := scene.ServerCommand(to.namespace, "bundle", "set", "-format", "spiffe", "-id", "spiffe://"+of.domain)
	set.Args = append([]string{set.Args[0], set.Args[1], set.Args[2], "-i"}, set.Args[3:]...) // kubectl -n NAMESPACE exec -i
	show.Pipe = set.String()
	t.Story.Typed(show.String())
	out, err := t.Scene.K.With(ctx, bundle.Stdout, set.Args...)
	t.Story.Came(out)
	return err
}
