package ir

import "testing"

func TestLookedUp(t *testing.T) {
	for name, want := range map[string]string{
		"api.shop.svc":                "api.shop.svc.cluster.local.",
		"api-0.api.shop.svc":          "api-0.api.shop.svc.cluster.local.",
		"api.shop.svc.cluster.local":  "api.shop.svc.cluster.local.",
		"api.shop.svc.cluster.local.": "api.shop.svc.cluster.local.",
		"api.shop.svc.":               "api.shop.svc.",
		"api.shop":                    "api.shop", // whose search domain it is of is not known
		"api":                         "api",
		"shop.svc":                    "shop.svc",
		"api.example.org":             "api.example.org",
		"api.shop.svc.other.local":    "api.shop.svc.other.local",
		"10.0.0.7":                    "10.0.0.7",
		"[::1]":                       "::1",
	} {
		a := address(t, name+":8443")
		if got := (Proxy{ClusterDomain: "cluster.local"}).LookedUp(a); got != want {
			t.Errorf("%s: expected %s, got %s", name, want, got)
		}
		if got := (Proxy{}).LookedUp(a); got != a.Host() {
			t.Errorf("%s without a domain: expected %s, got %s", name, a.Host(), got)
		}
	}
}

func TestParseClusterDomain(t *testing.T) {
	for text, want := range map[string]string{"cluster.local": "cluster.local", "Cluster.Local.": "cluster.local", "10.0.0.7": "", "": "", "a b": "", "*.x": ""} {
		if got, err := ParseClusterDomain(text); got != want || (err == nil) != (want != "") {
			t.Errorf("%q: expected %q, got %q, %v", text, want, got, err)
		}
	}
}
