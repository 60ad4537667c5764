package ir

// Protocol is what the app speaks on a listener. The zero value is HTTP.
type Protocol int

// The protocols.
const (
	HTTP  Protocol = iota // HTTP/1.1
	HTTP2                 // HTTP/2, without TLS between app and Envoy
	GRPC                  // as HTTP2
	TCP                   // any bytes
)

// Protocols are the names that [ParseProtocol] reads, in the order of the constants.
func Protocols() []string { return []string{HTTP: "http", HTTP2: "http2", GRPC: "grpc", TCP: "tcp"} }

// ParseProtocol reads a protocol's name; "" is the default, HTTP. The error lists the valid names.
func ParseProtocol(s string) (Protocol, error) {
	return parseName[Protocol]("protocol", Protocols(), s)
}

func (p Protocol) String() string { return nameOf("protocol", Protocols(), p) }

func (p Protocol) valid() bool { return known(Protocols(), p) }

// IsHTTP2 says whether requests travel as HTTP/2.
func (p Protocol) IsHTTP2() bool { return p == HTTP2 || p == GRPC }
