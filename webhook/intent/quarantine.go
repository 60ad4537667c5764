package intent

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/spire-injector/spire-injector/registrar"
	"github.com/spire-injector/spire-injector/templates/ir"
)

// maxQuarantined bounds the list: each item may be in the configuration of each pod, several times.
const maxQuarantined = 64

var quarantineField = platformField{
	name: "quarantine",
	doc: fmt.Sprintf("identities, at most %d, that are cut off at once: running pods refuse them, and new pods do not get "+
		"them; written as peers are, with those of any trust domain", maxQuarantined),
	without: "none",
	schema:  listSchema(patternSchema("^(/|spiffe://)")),
	parse:   each(parseQuarantined),
}

func parseQuarantined(p *Platform, item string) error {
	td := p.Cluster.TrustDomain
	if td.IsZero() {
		return nil // which is a mistake of its own
	}
	if len(p.Quarantine) == maxQuarantined {
		return fmt.Errorf("expected at most %d identities, got one more: %.100q; /* after a path stands for all below it",
			maxQuarantined, item)
	}
	if n := len(item); n > maxID {
		return fmt.Errorf("expected an identity of at most %d bytes, got %d: %.60q…", maxID, n, item)
	}
	var foreign []spiffeid.TrustDomain
	if rest, full := strings.CutPrefix(item, "spiffe://"); full {
		name, _, _ := strings.Cut(rest, "/")
		if other, err := spiffeid.TrustDomainFromString(name); err == nil && other != td {
			foreign = append(foreign, other)
		}
	}
	peer, err := ir.ParsePeer(td, foreign, item)
	if err != nil {
		return err
	}
	if peer == ir.Everyone(td) {
		return fmt.Errorf("%s would cut off every pod of the trust domain from every other one; name paths, such as /ns/team/*",
			peer)
	}
	id, err := spiffeid.FromString(strings.TrimSuffix(peer.String(), "/*"))
	if err != nil {
		return err
	}
	if root, reserved := registrar.Reserved(id); reserved && id.MemberOf(td) {
		return fmt.Errorf("%s is of SPIRE or of the injector itself: IDs under %s/ are no workload's", peer, root)
	}
	if !slices.Contains(p.Quarantine, peer) {
		p.Quarantine = append(p.Quarantine, peer)
	}
	return nil
}

// Quarantined returns the item of the platform's list that an identity falls under; false if there is none.
func (p Platform) Quarantined(id spiffeid.ID) (ir.Peer, bool) {
	i := slices.IndexFunc(p.Quarantine, func(q ir.Peer) bool { return q.Matches(id) })
	if i < 0 {
		return ir.Peer{}, false
	}
	return p.Quarantine[i], true
}

// QuarantineMistakes finds a pod whose identity is cut off.
func (p Platform) QuarantineMistakes(id spiffeid.ID) []Mistake {
	item, is := p.Quarantined(id)
	if !is {
		return nil
	}
	return []Mistake{{
		Where: "identity " + id.String(),
		What:  fmt.Sprintf("is quarantined, by %s in the list quarantine of the platform file: no new pod gets it", item),
		Hint:  "ask the platform team, or use another identity",
	}}
}
