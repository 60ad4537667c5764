package main

import (
	"github.com/spire-injector/spire-injector/webhook/intent"
)

// benchLabel chooses which of the bench's own webhooks sees a pod. The injector knows nothing of it.
const benchLabel = "bench.spire-injector.example/webhook"

// variant is one of the webhooks that are compared.
type variant struct {
	name    string // also of the Deployment and Service of a webhook that the bench brings along
	webhook string // the name under which the API server counts it; empty without one
	label   string // with its value, the only thing in which the pods differ
	value   string
	injects bool   // its pods come out with a sidecar
	mark    string // the label by which they tell, if it is not the injector's
	seen    bool   // the injector's webhooks and policies look at its namespace
}

func withoutWebhook() variant { return variant{name: "none", label: benchLabel, value: "none"} }

// notAsking is what pods of others pay for where the injector is installed.
func notAsking() variant {
	return variant{name: "not-asking", label: benchLabel, value: "not-asking", seen: true}
}

// doingNothing is the floor of any webhook: what a call costs.
func doingNothing() variant { return ofTheBench("noop") }

// patchingConstantly answers with what the injector would, but does nothing for it: the floor of any webhook that
// injects a sidecar. What it costs beyond one that does nothing is the API server's work of applying the patch and
// keeping a bigger pod.
func patchingConstantly() variant {
	v := ofTheBench("constant")
	v.injects = true
	return v
}

func ours() variant {
	return variant{name: "ours", webhook: "pod.injector.spiffe.io", label: intent.LabelInject, value: intent.InjectEnabled, injects: true, seen: true}
}

func ofTheBench(name string) variant {
	return variant{name: name, webhook: name + ".bench.spire-injector.example", label: benchLabel, value: name}
}

// variants are in the order in which each round has them.
func variants() []variant {
	return []variant{withoutWebhook(), notAsking(), doingNothing(), patchingConstantly(), ours(), injectedByIstio()}
}
