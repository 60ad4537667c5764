// Package answers says of workloads who they are, who may call whom, and why not.
//
// [Gatherer] reads [Facts] of a cluster, and [Facts.Add] those of manifests. [NewMesh] makes workloads, identities,
// listeners and upstreams of them, by the functions that the webhook calls. What commands print comes from the [Mesh]
// alone: the same reason has the same words wherever it is told. Only the Gatherer does I/O.
package answers
