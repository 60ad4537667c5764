// Package authorization tests what the policy of manifests/spire lets the callers of a real SPIRE server do, by
// attempts.
package authorization
