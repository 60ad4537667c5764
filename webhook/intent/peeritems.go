package intent

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// peerItem is an item of the peers of a listener that says what the peer may ask for, as it is written.
type peerItem struct {
	ID      json.RawMessage `json:"id"`
	Methods json.RawMessage `json:"methods"`
	Paths   json.RawMessage `json:"paths"`
}

const peerItemExample = "{id: /web, methods: [GET], paths: [/v1/*]}"

// readCallers reads the peers of a listener: IDs, and IDs with what they may ask for. Like [reader.peerList] it leaves
// a list that is there, also where nothing in it can be read.
func (r *reader) readCallers(f *fieldErrors, items []json.RawMessage, in *ir.Inbound) {
	in.Peers = make([]ir.Peer, 0, len(items))
	known := map[ir.Peer]bool{}
	for i, raw := range items {
		var text string
		if json.Unmarshal(raw, &text) == nil && string(raw) != "null" {
			for _, peer := range r.peersOf(f, ".peers", []string{text}) {
				if !known[peer] {
					in.Peers = append(in.Peers, peer)
				}
				known[peer] = true
			}
			continue
		}
		rule, ok := r.readRule(f, fmt.Sprintf(".peers[%d]", i), raw)
		switch rule.Item = i; {
		case !ok:
		case rule.Methods == nil && rule.Paths == nil: // an ID alone, in other words
			if !known[rule.Peer] {
				in.Peers = append(in.Peers, rule.Peer)
			}
			known[rule.Peer] = true
		default:
			in.Rules = append(in.Rules, rule)
		}
	}
}

// readRule is false if nothing can be said of the peer.
func (r *reader) readRule(f *fieldErrors, field string, raw json.RawMessage) (ir.Rule, bool) {
	var item peerItem
	if len(raw) == 0 || raw[0] != '{' {
		f.add(field, fmt.Errorf("expected a peer such as /web, or an object such as %s, got %.60s", peerItemExample, raw))
		return ir.Rule{}, false
	}
	if err := decodeObject(raw, peerItemExample, &item); err != nil {
		f.add(field, err)
		return ir.Rule{}, false
	}
	id, err := decode[string](item.ID)
	if err == nil && id == "" {
		err = errors.New("expected the peer's ID such as /web, got none")
	}
	f.add(field+".id", err)
	var rule ir.Rule
	if err == nil {
		if peers := r.peersOf(f, field+".id", []string{id}); len(peers) == 1 {
			rule.Peer = peers[0]
		}
	}
	rule.Methods = readList(f, field+".methods", item.Methods, "[GET, HEAD]", parseMethod)
	rule.Paths = readList(f, field+".paths", item.Paths, "[/v1/*]", ir.ParsePath)
	if slices.ContainsFunc(rule.Paths, ir.Path.IsEverything) {
		rule.Paths = nil
	}
	return rule, !rule.Peer.IsZero()
}

// readList reads a list of texts, each once. It is nil if it is not written: an empty one lets nothing in.
func readList[T comparable](
	f *fieldErrors,
	field string,
	raw json.RawMessage,
	example string,
	parse func(string) (T, error),
) []T {
	if raw == nil {
		return nil
	}
	var texts []string
	if err := json.Unmarshal(raw, &texts); err != nil || texts == nil {
		f.add(field, fmt.Errorf("expected a list such as %s, got %.60s", example, raw))
		return []T{}
	}
	out, known := make([]T, 0, len(texts)), map[T]bool{}
	for _, text := range texts {
		item, err := parse(text)
		f.add(field, err)
		if err == nil && !known[item] {
			out = append(out, item)
			known[item] = true
		}
	}
	return out
}

// parseMethod reads a method, and knows the slips.
func parseMethod(s string) (string, error) {
	method, err := ir.ParseMethod(s)
	if err == nil || len(s) > 64 || s == "CONNECT" {
		return method, err
	}
	if s == "*" {
		return "", fmt.Errorf("%w; without methods all are meant", err)
	}
	return "", withHint(err, strings.ToUpper(s), ir.Methods()...)
}
