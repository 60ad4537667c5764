package ir

// Tracing is where Envoy sends a span for each request of HTTP, by OTLP over gRPC. The zero value is nowhere.
type Tracing struct {
	Collector Address
	// Peers are the identities that the collector may have, all of one trust domain. None means that Envoy speaks to it in
	// plain text.
	Peers []Peer
	// Percent of the requests that begin a trace are sampled, 0 to 100, in steps of 0.0001. What belongs to a trace
	// already is sampled as its caller says.
	Percent float64
}

// IsZero says whether there are no traces.
func (t Tracing) IsZero() bool { return t.Collector == Address{} }

func (p Proxy) checkTracing(found *problems) {
	t := p.Tracing
	if t.IsZero() {
		if len(t.Peers) > 0 || t.Percent != 0 {
			found.tell("tracing.collector", CollectorMissing, `expected host:port such as "collector.tracing.svc:4317", got none`)
		}
		return
	}
	if !(t.Percent >= 0 && t.Percent <= 100) { // not a number is neither
		found.tell("tracing.percent", SamplingRange, "expected 0 to 100 percent, got %v", t.Percent)
	}
	if text := zeroPeer(t.Peers); text != "" {
		found.tell("tracing.peers", PeerZero, "%s", text)
	}
	if _, one := OneTrustDomain(t.Peers); !one && len(t.Peers) > 0 {
		found.tell("tracing.peers", SeveralDomains, "expected peers of one trust domain, got %s", domainsOf(t.Peers))
	}
}
