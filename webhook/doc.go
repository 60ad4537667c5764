// Package webhook answers the API server: what is asked about pods and about the workloads that make them. A request is
// decoded and decided upon by package inject, its workloads are registered in SPIRE, and the decision becomes the
// answer.
package webhook
