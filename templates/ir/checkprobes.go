package ir

import (
	"fmt"
	"strings"
)

// checkProbes applies the rules of each probe, and that none takes another one's place.
func (p Proxy) checkProbes(found *problems, ports portOwners) {
	type place struct {
		listen uint16
		path   string
	}
	seen := map[place]bool{}
	for i, probe := range p.Probes {
		path := fmt.Sprintf("probes[%d]", i)
		if !probe.Kind.valid() {
			found.tell(path+".kind", UnknownValue, "expected a known kind, got %s", probe.Kind)
			continue
		}
		if owner := ports.envoy[probe.App]; owner != "" {
			found.tell(
				path+".app",
				AppIsSidecar,
				"expected a port of the app, but port %d is used by %s; probe the port on which the app itself listens",
				probe.App,
				owner,
			)
		} else if probe.App == 0 {
			found.tell(path+".app", AppMissing, "expected an app port from 1 to 65535, got none")
		}
		if !probe.AppHost.valid() || !p.PassesOn(probe) {
			found.tell(path+".app", AppAddress, "expected an app on loopback, got %q", probe.AppHost)
		}
		if text := probe.pathProblem(); text != "" {
			found.tell(path+".path", ProbePath, "%s", text)
		}
		if text := probe.targetProblem(); text != "" {
			found.tell(path+".target", ProbeTarget, "%s", text)
		}
		if probe.Kind == ProbeGRPC {
			continue
		}
		at := place{probe.Listen, probe.Path}
		if seen[at] {
			found.tell(path+".path", ProbeTwice, "path %q is already taken by an earlier probe", probe.Path)
		}
		seen[at] = true
	}
}

func (pr Probe) pathProblem() string {
	if pr.Kind == ProbeGRPC {
		return unless(pr.Path == "", "expected no path of a gRPC probe, got %q", pr.Path)
	}
	return unless(isRequestTarget(pr.Path) && !strings.ContainsAny(pr.Path, "?#"),
		"expected a path that begins with a slash, in printable ASCII without a query, got %q", pr.Path)
}

func (pr Probe) targetProblem() string {
	if !pr.Kind.HasTarget() {
		return unless(pr.Target == "", "expected no target of a %s probe, got %q", pr.Kind, pr.Target)
	}
	return unless(isRequestTarget(pr.Target) && !strings.Contains(pr.Target, "#"),
		"expected a target that begins with a slash, in printable ASCII, got %q", pr.Target)
}
