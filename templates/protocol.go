package templates

import (
	"fmt"
	"strings"
)

// Protocol is what the app speaks on a listener. The zero value is HTTP.
type Protocol int

// The protocols.
const (
	HTTP  Protocol = iota // HTTP/1.1
	HTTP2                 // HTTP/2, without TLS between app and Envoy
	GRPC                  // as HTTP2
	TCP                   // any bytes
)

var protocolNames = [...]string{HTTP: "http", HTTP2: "http2", GRPC: "grpc", TCP: "tcp"}

// ParseProtocol reads a protocol's name; "" is the default, HTTP. The error lists the valid names.
func ParseProtocol(s string) (Protocol, error) {
	if s == "" {
		return HTTP, nil
	}
	for p, name := range protocolNames {
		if s == name {
			return Protocol(p), nil
		}
	}
	return HTTP, fmt.Errorf("protocol %q: expected one of %s", s, strings.Join(protocolNames[:], ", "))
}

func (p Protocol) String() string {
	if !p.valid() {
		return fmt.Sprintf("protocol(%d)", int(p))
	}
	return protocolNames[p]
}

func (p Protocol) valid() bool { return p >= 0 && int(p) < len(protocolNames) }

// isHTTP2 says whether requests travel as HTTP/2.
func (p Protocol) isHTTP2() bool { return p == HTTP2 || p == GRPC }
