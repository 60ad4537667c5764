package intent

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// standardSampling is the part of traces, in percent, of a platform file that names none.
const standardSampling = 1

// tracingFields are those of sidecar.tracing.
var tracingFields = []platformField{
	{
		name:    "address",
		doc:     "host:port of the collector, which takes OTLP over gRPC",
		without: required,
		schema:  notEmptySchema,
		parse: one(func(p *Platform, address string) (err error) {
			if address == "" {
				return errors.New(`expected host:port such as "collector.tracing.svc:4317", got nothing`)
			}
			p.Sidecar.Tracing.Collector, err = ir.ParseAddress(address)
			return err
		}),
	},
	{
		name:    "peers",
		doc:     "identities that the collector may have, of the own trust domain; Envoy then speaks mTLS to it",
		without: "plain text",
		schema:  listSchema(stringSchema),
		parse: each(func(p *Platform, item string) error {
			peer, err := ir.ParsePeer(p.Cluster.TrustDomain, nil, item)
			p.Sidecar.Tracing.Peers = append(p.Sidecar.Tracing.Peers, peer)
			return err
		}),
	},
	{
		name:    "samplingPercent",
		doc:     "part of the traces that begin here, 0 to 100; a request that belongs to a trace follows it",
		without: fmt.Sprint(standardSampling),
		schema:  schema{Type: "number", Maximum: 100},
		parse: func(p *Platform, raw json.RawMessage) []problem {
			if isNull(raw) { // 0 is a value of its own
				p.Sidecar.Tracing.Percent = standardSampling
				return nil
			}
			percent, err := decode[float64](raw)
			if err == nil && (percent < 0 || percent > 100) {
				err = fmt.Errorf("expected 0 to 100, such as 0.5, got %v", percent)
			}
			p.Sidecar.Tracing.Percent = percent
			return whole(err)
		},
	},
}
