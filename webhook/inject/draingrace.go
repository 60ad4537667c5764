package inject

import (
	corev1 "k8s.io/api/core/v1"
)

// gracefulProbes are a container's probes that may say how long it has to end when they fail, by their kind.
func gracefulProbes(c *corev1.Container) map[string]*corev1.Probe {
	probes := map[string]*corev1.Probe{}
	for kind, p := range map[string]*corev1.Probe{"startup": c.StartupProbe, "liveness": c.LivenessProbe} {
		if p != nil && p.TerminationGracePeriodSeconds != nil {
			probes[kind] = p
		}
	}
	return probes
}

// prolongProbes gives the time for draining also where a probe has a grace period of its own: the hook runs there too,
// and the app would be killed before it was told to end.
func prolongProbes(c *corev1.Container, seconds int64, status *Status) {
	for kind, p := range gracefulProbes(c) {
		if status.ProbeGracePeriods == nil {
			status.ProbeGracePeriods = map[string]int64{}
		}
		status.ProbeGracePeriods[c.Name+"/"+kind] = *p.TerminationGracePeriodSeconds
		longer := prolonged(*p.TerminationGracePeriodSeconds, seconds)
		p.TerminationGracePeriodSeconds = &longer
	}
}

// shortenProbes is the opposite of prolongProbes.
func shortenProbes(c *corev1.Container, was Status) {
	for kind, p := range gracefulProbes(c) {
		if seconds, ok := was.ProbeGracePeriods[c.Name+"/"+kind]; ok {
			p.TerminationGracePeriodSeconds = &seconds
		}
	}
}
