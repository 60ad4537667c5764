// Package envoy holds what templates generates against the real Envoy: that it accepts the configuration,
// and that it then does what the configuration is meant to do, to callers that may call and to callers
// that may not, while it starts, while peers change, and under traffic.
//
// Everything runs on loopback, or in network namespaces of a test. SVIDs come from an SDS server of the test's own, or
// from a real SPIRE agent that holds /api, /valid and /invalid of example.org for this user, when SPIRE_AGENT_SOCKET
// names its socket.
package envoy
