package answers

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/spire-injector/spire-injector/templates"
)

// Told is what a running Envoy said of itself. What it was not asked, or did not answer, is not set.
type Told struct {
	// Ports says whether its own ports answer, and Apps whether the app's behind them do too.
	Ports, Apps *bool
	// Updates is how reading its changed files went.
	Updates templates.Updates
	// SVID is the one that it presents; nil without one, if it was asked.
	SVID      *SVID
	AskedSVID bool
	// Log is the end of its log; nil if that was not read.
	Log *Log
	// Err is why it did not answer something.
	Err error
}

// SVID is what is known of an X.509-SVID.
type SVID struct {
	ID          string
	From, Until time.Time
}

// Agent is SPIRE's on a node.
type Agent struct {
	Pod   string // namespace/name
	Ready bool
	Since time.Time // when it became so; zero where that is not known
}

// told is what a pod's Envoy said; the zero value if it was not asked.
func (m *Mesh) told(p Pod) Told { return m.Told[p.key()] }

// appIsSilent says whether Envoy's own ports answer, and the app's behind them do not.
func (t Told) appIsSilent() bool { return t.Ports != nil && *t.Ports && t.Apps != nil && !*t.Apps }

// bringBack is the remedy for an agent that is away.
const bringBack = "bring the agent back: pods there get no SVID, and keep none beyond its expiry"

// agentOf says what is wrong with the agent on a pod's node; empty if nothing is, or it is not known.
func (m *Mesh) agentOf(pod Pod) string {
	node := pod.Spec.NodeName
	if node == "" || !m.Live || m.Only != "" {
		return ""
	}
	agent, ok := m.Agents[node]
	switch {
	case len(m.Agents) == 0: // it may run as something that is not known for it
		return fmt.Sprintf("no SPIRE agent is found on %s, or on another node", node)
	case !ok:
		return "no SPIRE agent runs on " + node
	case agent.Ready:
		return ""
	case agent.Since.IsZero():
		return fmt.Sprintf("SPIRE's agent %s on %s is not ready", agent.Pod, node)
	}
	return fmt.Sprintf("SPIRE's agent %s on %s is not ready since %s", agent.Pod, node, agent.Since.UTC().Format(time.TimeOnly))
}

// addAgent keeps a pod that is SPIRE's agent: one that is ready before others on its node.
func (f *Facts) addAgent(pod *corev1.Pod) {
	runs := false
	for _, c := range pod.Spec.Containers {
		name := c.Image[strings.LastIndex(c.Image, "/")+1:]
		name, _, _ = strings.Cut(name, "@")
		name, _, _ = strings.Cut(name, ":")
		runs = runs || name == "spire-agent" && (len(c.Command) == 0 || slices.Contains(slices.Concat(c.Command, c.Args), "run"))
	}
	if !runs || pod.Spec.NodeName == "" {
		return
	}
	a := Agent{Pod: pod.Namespace + "/" + pod.Name}
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady {
			a.Ready, a.Since = c.Status == corev1.ConditionTrue, c.LastTransitionTime.Time
		}
	}
	if f.Agents == nil {
		f.Agents = map[string]Agent{}
	}
	if known, ok := f.Agents[pod.Spec.NodeName]; !ok || !known.Ready {
		f.Agents[pod.Spec.NodeName] = a
	}
}

// parseSVID finds the SVID in what Envoy's /certs says; nil if there is none. Of several the one that ends last counts:
// a listener that has not changed over shows the one before.
func parseSVID(page []byte) (*SVID, error) {
	var certs struct {
		Certificates []struct {
			Chain []struct {
				Names []struct {
					URI string `json:"uri"`
				} `json:"subject_alt_names"`
				From  time.Time `json:"valid_from"`
				Until time.Time `json:"expiration_time"`
			} `json:"cert_chain"`
		} `json:"certificates"`
	}
	if err := json.Unmarshal(page, &certs); err != nil {
		return nil, fmt.Errorf("expected Envoy's certificates in JSON: %w", err)
	}
	var found *SVID
	for _, c := range certs.Certificates {
		if len(c.Chain) == 0 {
			continue
		}
		leaf := c.Chain[0]
		for _, name := range leaf.Names {
			if strings.HasPrefix(name.URI, "spiffe://") && (found == nil || leaf.Until.After(found.Until)) {
				found = &SVID{ID: name.URI, From: leaf.From, Until: leaf.Until}
			}
		}
	}
	return found, nil
}
