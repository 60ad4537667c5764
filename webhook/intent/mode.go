package intent

import (
	"fmt"
	"slices"
	"strings"
)

// Mode is what injection adds to a pod. It is what [ParseMode] returns; the zero value is not.
type Mode struct {
	name    string
	Sidecar bool // an Envoy beside the app
	Gateway bool // the pod is only an Envoy
	Socket  bool // the app's containers get the Workload API
	Files   bool // the app's containers get SVID, key and bundles as files
}

// Modes that others are compared with, or that are advised.
var (
	ModeSidecar       = Mode{name: "sidecar", Sidecar: true}
	ModeGateway       = Mode{name: "gateway", Gateway: true}
	ModeSocket        = Mode{name: "socket", Socket: true}
	ModeSidecarSocket = Mode{name: "sidecar,socket", Sidecar: true, Socket: true}
	ModeFiles         = Mode{name: "files", Files: true}
)

// modeNames are the words of a list of modes, in the order of [Mode.String].
var modeNames = []string{"sidecar", "gateway", "socket", "files"}

// String is the spelling that ParseMode accepts.
func (m Mode) String() string { return m.name }

// Envoy says whether the pod has one.
func (m Mode) Envoy() bool { return m.Sidecar || m.Gateway }

// with is a mode with one more of [modeNames].
func (m Mode) with(name string) Mode {
	m.Sidecar = m.Sidecar || name == "sidecar"
	m.Gateway = m.Gateway || name == "gateway"
	m.Socket = m.Socket || name == "socket"
	m.Files = m.Files || name == "files"
	has := []bool{m.Sidecar, m.Gateway, m.Socket, m.Files}
	var names []string
	for i, name := range modeNames {
		if has[i] {
			names = append(names, name)
		}
	}
	m.name = strings.Join(names, ",")
	return m
}

// withFiles is a mode with files as near to this one as there is: a gateway has none.
func (m Mode) withFiles() Mode {
	if m.Gateway {
		return ModeFiles
	}
	return m.with("files")
}

// ParseMode reads a list of modes, in any order.
func ParseMode(s string) (Mode, error) {
	const expected = "expected gateway, or one or several of sidecar, socket and files, got %q%s"
	var m Mode
	for _, item := range fields(s) {
		if !slices.Contains(modeNames, item) {
			return Mode{}, fmt.Errorf(expected, s, afterSemicolon(didYouMean(item, modeNames...)))
		}
		m = m.with(item)
	}
	if m == (Mode{}) || m.Gateway && m != ModeGateway {
		return Mode{}, fmt.Errorf(expected, s, "")
	}
	return m, nil
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
