package intent

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spire-injector/spire-injector/templates/ir"
)

const maxDrain = 5 * time.Minute

// defaultsFields are those of defaults: what holds for pods that do not say it themselves.
var defaultsFields = []platformField{
	{
		name:     "inboundPort",
		doc:      "port of the listener that app-port asks for",
		standard: "8443",
		schema:   portSchema,
		parse:    one(parseInboundPort),
	},
	{
		name:    "federatesWith",
		doc:     "foreign trust domains of pods that name none",
		without: "none",
		schema:  listSchema(stringSchema),
		parse: each(func(p *Platform, item string) error {
			domains, errs := parseFederated(p.Cluster.TrustDomain, []string{item})
			for _, td := range domains {
				if !slices.Contains(p.FederatesWith, td) {
					p.FederatesWith = append(p.FederatesWith, td)
				}
			}
			return errors.Join(errs...)
		}),
	},
	{
		name:    "allowedPeers",
		doc:     "peers of pods that name none",
		without: "none",
		schema:  listSchema(stringSchema),
		parse: each(func(p *Platform, item string) error {
			peer, err := ir.ParsePeer(p.Cluster.TrustDomain, p.FederatesWith, item)
			p.AllowedPeers = append(p.AllowedPeers, peer)
			return err
		}),
	},
	{
		name:     "x509SVIDTTL",
		doc:      "TTL of X.509-SVIDs, 10s to 720h",
		standard: "1h",
		schema:   durationSchema,
		parse: one(func(p *Platform, v string) (err error) {
			p.X509SVIDTTL, err = parseTTL(v)
			return err
		}),
	},
	{
		name:    "jwtSVIDTTL",
		doc:     "TTL of JWT-SVIDs, 10s to 720h",
		without: "the SPIRE server's",
		schema:  durationSchema,
		parse: one(func(p *Platform, v string) (err error) {
			if v == "" {
				return nil
			}
			p.JWTSVIDTTL, err = parseTTL(v)
			return err
		}),
	},
	minTLSVersionField,
	defaultCaptureField,
	{
		name:     "drain",
		doc:      "how long a terminating pod still serves, up to 5m; 0s turns it off",
		standard: "10s",
		schema:   durationSchema,
		parse: one(func(p *Platform, v string) error {
			d, err := time.ParseDuration(v)
			if err != nil || d < 0 || d > maxDrain || d%time.Second != 0 {
				return fmt.Errorf("expected whole seconds from 0s to %s, got %q", maxDrain, v)
			}
			p.Drain = d
			return nil
		}),
	},
}

func parseInboundPort(p *Platform, n int) error {
	port, err := availablePort(n)
	if err != nil {
		return err
	}
	if port == p.Sidecar.Metrics.Port {
		return fmt.Errorf("port %d is that of sidecar.metrics", port)
	}
	p.InboundPort = port
	return nil
}
