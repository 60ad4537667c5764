package templates

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// callersKey is where a filter chain keeps a digest of the lists that authorization alone holds its requests against.
const callersKey = "callers"

// markCallers makes a change of a port's subjects, forwarded clients, rules or peers a change of its filter chains,
// which are then drained: authorization denies the next request of who was removed, and the drain ends the streams that
// are open (see [DrainSeconds]). Peers that TLS checks are in the chain anyway. The mark is read by no filter. It is a
// digest, because the lists themselves are long and in another file already. Under audit nobody is removed by a list.
func markCallers(listener *listenerv3.Listener, in ir.Inbound) {
	if in.Audits() {
		return
	}
	for _, chain := range listener.FilterChains {
		lists := [][]string{names(in.JWT.Subjects)}
		if chain.TransportSocket != nil {
			lists = append(lists, names(in.Forwarded))
		}
		if chain.TransportSocket != nil && in.Clients == ir.Request {
			lists = append(lists, names(in.Peers))
		} else if chain.TransportSocket != nil && len(in.Rules) > 0 {
			lists = append(lists, ruleTexts(in.Rules))
		}
		chain.Metadata = callersMark(lists...)
	}
}

func names(peers []ir.Peer) []string {
	out := make([]string, len(peers))
	for i, peer := range peers {
		out[i] = peer.String()
	}
	return out
}

// ruleTexts say who may ask for what, wherever it stands in the list of peers.
func ruleTexts(rules []ir.Rule) []string {
	out := make([]string, len(rules))
	for i, rule := range rules {
		paths := make([]string, len(rule.Paths))
		for i, path := range rule.Paths {
			paths[i] = path.String()
		}
		slices.Sort(paths)
		out[i] = fmt.Sprintf("%s %q %q", rule.Peer, slices.Sorted(slices.Values(rule.Methods)), paths)
	}
	return out
}

// callersMark is nil if all lists are empty. The order inside a list does not matter.
func callersMark(lists ...[]string) *corev3.Metadata {
	var text strings.Builder
	empty := true
	for _, list := range lists {
		empty = empty && len(list) == 0
		text.WriteString(strings.Join(slices.Sorted(slices.Values(list)), " ") + "\n") // neither is in an ID or a path
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
