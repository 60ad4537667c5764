package main

import "testing"

func TestPodClusterDomain(t *testing.T) {
	for resolver, want := range map[string]string{
		"search spire.svc.cluster.local svc.cluster.local cluster.local example.org\nnameserver 10.96.0.10\noptions ndots:5\n": "cluster.local",
		"nameserver 10.96.0.10\nsearch a.svc.k8s.example.org. svc.k8s.example.org. k8s.example.org.":                           "k8s.example.org",
		"search example.org\nnameserver 192.0.2.1\n":                                                                           "",
		"search\n# search svc.cluster.local\n":                                                                                 "",
		"search svc.\n":                                                                                                        "",
		"":                                                                                                                     "",
	} {
		if got := podClusterDomain(resolver); got != want {
			t.Errorf("%q: expected %q, got %q", resolver, want, got)
		}
	}
}
