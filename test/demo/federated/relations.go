package federated

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spire-injector/spire-injector/registrar/reason"
	"github.com/spire-injector/spire-injector/test/demo/play"
	"github.com/spire-injector/spire-injector/test/demo/scene"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

// relation is a federation relationship of a SPIRE server, in the words of its command line.
type relation struct {
	TrustDomain string `json:"trustDomain"`
	URL         string `json:"bundleEndpointURL"`
	Profile     string `json:"bundleEndpointProfile"`
	ID          string `json:"endpointSPIFFEID,omitempty"`
}

// relationLimit is how long the injector may take to make a relationship.
const relationLimit = 60 * time.Second

// areRelated waits until a SPIRE server has the relationships that the platform file of its injector says, and no
// other.
func areRelated(ctx context.Context, t play.Telling, s site) ([]relation, error) {
	file, err := t.Scene.Read(s.config)
	if err != nil {
		return nil, err
	}
	want, err := relationsOf(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.config, err)
	}
	c := scene.ServerCommand(s.namespace, "federation", "list")
	var r scene.Ran
	found, err := scene.Poll(ctx, relationLimit, func() (found bool, err error) {
		r, err = t.Scene.Try(ctx, c)
		return err == nil && !r.Failed && slices.Equal(parseRelations(r.Stdout), want), err
	})
	if err == nil && !found {
		err = &scene.Mismatch{
			What: c.String(), Expected: fmt.Sprintf("what %s says, %+v", s.config, want), Got: r.Output(),
			Look: scene.In(s.injector, "get", "events", "--field-selector=reason="+reason.RelationshipRejected.String()).String(),
		}
	}
	if err == nil {
		t.Show(r)
	}
	return want, err
}

// relationsOf are those that a platform file asks for, which has to name one.
func relationsOf(file string) ([]relation, error) {
	platform, err := intent.ParsePlatform([]byte(file))
	if err != nil {
		return nil, err
	}
	if len(platform.Federation) == 0 {
		return nil, &scene.Mismatch{What: "spire.federation", Expected: "a relationship"}
	}
	var all []relation
	for _, f := range platform.Federation {
		all = append(all, relation{f.TrustDomain.Name(), f.BundleEndpointURL, string(f.Profile), f.EndpointSPIFFEID.String()})
	}
	return sorted(all), nil
}

// parseRelations reads the "name : value" lines of "federation list"; "Trust domain" begins a relationship.
func parseRelations(text string) []relation {
	var all []relation
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(line, ":")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		if name == "Trust domain" {
			all = append(all, relation{TrustDomain: value})
		}
		if len(all) == 0 {
			continue
		}
		last := &all[len(all)-1]
		switch name {
		case "Bundle endpoint URL":
			last.URL = value
		case "Bundle endpoint profile":
			last.Profile = value
		case "Endpoint SPIFFE ID":
			last.ID = value
		}
	}
	return sorted(all)
}

func sorted(all []relation) []relation {
	slices.SortFunc(all, func(a, b relation) int { return strings.Compare(a.TrustDomain, b.TrustDomain) })
	return all
}
