package ir

// ClientCertificate says whether callers of an inbound port with TLS have to present a certificate. The zero value is
// Require.
type ClientCertificate int

// The client certificate modes.
const (
	Require   ClientCertificate = iota // a certificate of a peer
	Request                            // the same, or none: then the caller is served as nobody; not with TCP
	NoRequest                          // nothing: everybody is served as nobody
)

// ClientCertificates are the names that [ParseClientCertificate] reads, in the order of the constants.
func ClientCertificates() []string {
	return []string{Require: "required", Request: "optional", NoRequest: "none"}
}

// ParseClientCertificate reads a name; "" is the default, Require. The error lists the valid names.
func ParseClientCertificate(s string) (ClientCertificate, error) {
	return parseName[ClientCertificate]("clientCertificate", ClientCertificates(), s)
}

func (c ClientCertificate) String() string {
	return nameOf("clientCertificate", ClientCertificates(), c)
}

func (c ClientCertificate) valid() bool { return known(ClientCertificates(), c) }
