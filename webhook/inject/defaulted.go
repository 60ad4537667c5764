package inject

import (
	"cmp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// defaulted is a container with the API server's defaults for what injection leaves open, so that one that the API
// server has seen and one that it has not are compared as equals. The test with a real API server misses what lacks here.
func defaulted(c corev1.Container) corev1.Container {
	out := *c.DeepCopy()
	out.TerminationMessagePath = cmp.Or(out.TerminationMessagePath, corev1.TerminationMessagePathDefault)
	out.TerminationMessagePolicy = cmp.Or(out.TerminationMessagePolicy, corev1.TerminationMessageReadFile)
	out.ImagePullPolicy = cmp.Or(out.ImagePullPolicy, defaultPullPolicy(out.Image))
	for i := range out.Ports {
		out.Ports[i].Protocol = cmp.Or(out.Ports[i].Protocol, corev1.ProtocolTCP)
	}
	for _, p := range []*corev1.Probe{out.StartupProbe, out.LivenessProbe, out.ReadinessProbe} {
		defaultProbe(p)
	}
	out.ResizePolicy = slices.DeleteFunc(out.ResizePolicy, func(p corev1.ContainerResizePolicy) bool {
		return p.RestartPolicy == corev1.NotRequired && slices.Contains(measured, p.ResourceName)
	})
	if s := out.SecurityContext; s != nil && s.ProcMount == nil {
		s.ProcMount = new(corev1.DefaultProcMount)
	}
	for name, limit := range out.Resources.Limits {
		if _, ok := out.Resources.Requests[name]; !ok {
			if out.Resources.Requests == nil {
				out.Resources.Requests = corev1.ResourceList{}
			}
			out.Resources.Requests[name] = limit
		}
	}
	return out
}

// defaultPullPolicy looks at an image whose tag may stand for another one tomorrow again and again.
func defaultPullPolicy(image string) corev1.PullPolicy {
	name, _, hasDigest := strings.Cut(image, "@")
	_, tag, hasTag := strings.Cut(name[strings.LastIndex(name, "/")+1:], ":")
	if tag == "latest" || !hasTag && !hasDigest {
		return corev1.PullAlways
	}
	return corev1.PullIfNotPresent
}

func defaultProbe(p *corev1.Probe) {
	if p == nil {
		return
	}
	p.ProbeHandler = completed(p.ProbeHandler)
	p.TimeoutSeconds = cmp.Or(p.TimeoutSeconds, 1)
	p.PeriodSeconds = cmp.Or(p.PeriodSeconds, 10)
	p.SuccessThreshold = cmp.Or(p.SuccessThreshold, 1)
	p.FailureThreshold = cmp.Or(p.FailureThreshold, 3)
}

// defaultedVolume is [defaulted] of a volume.
func defaultedVolume(v corev1.Volume) corev1.Volume {
	out := *v.DeepCopy()
	mode := func(m **int32) {
		if *m == nil {
			*m = new(corev1.DownwardAPIVolumeSourceDefaultMode) // which all kinds of volumes share
		}
	}
	if d := out.DownwardAPI; d != nil {
		mode(&d.DefaultMode)
		for _, item := range d.Items {
			if item.FieldRef != nil {
				item.FieldRef.APIVersion = cmp.Or(item.FieldRef.APIVersion, "v1")
			}
		}
	}
	if out.Secret != nil {
		mode(&out.Secret.DefaultMode)
	}
	if out.Projected != nil {
		mode(&out.Projected.DefaultMode)
	}
	return out
}

// withAdmission is a container as injection writes it, with what admission of the API server's own may add to the one
// that arrived: it always pulls images (AlwaysPullImages), sets requests and limits that are left open (LimitRanger),
// and drops capabilities one by one beside all of them (SecurityContextConstraints).
func withAdmission(written, arrived corev1.Container) corev1.Container {
	out := *written.DeepCopy()
	if p := defaulted(arrived).ImagePullPolicy; p == corev1.PullAlways || p == defaultPullPolicy(arrived.Image) {
		out.ImagePullPolicy = p // that of another image is the image's fault
	}
	out.Resources.Limits = withOpen(out.Resources.Limits, arrived.Resources.Limits)
	out.Resources.Requests = withOpen(out.Resources.Requests, arrived.Resources.Requests)
	if dropsAll(written) && dropsAll(arrived) {
		out.SecurityContext.Capabilities.Drop = slices.Clone(arrived.SecurityContext.Capabilities.Drop)
	}
	if p := arrived.ReadinessProbe; p != nil && p.InitialDelaySeconds == 0 && out.ReadinessProbe != nil {
		out.ReadinessProbe.InitialDelaySeconds = 0 // versions before this one write none
	}
	return out
}

// measured are the resources that LimitRanger commonly sets. Others, such as devices, bring more than a number along.
var measured = []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory, corev1.ResourceEphemeralStorage}

// withOpen is a list of resources with the measured ones that arrived where it leaves them open.
func withOpen(written, arrived corev1.ResourceList) corev1.ResourceList {
	for _, name := range measured {
		_, set := written[name]
		quantity, ok := arrived[name]
		if set || !ok {
			continue
		}
		if written == nil {
			written = corev1.ResourceList{}
		}
		written[name] = quantity
	}
	return written
}

func dropsAll(c corev1.Container) bool {
	s := c.SecurityContext
	return s != nil && s.Capabilities != nil && slices.Contains(s.Capabilities.Drop, "ALL")
}
