package intent

import "fmt"

const streamsUnbounded = "unbounded"

// streamsField is how long connections may live.
var streamsField = platformField{
	name: "streams",
	doc: streamsUnbounded + ": TCP connections, requests and streams may outlive the certificates that they began with; " +
		"reaches running pods",
	without: "they end with them",
	schema:  enumSchema(streamsUnbounded),
	parse: one(func(p *Platform, v string) error {
		p.Sidecar.UnboundedStreams = v == streamsUnbounded
		if v != "" && !p.Sidecar.UnboundedStreams {
			return fmt.Errorf("expected %q or nothing, got %q", streamsUnbounded, v)
		}
		return nil
	}),
}
