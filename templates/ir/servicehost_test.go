package ir

import "testing"

func TestServiceOfAddress(t *testing.T) {
	for host, want := range map[string]ServiceHost{
		"api":                              {Namespace: "web", Name: "api"},
		"api.shop":                         {Namespace: "shop", Name: "api", Ambiguous: true},
		"api.shop.svc":                     {Namespace: "shop", Name: "api"},
		"api.shop.svc.cluster.local":       {Namespace: "shop", Name: "api"},
		"api.shop.svc.cluster.local.":      {Namespace: "shop", Name: "api"},
		"db-0.db.shop.svc":                 {Namespace: "shop", Name: "db", Pod: "db-0"},
		"db-0.db.shop.svc.cluster.local":   {Namespace: "shop", Name: "db", Pod: "db-0"},
		"api.shop.svc.clusterset.local":    {},
		"api.example.org":                  {},
		"a.db-0.db.shop.svc.cluster.local": {},
		"localhost":                        {},
		"10.0.0.1":                         {},
		"[fd00::1]":                        {},
	} {
		got, ok := address(t, host+":80").Service("web", "cluster.local")
		if got != want || ok != (want != ServiceHost{}) {
			t.Errorf("%s: expected %+v, got %+v, %t", host, want, got, ok)
		}
	}
}
