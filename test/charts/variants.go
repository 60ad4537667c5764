package charts

// Paths from the project's top folder.
const (
	InjectorChart = "manifests/charts/spire-injector"
	SPIREChart    = "manifests/charts/spire"
)

// Variant is an installation that kustomize and Helm both know.
type Variant struct {
	Name           string
	Chart          string   // its folder
	Namespace      string   // of the release
	Kustomizations []string // their folders
	Components     []string // folders of what is added to the first of them
	Platform       string   // what people write into the platform file beside them, where it has "spire:"; nothing if empty
	Values         string   // of the chart, in YAML
}

// Variants are the base of each chart and what every overlay adds to it.
func Variants() []Variant {
	injector := func(name, values string, kustomizations ...string) Variant {
		return Variant{Name: "injector " + name, Chart: InjectorChart, Namespace: "spire-injector", Kustomizations: kustomizations, Values: values}
	}
	spire := func(name, values string, kustomizations ...string) Variant {
		return Variant{Name: "SPIRE " + name, Chart: SPIREChart, Namespace: "spire", Kustomizations: kustomizations, Values: values}
	}
	return []Variant{
		injector("base", "", "manifests/injector/base"),
		injector("csi", `platform: {spire: {agentSocket: {hostPath: null, csi: csi.spiffe.io}}}`, "manifests/injector/overlays/csi"),
		injector("unix-socket", `
platform:
  spire: {server: {address: "unix:///run/spire/private/api.sock"}}
  sidecar: {metrics: null}
  defaults: {drain: null}
  locked: null
`, "manifests/injector/overlays/unix-socket"),
		injector("cert-manager", `servingCertificate: cert-manager`, "manifests/injector/overlays/cert-manager"),
		injector("self-rotated", `servingCertificate: self-rotated`, "manifests/injector/overlays/self-rotated"),
		injector("spire-serving-cert", `servingCertificate: spire`, "manifests/injector/overlays/spire-serving-cert"),
		injector("hardened", `
platform: {spire: {agentSocket: {hostPath: null, csi: csi.spiffe.io}}}
networkPolicy: {enabled: true}
metrics: {secure: true}
nodeSelector: {node-restriction.kubernetes.io/spire-injector: "true"}
`, "manifests/injector/overlays/hardened"),
		injector("openshift", `
platform: {spire: {agentSocket: {hostPath: null, csi: csi.spiffe.io}}}
openshift: {enabled: true}
`, "manifests/injector/overlays/openshift"),
		with(injector("client-ca", `clientCA: {configMap: spire-injector-client-ca}`, "manifests/injector/base"),
			"manifests/injector/components/client-ca"),
		with(injector("network-policy", `networkPolicy: {enabled: true}`, "manifests/injector/base"),
			"manifests/injector/components/network-policy"),
		with(injector("secure-metrics", `metrics: {secure: true}`, "manifests/injector/base"),
			"manifests/injector/components/secure-metrics"),
		with(injector("injector-nodes", `nodeSelector: {node-restriction.kubernetes.io/spire-injector: "true"}`, "manifests/injector/base"),
			"manifests/injector/components/injector-nodes"),
		withPlatform("spire:\n  prewarm: true", with(injector("prewarm", `platform: {spire: {prewarm: true}}`, "manifests/injector/base"),
			"manifests/injector/components/prewarm")),
		withPlatform("networkPolicies: true\nspire:", with(injector("workload-network-policies", `platform: {networkPolicies: true}`, "manifests/injector/base"),
			"manifests/injector/components/workload-network-policies")),
		injector("monitoring", `monitoring: {enabled: true}`, "manifests/injector/base", "manifests/injector/monitoring"),

		spire("base", "", "manifests/spire/base"),
		spire("csi", `csi: {enabled: true}`, "manifests/spire/overlays/csi"),
		spire("unix-socket", `server: {socketOnHost: true}`, "manifests/spire/overlays/unix-socket"),
		spire("spire-serving-cert", `webhookBundle: {enabled: true}`, "manifests/spire/overlays/spire-serving-cert"),
		spire("hardened", `
csi: {enabled: true}
injector: {onLabelledNodes: true}
`, "manifests/spire/overlays/hardened"),
		spire("ha", `
server: {replicas: 2}
database: {type: postgres}
`, "manifests/spire/overlays/ha"),
		spire("openshift", `
csi: {enabled: true}
openshift: {enabled: true}
`, "manifests/spire/overlays/openshift"),
	}
}

func withPlatform(text string, v Variant) Variant {
	v.Platform = text
	return v
}

func with(v Variant, components ...string) Variant {
	v.Components = components
	return v
}

// Release is the name under which the documentation installs the chart of a variant.
func (v Variant) Release() string {
	if v.Chart == SPIREChart {
		return "spire"
	}
	return "spire-injector"
}
