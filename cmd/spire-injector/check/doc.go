// Package check looks over a cluster and says what keeps, or would keep, its pods from their identities.
//
// [Gather] reads facts through the Kubernetes API, [Judge] turns them into findings by one table of checks, and
// [Report] is printed. Only the first does I/O. What SPIRE itself would say is not asked: the injector's replicas
// export what they know of it.
package check
