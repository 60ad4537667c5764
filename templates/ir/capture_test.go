package ir

import (
	"slices"
	"testing"
)

// TestCapturedPorts: whoever calls a port of the app comes to its listener, and what Envoy has for the kubelet and for
// Prometheus stays reachable. Each port is in one of both.
func TestCapturedPorts(t *testing.T) {
	p := sidecar(t)
	p.Inbound = append(p.Inbound, Inbound{Listen: 8444, App: 9090, TLS: None})
	p.Probes = append(p.Probes,
		Probe{Listen: ProbePort, Path: "/b", App: 8080, Kind: ProbeTCP}, Probe{Listen: HookPort, Path: "/c", App: 8080, Target: "/"})
	p.Upstreams[0].JWTAudience = "api"
	if r, o := p.Redirects(), p.OpenPorts(); r != nil || o != nil {
		t.Errorf("without capture got %v and %v", r, o)
	}
	if p.ServerOf(8080) != -1 || p.ServerOf(8443) != 0 {
		t.Error("without capture callers of an app's port come to Envoy")
	}
	p.Captured = true
	if found := p.Validate(); len(found) > 0 {
		t.Fatal(found)
	}
	if want := []Redirect{{15025, 15021}, {8080, 8443}, {9090, 8444}}; !slices.Equal(p.Redirects(), want) {
		t.Errorf("redirects %v", p.Redirects())
	}
	if want := []uint16{15022, 15030, 15024, 15023, 15090}; !slices.Equal(p.OpenPorts(), want) {
		t.Errorf("open %v", p.OpenPorts())
	}
	for port, want := range map[uint16]int{8080: 0, 8443: 0, 9090: 1, 8444: 1, 15025: -1, 1: -1} {
		if got := p.ServerOf(port); got != want {
			t.Errorf("port %d is served by %d", port, got)
		}
	}
	if s := p.Redirects()[1].String(); s != "8080:8443" {
		t.Error(s)
	}
}
