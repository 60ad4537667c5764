package intent

import (
	"fmt"
	"strings"
)

// Mode is what injection adds to a pod. It is one of the values below; the zero value is not.
type Mode struct {
	name    string
	Sidecar bool // an Envoy beside the app
	Gateway bool // the pod is only an Envoy
	Socket  bool // the app's containers get the Workload API
}

// The modes.
var (
	ModeSidecar       = Mode{name: "sidecar", Sidecar: true}
	ModeGateway       = Mode{name: "gateway", Gateway: true}
	ModeSocket        = Mode{name: "socket", Socket: true}
	ModeSidecarSocket = Mode{name: "sidecar,socket", Sidecar: true, Socket: true}
)

// String is the spelling that ParseMode accepts.
func (m Mode) String() string { return m.name }

// Envoy says whether the pod has one.
func (m Mode) Envoy() bool { return m.Sidecar || m.Gateway }

// ParseMode reads a list of modes, in any order.
func ParseMode(s string) (Mode, error) {
	var m Mode
	for _, item := range fields(s) {
		switch item {
		case "sidecar":
			m.Sidecar = true
		case "gateway":
			m.Gateway = true
		case "socket":
			m.Socket = true
		default:
			return Mode{}, fmt.Errorf(
				"expected sidecar, gateway, socket or \"sidecar,socket\", got %q%s",
				s,
				afterSemicolon(didYouMean(item, "sidecar", "gateway", "socket")),
			)
		}
	}
	for _, known := range []Mode{ModeSidecar, ModeGateway, ModeSocket, ModeSidecarSocket} {
		m.name = known.name
		if m == known {
			return known, nil
		}
	}
	return Mode{}, fmt.Errorf("expected sidecar, gateway, socket or \"sidecar,socket\", got %q", s)
}

func afterSemicolon(hint string) string {
	if hint == "" {
		return ""
	}
	return "; " + hint
}

// fields are the items of a list separated by commas or white space.
func fields(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return strings.ContainsRune(", \t\n\r", r) })
}
