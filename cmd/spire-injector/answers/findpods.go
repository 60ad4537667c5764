package answers

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/spire-injector/spire-injector/webhook/intent"
)

// findAltered finds containers and volumes of ours that are not what injection writes: somebody added to them before
// anybody compared.
func (m *Mesh) findAltered() []Finding {
	var out []Finding
	for _, w := range m.Workloads {
		pods := map[string][]string{}
		var order []string
		for _, g := range w.Groups {
			for _, pod := range g.Pods {
				if pod.Altered == "" {
					continue
				}
				if pods[pod.Altered] == nil {
					order = append(order, pod.Altered)
				}
				pods[pod.Altered] = append(pods[pod.Altered], pod.Name)
			}
		}
		for _, what := range order {
			out = append(out, w.finding(Broken, Reason{
				Found: fmt.Sprintf("%s not what injection writes, in %s: %s", what,
					agree(len(pods[what]), "pod", "pods"), someOf(pods[what])),
				Remedy: "find out who changed it; then " + w.restart(),
			}))
		}
	}
	return out
}

func (m *Mesh) saysUnaltered() string {
	compared := m.count(func(p Pod) bool { return p.Compared })
	if compared == 0 {
		return ""
	}
	return agree(compared, "injected pod", "injected pods") + " compared with what injection writes"
}

// findSilentApps finds pods whose Envoy serves, and whose app does not answer behind it.
func (m *Mesh) findSilentApps() []Finding {
	var out []Finding
	for _, w := range m.Workloads {
		for _, g := range w.Groups {
			var silent []string
			for _, pod := range g.Pods {
				if m.told(pod).appIsSilent() {
					silent = append(silent, pod.Name)
				}
			}
			if len(silent) > 0 {
				r := m.nothingListens(g)
				r.Found += ", in " + agree(len(silent), "pod", "pods") + ": " + someOf(silent)
				out = append(out, w.finding(Broken, r))
			}
		}
	}
	return out
}

// nothingListens is about an app that does not answer where Envoy looks for it.
func (m *Mesh) nothingListens(g *Group) Reason {
	var ports, written []string
	if g.Known {
		for i, in := range g.Intent.Proxy.Inbound {
			if in.App == 0 || slices.Contains(ports, in.AppHost.With(in.App)) {
				continue
			}
			ports = append(ports, in.AppHost.With(in.App))
			key := g.Intent.Origins.Inbound.Of(g.Of.Namespace)
			if g.Intent.Origins.Inbound.Key == intent.AnnotationInbound {
				key = fmt.Sprintf("%s[%d]", key, i)
			}
			if !slices.Contains(written, key) {
				written = append(written, key)
			}
		}
	}
	var containers []string
	for _, c := range g.Asked.Spec.Containers {
		if c.Name != intent.SidecarName {
			containers = append(containers, c.Name)
		}
	}
	if len(ports) == 0 {
		return Reason{
			Found:  "the app does not listen where its Envoy looks for it",
			Remedy: "kubectl -n " + g.Of.Namespace + " logs of its containers: on which address and port it listens",
		}
	}
	of := strings.Join(ports, " or ")
	return Reason{
		Found: fmt.Sprintf("nothing listens on %s in container %s (%s)", of, strings.Join(containers, " or "), strings.Join(written, ", ")),
		Remedy: fmt.Sprintf("let the app listen there, or write the port that it listens on into %s of %s",
			strings.Join(written, ", "), g.Of),
	}
}

func (m *Mesh) saysListening() string {
	isUnready := func(p Pod) bool { return p.runsEnvoy() && !p.ready() }
	unready := m.count(isUnready)
	n := m.count(func(p Pod) bool { return isUnready(p) && m.told(p).Apps != nil })
	switch {
	case !m.Live:
		return ""
	case unready == 0:
		return "all injected pods are ready, so that their apps listen"
	case n < unready:
		return fmt.Sprintf("%d of %s that are not ready said whether their app listens", n, agree(unready, "pod", "pods"))
	}
	return fmt.Sprintf("the apps of %s that are not ready listen", agree(unready, "pod", "pods"))
}

// findExpiring finds SVIDs that expired, or that nobody renewed in time, among those of the Envoys that were asked.
func (m *Mesh) findExpiring() []Finding {
	var out []Finding
	for _, w := range m.Workloads {
		for _, g := range w.Groups {
			for _, pod := range g.Pods {
				if status, r := m.svid(pod); status == Fails {
					out = append(out, w.finding(Broken, r))
				} else if status == Note {
					out = append(out, w.finding(Warning, r))
				}
			}
		}
	}
	return out
}

// svid says how long a pod's SVID is valid, and who should renew it. It is OK with no reason where nothing is known.
func (m *Mesh) svid(pod Pod) (Status, Reason) {
	told := m.told(pod)
	name := pod.Namespace + "/" + pod.Name
	agent := m.agentOf(pod)
	remedy := fmt.Sprintf("kubectl -n %s logs %s -c %s, and the log of the SPIRE agent on its node", pod.Namespace, pod.Name, intent.SidecarName)
	if agent != "" {
		remedy = bringBack
		agent += "; "
	}
	switch {
	case told.SVID == nil && told.Err != nil:
		return OK, Reason{}
	case told.SVID == nil && told.AskedSVID:
		return Fails, Reason{Found: agent + name + " has no SVID", Remedy: remedy}
	case told.SVID == nil:
		return OK, Reason{}
	}
	left := told.SVID.Until.Sub(m.At)
	lifetime := told.SVID.Until.Sub(told.SVID.From)
	switch {
	case left <= 0:
		return Fails, Reason{
			Found:  fmt.Sprintf("%s%s's SVID expired %s ago", agent, name, duration.HumanDuration(-left)),
			Remedy: remedy,
		}
	case left < lifetime/4: // SPIRE's agents renew at half of it
		return Note, Reason{
			Found: fmt.Sprintf("%s%s's SVID expires in %s, of %s, and is not renewed", agent, name,
				duration.HumanDuration(left), duration.HumanDuration(lifetime)),
			Remedy: remedy,
		}
	}
	return OK, Reason{Found: fmt.Sprintf("%s, valid for %s more", told.SVID.ID, duration.HumanDuration(left))}
}

func (m *Mesh) saysValid() string {
	have := m.count(Pod.runsEnvoy)
	asked := m.count(func(p Pod) bool { return p.runsEnvoy() && m.told(p).SVID != nil })
	switch {
	case have == 0:
		return ""
	case asked == 0:
		return "no Envoy was asked for its SVID: it takes the right to create pods/portforward"
	}
	return fmt.Sprintf("%d of %s asked, on each node some: their SVIDs are valid", asked, agree(have, "Envoy", "Envoys"))
}

// findOutdated finds other sidecars than the platform's, by version.
func (m *Mesh) findOutdated() []Finding {
	text := m.List("").Outdated()
	if text == "" {
		return nil
	}
	return []Finding{{
		Severity: Warning,
		Found:    text,
		Remedy: "kubectl rollout restart of each, or have the injector replace the sidecar of running pods: " +
			"sidecar.rollout: inPlace in the platform file",
	}}
}
