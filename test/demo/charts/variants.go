package charts

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spire-injector/spire-injector/test/charts"
	"github.com/spire-injector/spire-injector/test/demo/scene"
)

// tried is a variant of a chart that the API server was asked about.
type tried struct {
	Variant string   `json:"variant"`
	Objects int      `json:"objects"`           // accepted
	Unknown []string `json:"unknown,omitempty"` // kinds that this API server does not know
}

func tellVariants(ctx context.Context, d demo) (any, error) {
	d.Story.Say("The namespaces first: SPIRE's gets a Secret of yours before Helm comes, and nothing else needs one.")
	for _, namespace := range []string{spireNamespace, injectorNamespace} {
		if err := d.ran(ctx, scene.Command{Args: []string{"create", "namespace", namespace}}); err != nil {
			return nil, err
		}
	}
	d.Story.Say("Every value set that does what an overlay of kustomize does, tried on the API server and not kept, strictly:")
	d.Story.Typed("helm template … | kubectl apply --dry-run=server --validate=strict -f -")
	groups, err := d.groups(ctx)
	if err != nil {
		return nil, err
	}
	var all []tried
	for _, v := range charts.Variants() {
		t, err := d.try(ctx, v, groups)
		if err != nil {
			return all, fmt.Errorf("%s: %w", v.Name, err)
		}
		text := fmt.Sprintf("%s: %d objects", t.Variant, t.Objects)
		if len(t.Unknown) > 0 {
			text += "; not known here: " + strings.Join(t.Unknown, ", ")
		}
		d.Story.Checked("%s", text)
		all = append(all, t)
	}
	return all, nil
}

// groups are the API versions that the API server has.
func (d demo) groups(ctx context.Context) ([]string, error) {
	r, err := d.Scene.Run(ctx, scene.Command{Args: []string{"api-versions"}})
	return strings.Fields(r.Stdout), err
}

// try lets the API server look at all objects of a variant whose kinds it knows.
func (d demo) try(ctx context.Context, v charts.Variant, groups []string) (tried, error) {
	args := d.local([]string{"template", v.Release(), v.Chart, "--namespace", v.Namespace, "--values", "-"})
	rendered, err := d.helm.With(ctx, v.Values+"\n", args...)
	if err != nil {
		return tried{}, err
	}
	objects, err := charts.Decode(rendered)
	if err != nil {
		return tried{}, err
	}
	t := tried{Variant: v.Name}
	var known []string
	for _, key := range slices.Sorted(maps.Keys(objects)) {
		object := objects[key]
		if !slices.Contains(groups, object.GetAPIVersion()) {
			t.Unknown = append(t.Unknown, object.GetKind())
			continue
		}
		text, err := json.Marshal(object.Object)
		if err != nil {
			return t, err
		}
		known = append(known, string(text))
	}
	slices.Sort(t.Unknown)
	t.Unknown = slices.Compact(t.Unknown)
	t.Objects = len(known)
	_, err = d.Scene.K.With(ctx, strings.Join(known, "\n---\n"), "apply", "--dry-run=server", "--validate=strict", "-f", "-")
	return t, err
}
