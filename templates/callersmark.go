package templates

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// callersKey is where a filter chain keeps a digest of the lists that authorization alone holds its requests against.
const callersKey = "callers"

// markCallers makes a change of a port's subjects, forwarded clients or peers a change of its filter chains, which are
// then drained: authorization denies the next request of who was removed, and the drain ends the streams that are open
// (see [DrainSeconds]). Peers that TLS checks are in the chain anyway. The mark is read by no filter. It is a digest,
// because the lists themselves are long and in another file already. Under audit nobody is removed by a list.
func markCallers(listener *listenerv3.Listener, in ir.Inbound) {
	if in.Audits() {
		return
	}
	for _, chain := range listener.FilterChains {
		var lists [][]ir.Peer
		switch {
		case len(chain.GetFilterChainMatch().GetSourcePrefixRanges()) > 0:
			continue // readiness
		case chain.TransportSocket != nil && in.Clients == ir.Request:
			lists = [][]ir.Peer{in.JWT.Subjects, in.Forwarded, in.Peers}
		case chain.TransportSocket != nil:
			lists = [][]ir.Peer{in.JWT.Subjects, in.Forwarded}
		default:
			lists = [][]ir.Peer{in.JWT.Subjects}
		}
		chain.Metadata = callersMark(lists...)
	}
}

// callersMark is nil if all lists are empty. The order inside a list does not matter.
func callersMark(lists ...[]ir.Peer) *corev3.Metadata {
	var text strings.Builder
	empty := true
	for _, list := range lists {
		empty = empty && len(list) == 0
		names := make([]string, len(list))
		for i, peer := range list {
			names[i] = peer.String()
		}
		slices.Sort(names)
		text.WriteString(strings.Join(names, " ") + "\n") // neither is in an ID
	}
	if empty {
		return nil
	}
	return &corev3.Metadata{FilterMetadata: map[string]*structpb.Struct{
		metadataNamespace: {Fields: map[string]*structpb.Value{
			callersKey: structpb.NewStringValue(digestOf(text.String())),
		}},
	}}
}

func digestOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:8])
}
