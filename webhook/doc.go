// Package webhook turns what users write on pods and namespaces into pods with a SPIFFE identity and an Envoy sidecar.
//
// Data flows one way: a pod and its namespace are decided upon (decide.go), their annotations become an Intent (intent.go),
// the intent an identity, registration entries and an Envoy configuration, and those a changed pod (sidecar.go) and a JSON
// patch (patch.go). All of that is pure. The admission handler (handler.go) reads and registers around it.
package webhook
