package templates

import (
	"fmt"
	"strings"
)

// TLSMode says what callers must show on an inbound port. The zero value is Mutual.
type TLSMode int

// The modes.
const (
	Mutual     TLSMode = iota // mutual TLS, and nothing else
	Permissive                // mutual TLS, or plain text, which is logged and counted: for the time of a migration
	None                      // plain text: the public edge
)

var tlsModeNames = [...]string{Mutual: "mutual", Permissive: "permissive", None: "none"}

// ParseTLSMode reads a mode's name; "" is the default, Mutual. The error lists the valid names.
func ParseTLSMode(s string) (TLSMode, error) {
	if s == "" {
		return Mutual, nil
	}
	for m, name := range tlsModeNames {
		if s == name {
			return TLSMode(m), nil
		}
	}
	return Mutual, fmt.Errorf("tls %q: expected one of %s", s, strings.Join(tlsModeNames[:], ", "))
}

func (m TLSMode) String() string {
	if !m.valid() {
		return fmt.Sprintf("tls(%d)", int(m))
	}
	return tlsModeNames[m]
}

func (m TLSMode) valid() bool { return m >= 0 && int(m) < len(tlsModeNames) }
