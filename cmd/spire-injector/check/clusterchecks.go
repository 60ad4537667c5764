package check

import (
	"slices"
	"strings"

	"github.com/spire-injector/spire-injector/webhook/inject"
)

func kubernetesVersion(f Facts) []Finding {
	v, err := inject.ParseKubernetesVersion(f.Kubernetes)
	switch {
	case err != nil:
		return []Finding{found(Warning, "", "%v", err).
			expected("a version from 1.30").remedy("say the version with the injector's flag --kubernetes-version")}
	case v.Major == 1 && v.Minor < 29:
		return []Finding{found(Warning, "", "Kubernetes %s", f.Kubernetes).expected("1.30 or later").
			remedy("upgrade: before 1.29 there are no native sidecars, so that apps may start before Envoy and pods that are " +
				"to end are refused")}
	case v.Major == 1 && v.Minor < 30:
		return []Finding{found(Warning, "", "Kubernetes %s", f.Kubernetes).expected("1.30 or later").
			remedy("upgrade: before 1.30 no ValidatingAdmissionPolicy guards injected pods while the injector is down")}
	}
	return []Finding{fine("", "Kubernetes %s", f.Kubernetes)}
}

// claims for namespaces that are not there are often misspelt. Whoever may make such a namespace gets what was claimed.
func claims(f Facts) []Finding {
	p, ok := f.platform()
	if !ok {
		return nil
	}
	var out []Finding
	for i, claim := range p.Claims {
		for _, name := range claim.Namespaces {
			if name == "*" || slices.ContainsFunc(f.namespaceNames(), func(n string) bool { return n == name }) {
				continue
			}
			out = append(out, found(Warning, f.Platform.Where, "identity.claims[%d] is for the namespace %s, which there is not",
				i, name).
				expected("claims for namespaces that exist").
				remedy("correct the name, or take the claim out: whoever creates the namespace may hold %s",
					strings.Join(claim.Paths, ", ")))
		}
	}
	return orFine(out, fine(f.Platform.Where, "%s", plural(len(p.Claims), "claim")))
}

func (f Facts) namespaceNames() []string {
	var out []string
	for _, ns := range f.Namespaces {
		out = append(out, ns.Name)
	}
	return out
}

// appPorts finds apps that declare the port behind their Envoy. Whether they listen on more than 127.0.0.1 cannot be
// seen from outside; a declared port is what people look at who want to call the app.
func appPorts(f Facts) []Finding {
	p, ok := f.platform()
	if !ok {
		return nil
	}
	type port struct {
		where, container string
		number           int32
	}
	pods := map[port]int{}
	var order []port
	for _, pod := range f.Declaring {
		if inject.StatusOf(&pod).Capture != "" {
			continue // whoever calls the port comes to Envoy
		}
		behind := inject.AppPorts(p, f.namespace(pod.Namespace), &pod)
		for _, c := range pod.Spec.Containers {
			for _, declared := range c.Ports {
				if !slices.ContainsFunc(behind, func(b uint16) bool { return int32(b) == declared.ContainerPort }) {
					continue
				}
				key := port{ownerOf(pod), c.Name, declared.ContainerPort}
				if pods[key]++; pods[key] == 1 {
					order = append(order, key)
				}
			}
		}
	}
	var out []Finding
	for _, key := range order {
		out = append(out, found(Warning, key.where, "container %s declares port %d, to which Envoy forwards, in %s",
			key.container, key.number, plural(pods[key], "pod")).
			expected("an app that is reached through its Envoy alone").
			remedy("let the app listen on 127.0.0.1 and delete the containerPort, after probes that name it say its number: "+
				"otherwise callers may reach the app around Envoy"))
	}
	good := fine("", "%s, none of which declares the port behind its Envoy", plural(f.Injected, "injected pod"))
	return orFine(out, good)
}
