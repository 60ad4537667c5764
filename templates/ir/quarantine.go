package ir

import "slices"

// Refuse has the proxy refuse quarantined identities wherever its lists would admit them, as caller and as server. Lists
// that would not stay as they are.
func (p *Proxy) Refuse(quarantined []Peer) {
	if len(quarantined) == 0 {
		return
	}
	inbound := slices.Clone(p.Inbound)
	for i, in := range inbound {
		if in.ChecksRequests() {
			inbound[i].Refused = in.admitted(quarantined)
		}
	}
	upstreams := slices.Clone(p.Upstreams)
	for i, up := range upstreams {
		upstreams[i].Refused = admittedBy(up.Peers, quarantined)
	}
	p.Inbound, p.Upstreams = inbound, upstreams
	p.CollectorRefused = admittedBy(p.Tracing.Peers, quarantined)
}

// admitted are those of others whom the port would let in, or who may be named by those that it lets in.
func (in Inbound) admitted(others []Peer) []Peer {
	if in.Audit {
		return others
	}
	return admittedBy(slices.Concat(in.Callers(), in.JWT.Subjects, in.Forwarded), others)
}

func admittedBy(list, others []Peer) []Peer {
	var out []Peer
	for _, other := range others {
		if slices.ContainsFunc(list, func(p Peer) bool { return p.Covers(other) || other.Covers(p) }) {
			out = append(out, other)
		}
	}
	return out
}
