package inject

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/spire-injector/spire-injector/webhook/intent"
)

const (
	// firstUnprivilegedPort is the first port that a process without root binds where nothing else is said.
	firstUnprivilegedPort = 1024
	// portStart is the setting of a pod's network that moves it. It is one of the safe ones, which Pod Security
	// "restricted" allows too.
	portStart = "net.ipv4.ip_unprivileged_port_start"
	// portStartValue takes nothing from the app: some container runtimes set it for all pods, and a higher value would
	// close the ports below it again.
	portStartValue = "0"
)

// lowPortsPart lets Envoy, which is not root, bind ports below 1024.
var lowPortsPart = part{
	mistakes: lowPortsMistakes,
	wanted:   func(i injection) bool { return i.lowestPort() < firstUnprivilegedPort },
	add: func(i injection, pod *corev1.Pod) {
		if slices.ContainsFunc(sysctls(pod), isPortStart) {
			return // the pod's own, which suffices
		}
		if pod.Spec.SecurityContext == nil {
			pod.Spec.SecurityContext = &corev1.PodSecurityContext{}
		}
		c := pod.Spec.SecurityContext
		c.Sysctls = append(c.Sysctls, corev1.Sysctl{Name: portStart, Value: portStartValue})
		i.status.UnprivilegedPorts = true
	},
	remove: func(pod *corev1.Pod, was Status) {
		c := pod.Spec.SecurityContext
		if !was.UnprivilegedPorts || c == nil {
			return
		}
		c.Sysctls = slices.DeleteFunc(c.Sysctls, isPortStart)
		if len(c.Sysctls) == 0 {
			c.Sysctls = nil
		}
	},
	same: func(arrived, injected *corev1.Pod) []intent.Mistake {
		for _, s := range sysctls(injected) {
			if isPortStart(s) && !slices.Contains(sysctls(arrived), s) {
				return []intent.Mistake{isAltered("spec.securityContext.sysctls")}
			}
		}
		return nil
	},
}

// lowestPort is that of all on which Envoy listens as the user or the platform says.
func (i injection) lowestPort() uint16 {
	lowest := uint16(firstUnprivilegedPort)
	if !i.intent.Mode.Envoy() {
		return lowest
	}
	take := func(port uint16) {
		if port != 0 {
			lowest = min(lowest, port)
		}
	}
	for _, in := range i.intent.Proxy.Inbound {
		take(in.Listen)
	}
	for _, up := range i.intent.Proxy.Upstreams {
		take(up.Listen)
		for _, port := range up.Passthrough {
			take(port)
		}
	}
	take(i.intent.Proxy.Metrics.Port)
	return lowest
}

// lowPortsMistakes find a pod that keeps its ports from Envoy by a setting of its own.
func lowPortsMistakes(i injection, pod *corev1.Pod) []intent.Mistake {
	lowest := i.lowestPort()
	at := slices.IndexFunc(sysctls(pod), isPortStart)
	if lowest >= firstUnprivilegedPort || at < 0 {
		return nil
	}
	value := sysctls(pod)[at].Value
	if first, err := strconv.Atoi(value); err == nil && first <= int(lowest) {
		return nil
	}
	return []intent.Mistake{{
		Where: fmt.Sprintf("spec.securityContext.sysctls[%d]", at),
		What: fmt.Sprintf("expected %s of at most %d, because Envoy listens on port %d and does not run as root, got %q",
			portStart, lowest, lowest, value),
		Hint: fmt.Sprintf("write %q, or remove it", portStartValue),
	}}
}

// isPortStart also knows the spelling with slashes.
func isPortStart(s corev1.Sysctl) bool { return strings.ReplaceAll(s.Name, "/", ".") == portStart }

func sysctls(pod *corev1.Pod) []corev1.Sysctl {
	if pod.Spec.SecurityContext == nil {
		return nil
	}
	return pod.Spec.SecurityContext.Sysctls
}
