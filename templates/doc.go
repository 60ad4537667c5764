// Package templates turns what a proxy is meant to do into the configuration of its Envoy.
//
// It is pure: no context, no I/O, no logging. A [Proxy] is checked as a whole by [Generate], which
// answers with every mistake at once or with the files that Envoy reads from [ConfigDir]:
//
//	bootstrap.yaml      admin, readiness, probes, statistics, the SPIRE agent, and where the other three files are
//	listeners.yaml      who may connect: a listener per inbound port, and plain ones for the app's upstreams
//	clusters.yaml       where requests go: the app on loopback, the upstreams over mTLS
//	authorization.yaml  who may send a request on a connection that is already open
//	certificate.yaml    where a Secret's certificate is that ports show instead of the SVID, if any do
//
// The first is read once: what it says changes only with a new pod.
//
// Everything is built from Envoy's own message types, never from text, so that nothing a user
// writes can become structure.
package templates
