package nested

import (
	"context"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spire-injector/spire-injector/test/demo/play"
	"github.com/spire-injector/spire-injector/test/demo/scene"
	"github.com/spire-injector/spire-injector/test/install"
)

func tellManifests(_ context.Context, t play.Telling) (any, error) {
	manifests, err := t.Scene.Manifests(serverA.kustomization() + "/nested.yaml")
	if err != nil {
		return nil, err
	}
	t.Story.Say("A nested SPIRE server has its authority signed by the one above it, which has to know it for a SPIRE server: by an SVID whose " +
		"registration entry says \"downstream\". This is what is written on its pod; the rest is the StatefulSet of every SPIRE server:")
	t.Story.Came(manifests[0].Excerpt)
	t.Story.Say("The platform team says in %s/config.yaml who may write that, and SPIRE's own policy is told so in policy-data.json:", platform)
	config, err := os.ReadFile(t.Scene.Path(platform + "/config.yaml"))
	if err != nil {
		return nil, err
	}
	var claims strings.Builder
	for line := range strings.Lines(string(config)) {
		if strings.Contains(line, "downstream") {
			claims.WriteString(strings.TrimSpace(line) + "\n")
		}
	}
	t.Story.Came(claims.String())
	return manifests, nil
}

// registered is what the root has of the nested servers.
type registered struct {
	Entries []scene.Entry `json:"entries"`
	Seconds float64       `json:"secondsUntilBothInject"`
}

func tellServers(ctx context.Context, t play.Telling) (any, error) {
	t.Story.Say("Each of the two has agents and an injector of its own beside it, for its own workloads:")
	var neighbours []install.Neighbour
	for _, s := range servers() {
		t.Story.Typed(scene.ApplyCommand(s.kustomization()).String())
		neighbours = append(neighbours, install.Neighbour{
			Kustomization: t.Scene.Path(s.kustomization()), Namespace: s.namespace, Served: s.workload.Namespace,
		})
	}
	for _, s := range servers() {
		t.Story.Typed(scene.ServerCommand(s.namespace, "entry", "create", "-data", "/etc/spire/injector-entries.json").String(),
			install.Neighbour{Namespace: s.namespace}.CertificateCommand())
	}
	begin := time.Now()
	if err := install.Neighbours(ctx, t.Scene.Env, neighbours, t.Progress); err != nil {
		return nil, err
	}
	facts := registered{Seconds: scene.Seconds(time.Since(begin))}
	t.Story.Checked("two more SPIRE servers, their agents and injectors are there after %.1f s", facts.Seconds)
	t.Story.Say("Nobody typed an entry for the servers themselves. What the root has:")
	shown, err := t.Scene.Run(ctx, scene.ServerCommand(root, "entry", "show", "-downstream"))
	if err != nil {
		return facts, err
	}
	t.Show(shown)
	facts.Entries = scene.ParseEntries(shown.Stdout)
	if err := checkEntries(facts.Entries); err != nil {
		return facts, err
	}
	t.Story.Checked("each is the SPIRE server's container of one service account, and nobody else")
	return facts, nil
}

// checkEntries says what is wrong about the root's downstream entries.
func checkEntries(entries []scene.Entry) error {
	for _, s := range servers() {
		i := slices.IndexFunc(entries, func(e scene.Entry) bool { return e.SPIFFEID == trustDomain+s.id })
		if i < 0 || len(entries) != len(servers()) {
			return &scene.Mismatch{What: "downstream entries of the root", Expected: "one of " + s.id + " and one of the other", Got: ids(entries)}
		}
		for _, want := range []string{"k8s:ns:" + s.namespace, "k8s:sa:spire-server", "k8s:container-name:spire-server"} {
			if !slices.Contains(entries[i].Selectors, want) {
				return &scene.Mismatch{What: "the entry of " + s.id, Expected: "the selector " + want, Got: strings.Join(entries[i].Selectors, ", ")}
			}
		}
	}
	return nil
}

func ids(entries []scene.Entry) string {
	var out []string
	for _, e := range entries {
		out = append(out, e.SPIFFEID)
	}
	return strings.Join(out, ", ")
}
