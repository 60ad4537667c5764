package intent

import (
	"fmt"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// maxConnectionsField bounds connections to ports whose callers have to present a certificate; public ports have a
// bound of their own. Without it there is none: connections count from their first byte, and not from their handshake,
// so that any bound is also how many connections keep peers out, for as long as somebody opens new ones.
var maxConnectionsField = platformField{
	name: "maxConnections",
	doc: "connections that callers may have open at a time at each port that requires certificates, up to " +
		fmt.Sprint(maxLimitConnections) + "; those that have not finished their handshake count too, for 10s each",
	without: "any number",
	schema:  countSchema(maxLimitConnections),
	parse: one(func(p *Platform, n int) error {
		if n < 0 || n > maxLimitConnections {
			return fmt.Errorf("expected 1 to %d connections, or nothing for any number, got %d", maxLimitConnections, n)
		}
		p.Sidecar.MaxConnections = uint64(n)
		return nil
	}),
}

// defaultLimits are those of a port that says nothing of them.
func (r *reader) defaultLimits(in ir.Inbound) ir.Limits {
	limits := ir.DefaultLimits(in)
	if !in.Public() {
		limits.MaxConnections = r.platform.Sidecar.MaxConnections
	}
	return limits
}
