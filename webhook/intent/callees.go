package intent

import (
	"fmt"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// maxCallees bounds for how many Services it is asked whether they exist: of more nobody reads.
const maxCallees = 32

// Callee is a Service that an upstream calls. Whether there is one is no part of a decision: Services come and go.
type Callee struct {
	ir.ServiceHost
	Where string // it was written
}

// Callees are the Services that the upstreams call by their names, each once.
func (in Intent) Callees() []Callee {
	seen := map[ir.ServiceHost]bool{}
	var callees []Callee
	for i, up := range in.Proxy.Upstreams {
		s, ok := up.Address.Service(in.Subject.Namespace, in.Proxy.ClusterDomain)
		id := ir.ServiceHost{Namespace: s.Namespace, Name: s.Name}
		if !ok || seen[id] {
			continue
		}
		seen[id] = true
		field := "address"
		if !up.Name.IsZero() && up.Address == up.Name.Address(up.Listen) {
			field = "listen"
		}
		callees = append(callees, Callee{
			ServiceHost: s,
			Where:       fmt.Sprintf("%s[%d].%s", in.Origins.Upstreams.Of(in.Subject.Namespace), i, field),
		})
		if len(callees) == maxCallees {
			break
		}
	}
	return callees
}

// Missing says that there is no such Service.
func (c Callee) Missing() Mistake {
	return Mistake{
		Where: c.Where,
		What:  fmt.Sprintf("there is no Service %s in namespace %s: calls fail until there is one", c.Name, c.Namespace),
		Hint:  "create it, or write another address",
	}
}
