// Package standalone runs SPIRE's server and agent, and Kubernetes' API server, as processes of their own on loopback,
// for tests of the real programs that need no cluster.
package standalone
