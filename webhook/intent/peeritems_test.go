package intent

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// inboundWith is the one listener of a pod whose peers are written so, in YAML.
func inboundWith(t *testing.T, peers string) (ir.Inbound, []Mistake) {
	t.Helper()
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{
		AnnotationSPIFFEID: "/api", AnnotationInbound: "- {listen: 8443, app: 8080, peers: " + peers + "}",
	}}}
	in, mistakes := ParseIntent(platform(t), Namespace{Name: "demo"}, pod)
	if len(mistakes) > 0 {
		return ir.Inbound{}, mistakes
	}
	return in.Proxy.Inbound[0], nil
}

// writtenPeers writes peers and rules as an annotation may have them, each rule at its place.
func writtenPeers(t *testing.T, in ir.Inbound) string {
	t.Helper()
	type object struct {
		ID      string   `json:"id"`
		Methods []string `json:"methods,omitempty"`
		Paths   []string `json:"paths,omitempty"`
	}
	var items []any
	plain := slices.Clone(in.Peers)
	for _, rule := range in.Rules {
		for len(items) < rule.Item {
			if len(plain) == 0 {
				plain = in.Peers // again: an item that was there twice, or could not be
			}
			if len(plain) == 0 {
				return ""
			}
			items, plain = append(items, plain[0].String()), plain[1:]
		}
		item := object{ID: rule.Peer.String(), Methods: rule.Methods}
		for _, path := range rule.Paths {
			item.Paths = append(item.Paths, path.String())
		}
		items = append(items, item)
	}
	for _, peer := range plain {
		items = append(items, peer.String())
	}
	out, err := json.Marshal(items)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// Peers that are accepted can be written again as they are understood, and mean the same.
func FuzzPeerItems(f *testing.F) {
	for _, s := range []string{
		`[/web]`, `["/web", {"id": "/ops", "methods": ["GET"], "paths": ["/v1/*", "/healthz"]}]`,
		`[{id: /ns/prod/*, paths: [/*]}, {id: /web, methods: [PUT, PUT]}, /x, {id: /y}]`, `[{id: /web, methods: []}]`,
		`[{id: /web, methods: null}]`, `[{}]`, `[[]]`, `[null]`, `null`, `[1]`, `[{id: /web, paths: [/a, "/../b"]}]`, `[{id: /a}, /a, {id: /a}]`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, peers string) {
		in, mistakes := inboundWith(t, peers)
		if len(mistakes) > 0 {
			return
		}
		if in.Listen != 8443 || len(in.Callers()) == 0 {
			return // it is more than peers
		}
		written := writtenPeers(t, in)
		if written == "" {
			return
		}
		again, mistakes := inboundWith(t, written)
		if len(mistakes) > 0 {
			t.Fatalf("%s became %s, which is refused: %v", peers, written, mistakes)
		}
		if diff := cmp.Diff(in, again, cmp.AllowUnexported(ir.Path{}), cmpopts.EquateComparable(ir.Peer{}), cmpopts.EquateEmpty(),
			cmpopts.IgnoreFields(ir.Inbound{}, "Limits", "Protocol", "TLS", "Clients", "JWT", "App")); diff != "" {
			t.Errorf("%s became %s (-first +again):\n%s", peers, written, diff)
		}
	})
}

// TestUnreadablePeersLetNobodyIn: what is wrong in an item never makes a list that says more, or one that is not written.
func TestUnreadablePeersLetNobodyIn(t *testing.T) {
	for _, item := range []string{
		`{id: web}`, `{id: /web, methods: [x y]}`, `{id: /web, paths: [x]}`, `{id: /web, path: [/a]}`, `{id: /web, methods: null}`,
		`{id: /web, methods: []}`, `{id: /web, paths: null}`, `{ID: /web}`, `{}`, `[]`, `null`, `""`, `{id: null}`, `{id: /web, paths: ["/*", ""]}`,
	} {
		if in, mistakes := inboundWith(t, "["+item+"]"); len(mistakes) != 1 {
			t.Errorf("%s: got %+v, and mistakes %v, want one", item, in, mistakes)
		}
	}
}

// TestManyRulesCostLittle has as many as fit in an annotation, and methods and paths without end in one.
func TestManyRulesCostLittle(t *testing.T) {
	const size = 256 << 10
	for name, peers := range map[string]string{
		"rules":     strings.Repeat("{id: /a/*, methods: [GET], paths: [/a]},", size/40),
		"mistakes":  strings.Repeat("{id: x},", size/8),
		"methods":   "{id: /a, methods: [" + strings.Repeat("GET,", size/4) + "]}",
		"paths":     "{id: /a, paths: [" + strings.Repeat("/a,", size/3) + "]}",
		"bad paths": "{id: /a, paths: [" + strings.Repeat("a,", size/2) + "]}",
	} {
		start := time.Now()
		if _, mistakes := inboundWith(t, "["+peers+"]"); len(mistakes) == 0 && name != "methods" && name != "paths" {
			t.Errorf("%s: accepted", name)
		}
		if took := time.Since(start); took > 30*time.Second {
			t.Errorf("%s: took %s", name, took)
		} else {
			t.Logf("%s: %s", name, took)
		}
	}
}
