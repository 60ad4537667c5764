package ir

import "strings"

// ServiceHost is a Service of a cluster as a host names it.
type ServiceHost struct {
	Namespace, Name string
	Pod             string // of a headless Service, if the host names one
	// Ambiguous is a host such as example.org, which is one only if there is such a namespace.
	Ambiguous bool
}

// Service is the one that pods of a namespace call by the address, in a cluster with this domain; false for addresses that
// are none of a Service's name.
func (a Address) Service(from, clusterDomain string) (ServiceHost, bool) {
	host := strings.TrimSuffix(a.host, ".")
	if a.ip || host == "localhost" {
		return ServiceHost{}, false
	}
	name := nameOfHost(host, from, clusterDomain)
	if name.service == "" {
		return ServiceHost{}, false
	}
	pod, service, ok := strings.Cut(name.service, ".")
	if !ok {
		pod, service = "", pod
	}
	return ServiceHost{Namespace: name.namespace, Name: service, Pod: pod, Ambiguous: strings.Count(host, ".") == 1}, true
}
