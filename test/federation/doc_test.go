// Package federation runs the syncer of federation relationships against real SPIRE servers that serve their bundles to
// each other.
package federation
