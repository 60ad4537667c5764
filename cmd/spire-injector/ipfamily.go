package main

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// podIPsVariable has the addresses of the injector's own pod, as the downward API lists them: what they are, those of
// other pods are too. The Service kubernetes would not say it, which has one family in every cluster.
const podIPsVariable = "POD_IPS"

// podIPFamily is the family of a list of addresses. Where nothing is known it is IPv4, with which an Envoy starts on
// every node.
func podIPFamily(list string) (ir.IPFamily, error) {
	var has4, has6 bool
	for text := range strings.SplitSeq(list, ",") {
		if text == "" {
			continue
		}
		address, err := netip.ParseAddr(text)
		if err != nil {
			return ir.IPv4, fmt.Errorf("%s: expected IP addresses, separated by commas, got %q", podIPsVariable, list)
		}
		if address.Is4() {
			has4 = true
		} else {
			has6 = true
		}
	}
	switch {
	case has4 && has6:
		return ir.DualStack, nil
	case has6:
		return ir.IPv6, nil
	default:
		return ir.IPv4, nil
	}
}
