package main

import (
	"context"

	"github.com/spire-injector/spire-injector/test/demo/story"
)

func tellManifests(_ context.Context, d demo) (any, error) {
	manifests, err := d.scene.Manifests()
	if err != nil {
		return nil, err
	}
	d.story.Say("Three ordinary Deployments: an API, a client that may call it, and one that may not. This is all that their pod " +
		"templates say about identity and TLS; the apps themselves speak plain HTTP on the loopback address.")
	for _, m := range manifests {
		d.story.Say("%s (%d lines in all):", m.Path, m.Lines)
		d.story.Came(m.Excerpt)
	}
	d.story.Say("The API listens on 127.0.0.1:8080 and lets only /valid-api-client in. The clients call 127.0.0.1:8000; their Envoy " +
		"carries that to port 8443 of the API, where it accepts nobody but /api.")
	return struct {
		Manifests any `json:"manifests"`
	}{manifests}, nil
}

// fields is a shorthand for the fields of a story.
func fields(pairs ...string) []story.Field {
	var out []story.Field
	for i := 0; i+1 < len(pairs); i += 2 {
		out = append(out, story.Field{Name: pairs[i], Value: pairs[i+1]})
	}
	return out
}
