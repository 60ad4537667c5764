package intent

import (
	"errors"
	"fmt"
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// maxPlainPorts bounds [AnnotationPlainPorts].
const maxPlainPorts = 32

// parsePlainPorts checks the list. It says nothing of Envoy: [Platform.PlainPorts] reads it for those who close ports.
func (r *reader) parsePlainPorts(v string) []problem {
	_, problems := plainPorts(v)
	return problems
}

// plainPorts are the ports of a list, none twice.
func plainPorts(v string) ([]uint16, []problem) {
	items := fields(v)
	switch {
	case len(items) == 0:
		return nil, whole(errors.New("expected at least one port, got an empty list"))
	case len(items) > maxPlainPorts:
		return nil, whole(fmt.Errorf("expected at most %d ports, got %d", maxPlainPorts, len(items)))
	}
	var ports []uint16
	var problems []problem
	for _, item := range items {
		port, err := plainPort(item)
		if err != nil {
			problems = append(problems, problem{err: err})
		} else if !slices.Contains(ports, port) {
			ports = append(ports, port)
		}
	}
	return ports, problems
}

func plainPort(item string) (uint16, error) {
	n, err := strconv.Atoi(item)
	if err != nil {
		return 0, fmt.Errorf("expected ports from 1 to 65535, separated by commas or white space, got %q", item)
	}
	if ir.IsOwnPort(n) {
		return 0, fmt.Errorf("port %d is the sidecar's own, expected one of the app", n)
	}
	return portNumber(n)
}

// PlainPorts are the ports of a pod's app that stay open for plain text where all but Envoy's are closed, as the pod or
// its namespace lists them. A list that the platform would deny counts for nothing.
func (p Platform) PlainPorts(ns Namespace, pod *corev1.Pod) []uint16 {
	v, ok := p.written(ns, pod)[AnnotationPlainPorts]
	row, _ := annotationFor(AnnotationPlainPorts)
	if !ok || slices.Contains(p.Locked, row.name()) ||
		p.refuses(ns, FoundException{Exception: ExceptionPlainPorts}) {
		return nil
	}
	ports, problems := plainPorts(v.text)
	if len(problems) > 0 {
		return nil
	}
	return ports
}

// networkPoliciesField has the leading replica keep NetworkPolicies.
var networkPoliciesField = platformField{
	name: "networkPolicies",
	doc: "the leading replica keeps a NetworkPolicy for each identity of a namespace, which closes all ports of its pods but " +
		"those of Envoy and of " + AnnotationPlainPorts + "; needs the rights of manifests/injector/components/workload-network-policies",
	without: "none",
	schema:  booleanSchema,
	parse: one(func(p *Platform, v bool) error {
		p.NetworkPolicies = v
		return nil
	}),
}
