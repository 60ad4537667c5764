package inject

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/spire-injector/spire-injector/templates/ir"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

// Services come and change while pods run, and names count by the version of the injector. A pod keeps what was found at
// its admission, which its status says: its Envoy would speak another protocol to an app that has not changed. A new pod
// with a forged status has what a listener of inbound could have given it, and no more.

// AppProtocolsOf are what was found of an injected pod's app at its admission, never nil. Before names and Services
// counted, that was HTTP/1.
func AppProtocolsOf(pod *corev1.Pod) intent.AppProtocols {
	found := intent.AppProtocols{}
	for _, item := range StatusOf(pod).envoy().AppProtocols {
		number, name, _ := strings.Cut(item, ":")
		port, err := strconv.ParseUint(number, 10, 16)
		if err != nil {
			continue // which is missed when the status is compared
		}
		if protocol, err := ir.ParseProtocol(name); err == nil {
			found[uint16(port)] = protocol
		}
	}
	return found
}

// statusOfProtocols is how a status says them.
func statusOfProtocols(found intent.AppProtocols) []string {
	var items []string
	for _, port := range slices.Sorted(maps.Keys(found)) {
		items = append(items, fmt.Sprintf("%d:%s", port, found[port]))
	}
	return items
}
