package answers

import "fmt"

// Severity is how serious a finding is.
type Severity string

// How serious a finding can be.
const (
	Fine    Severity = "ok"
	Warning Severity = "warning" // it works, with a risk or a cost
	Broken  Severity = "error"   // something does not work, or would not be admitted again
)

// Finding is what a look over all workloads found.
type Finding struct {
	Check    string
	Severity Severity
	Where    string // the object that it is about
	Found    string
	Expected string
	Remedy   string
}

// mostFindings bounds those of one check: a cluster may have thousands of workloads with the same mistake.
const mostFindings = 20

// look is one check of all workloads.
type look struct {
	name     string
	expected string
	find     func(*Mesh) []Finding
	// fine is said when nothing is found; empty where nothing was looked at.
	fine func(*Mesh) string
}

// looks are all, in the order in which a pod comes about. One that would only repeat what an earlier one finds says
// nothing.
func looks() []look {
	return []look{
		{"asked", "a sidecar in each pod that asks for one", (*Mesh).findUninjected, func(m *Mesh) string {
			return fmt.Sprintf("all that ask for injection are injected: %s", agree(m.count(injectedPod), "pod", "pods"))
		}},
		{"namespace-defaults", "labels and annotations of namespaces without mistakes", (*Mesh).findNamespaces, func(m *Mesh) string {
			return fmt.Sprintf("%s, none with a mistake in its label or annotations", agree(len(m.Namespaces), "namespace", "namespaces"))
		}},
		{"next-pods", "workloads whose next pod is admitted", (*Mesh).findDenied, func(*Mesh) string {
			return "no workload's next pod would be denied"
		}},
		{"altered", "containers of ours as injection writes them", (*Mesh).findAltered, (*Mesh).saysUnaltered},
		{"app-listens", "an app that listens where its Envoy looks for it", (*Mesh).findSilentApps, (*Mesh).saysListening},
		{"workload-svids", "SVIDs that are renewed before they expire", (*Mesh).findExpiring, (*Mesh).saysValid},
		{"services", "Services that lead to the sidecars", func(m *Mesh) []Finding {
			return append(m.findServices(), m.findProtocols()...)
		}, func(*Mesh) string {
			return "Services lead to the sidecars of the pods behind them"
		}},
		{"calls", "callers and callees that agree", (*Mesh).findMismatches, func(m *Mesh) string {
			return "no upstream disagrees with whom it leads to"
		}},
		{"sidecars", "the platform's sidecar everywhere", (*Mesh).findOutdated, func(m *Mesh) string {
			return "all sidecars are as the platform file says"
		}},
		{"proxy-image", "locked: [proxy-image] in the platform file", (*Mesh).findProxyImages, func(*Mesh) string {
			return "no pod chooses the image of its Envoy"
		}},
	}
}

// Findings are what is wrong with workloads, in the order of the checks, and a good one for each check that finds
// nothing. What could not be read is in the first.
func (m *Mesh) Findings() []Finding {
	var out []Finding
	for _, gap := range m.Gaps() {
		out = append(out, Finding{
			Check:    "workloads",
			Severity: Warning,
			Found:    gap,
			Expected: "to read all of it",
			Remedy:   "run the check as somebody who may read it",
		})
	}
	for _, l := range looks() {
		found := l.find(m)
		for _, f := range found[:min(len(found), mostFindings)] {
			f.Check, f.Expected = l.name, l.expected
			out = append(out, f)
		}
		if more := len(found) - mostFindings; more > 0 {
			out = append(out, Finding{
				Check:    l.name,
				Severity: worst(found),
				Found:    agree(more, "more of that kind is", "more of that kind are") + " not listed",
				Expected: l.expected,
				Remedy:   "mend those above, and check again",
			})
		}
		if len(found) == 0 {
			if text := l.fine(m); text != "" {
				out = append(out, Finding{Check: l.name, Severity: Fine, Found: text})
			}
		}
	}
	return out
}

func worst(found []Finding) Severity {
	for _, f := range found {
		if f.Severity == Broken {
			return Broken
		}
	}
	return Warning
}

// count counts pods.
func (m *Mesh) count(is func(Pod) bool) int {
	n := 0
	for _, w := range m.Workloads {
		for _, g := range w.Groups {
			for _, pod := range g.Pods {
				if is(pod) {
					n++
				}
			}
		}
	}
	return n
}

func injectedPod(p Pod) bool { return p.injected() }

// of is a finding about a workload.
func (w *Workload) finding(s Severity, r Reason) Finding {
	return Finding{Severity: s, Where: w.String(), Found: r.Found, Remedy: r.Remedy}
}
