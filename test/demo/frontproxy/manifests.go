package frontproxy

import "context"

func tellManifests(_ context.Context, d demo) (any, error) {
	found, err := d.Scene.Manifests(Workloads+"/"+Proxy+".yaml", Workloads+"/"+Backend+".yaml", Workloads+"/"+Generator+".yaml")
	if err != nil {
		return nil, err
	}
	d.Story.Say("Three Deployments, each in a namespace of its own. The proxy is an Envoy and nothing else, the backend is an app that speaks " +
		"plain HTTP on the loopback address, and the generator has a certificate for somebody outside. Nobody registers anything: " +
		"identities follow from namespace and service account.")
	d.ShowManifests(found)
	d.Story.Say("The proxy serves whoever shows a certificate of this trust domain. The backend serves the proxy alone, and of its clients those " +
		"that are listed as forwardedClients.")
	return struct {
		Manifests any `json:"manifests"`
	}{found}, nil
}
