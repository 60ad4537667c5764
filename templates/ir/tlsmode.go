package ir

// TLSMode says what callers must present on an inbound port. The zero value is Mutual.
type TLSMode int

// The modes.
const (
	Mutual     TLSMode = iota // mutual TLS, and nothing else
	Permissive                // mutual TLS, or plain text, which is logged and counted: for the time of a migration
	None                      // plain text: the public edge
)

// TLSModes are the names that [ParseTLSMode] reads, in the order of the constants.
func TLSModes() []string { return []string{Mutual: "mutual", Permissive: "permissive", None: "none"} }

// ParseTLSMode reads a mode's name; "" is the default, Mutual. The error lists the valid names.
func ParseTLSMode(s string) (TLSMode, error) { return parseName[TLSMode]("tls", TLSModes(), s) }

func (m TLSMode) String() string { return nameOf("tls", TLSModes(), m) }

func (m TLSMode) valid() bool { return known(TLSModes(), m) }
