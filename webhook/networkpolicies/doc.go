// Package networkpolicies closes the ports of injected pods that are not Envoy's. The leading replica keeps one
// NetworkPolicy for each identity of a namespace, where the platform asks for it. What they should be follows from pods
// alone, by functions that do no I/O.
package networkpolicies
