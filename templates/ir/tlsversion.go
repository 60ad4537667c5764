package ir

// TLSVersion is the oldest version of TLS that callers of a public port may speak; the newest is always 1.3. The zero
// value is TLS13, and the only one where callers have to present an SVID.
type TLSVersion int

// The versions.
const (
	TLS13 TLSVersion = iota // RFC 8446
	TLS12                   // RFC 5246, with ephemeral keys and authenticated encryption alone
)

// TLSVersions are the names that [ParseTLSVersion] reads, in the order of the constants.
func TLSVersions() []string { return []string{TLS13: "1.3", TLS12: "1.2"} }

// ParseTLSVersion reads a version's name; "" is the default, TLS13. The error lists the valid names.
func ParseTLSVersion(s string) (TLSVersion, error) {
	return parseName[TLSVersion]("minTLSVersion", TLSVersions(), s)
}

func (v TLSVersion) String() string { return nameOf("minTLSVersion", TLSVersions(), v) }

func (v TLSVersion) valid() bool { return known(TLSVersions(), v) }

// TakesOlderTLS says whether the port may take another version than 1.3: one with TLS where callers may come without a
// certificate. Peers are Envoys, which all speak 1.3.
func (in Inbound) TakesOlderTLS() bool { return in.TLS == Mutual && in.Clients != Require }

func (in Inbound) tooOldTLS() string {
	switch {
	case in.MinTLS == TLS13 || in.TakesOlderTLS():
		return ""
	case in.TLS == None:
		return "has no effect with tls: none: remove one of both"
	}
	return unless(false, "expected 1.3 where callers need a certificate of the mesh, got %s: "+
		"remove it, or use clientCertificate: optional or none", in.MinTLS)
}
