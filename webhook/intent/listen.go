package intent

import (
	"encoding/json"
	"fmt"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// listen reads where the app finds an upstream: a port on 127.0.0.1, or a name and a port that it calls anyway. It may be
// left out.
func (r *reader) listen(f *fieldErrors, written json.RawMessage, up *ir.Upstream) {
	const field = ".listen"
	if len(written) == 0 || string(written) == "null" {
		return
	}
	var err error
	if written[0] == '"' {
		var text string
		if text, err = decode[string](written); err == nil {
			up.Name, up.Listen, err = ir.ParseName(text, r.Subject.Namespace, r.platform.ClusterDomain)
		}
		if err != nil {
			r.told.add(modelUpstreams + f.path + ".address") // the name may have said it
		}
		f.add(field, err)
		return
	}
	number, err := decode[int](written)
	if err != nil {
		f.add(field, fmt.Errorf(`expected a port on 127.0.0.1 such as 8000, or a name with a port such as "api:8080", got %.60s`, written))
		return
	}
	up.Listen = f.port(field, &number)
}

// passthrough reads further ports of an upstream's name. Each counts as an upstream: it takes a listener too.
func (r *reader) passthrough(f *fieldErrors, written []int) []uint16 {
	if !r.count(boundUpstreams, len(written)) {
		return nil // it is told of the pod as a whole
	}
	var ports []uint16
	for n, number := range written {
		port, err := portNumber(number)
		f.add(fmt.Sprintf(".passthrough[%d]", n), err)
		ports = append(ports, port)
	}
	return ports
}

// noteNames warns of what an app has to know that listens on a port which it also calls by a name.
func (r *reader) noteNames() {
	if r.Mode.Gateway {
		return
	}
	told := map[uint16]bool{}
	for i, up := range r.Proxy.Upstreams {
		if up.Name.IsZero() || up.Behind != 0 || told[up.Listen] {
			continue
		}
		for _, in := range r.Proxy.Inbound {
			if in.App != up.Listen || up.Listen == 0 {
				continue
			}
			told[up.Listen] = true
			r.Notes = append(r.Notes, Mistake{
				Where: r.written[AnnotationUpstreams].where(AnnotationUpstreams, fmt.Sprintf("[%d].listen", i)),
				What: fmt.Sprintf("the app has to listen on %s alone, and not on all addresses: Envoy has %s:%d, to which %s leads",
					in.AppHost.With(in.App), up.Loopback, up.Listen, up.Name),
			})
			break
		}
	}
}
