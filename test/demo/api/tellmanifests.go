package api

import "context"

func tellManifests(_ context.Context, d demo) (any, error) {
	found, err := d.Scene.Manifests(manifests()...)
	if err != nil {
		return nil, err
	}
	d.Story.Say("Three ordinary Deployments: an API, a client that may call it, and one that may not. This is all that their pod " +
		"templates say about identity and TLS; the apps themselves speak plain HTTP on the loopback address.")
	d.ShowManifests(found)
	d.Story.Say("The API listens on 127.0.0.1:8080 and lets only /valid-api-client in. The clients call 127.0.0.1:8000; their Envoy " +
		"carries that to port 8443 of the API, where it accepts nobody but /api.")
	return struct {
		Manifests any `json:"manifests"`
	}{found}, nil
}

// manifests are the files of the three workloads.
func manifests() []string {
	var paths []string
	for _, workload := range []string{API, Valid, Invalid} {
		paths = append(paths, Workloads+"/"+workload+".yaml")
	}
	return paths
}
