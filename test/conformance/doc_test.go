// Package conformance holds the real Envoy, with SVIDs of a real SPIRE agent, against what each setting of package
// templates promises: it calls from outside, as a friend and as an attacker would, and never looks at the
// configuration. So it fails when a setting is missing, misspelt or means something else to this Envoy.
//
// Everything runs on loopback: two SPIRE servers that federate, one agent, and an Envoy for each test. No cluster is
// needed.
package conformance
