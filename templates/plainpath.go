package templates

import (
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// plainPath is the form of the paths below a prefix that rules let in. What comes after the prefix must lead nowhere
// else, whatever the app makes of it: servers resolve dot segments also where Envoy sees none, after they have cut
// parameters off ("/..;x/"), decoded escapes once more ("%252e"), or have taken a backslash or a byte that is no UTF-8
// ("%c0%ae") for what it is not. So it is a list of what is allowed:
//
//   - a segment begins with one dot at most;
//   - its characters are printable ASCII without % and backslash, or escapes;
//   - an escape is not of a control character, nor of % . / \, nor of a byte that begins the long form of a short
//     character or none at all.
//
// Envoy bounds the size of a pattern; this one is well below.
const plainPath = `(/\.?(([!-$&--0-\[\]-~]|%(?i:2[0-46-9a-d]|[34689abd][0-9a-f]|5[0-9abd-f]|7[0-9a-e]|` +
	`c[2-9a-f]|e0%[ab][0-9a-f]|e[1-9a-f]|f0%[9ab][0-9a-f]|f[1-4]))\.*)*)*`

// normalizePaths lets rules, and the app, see paths without dot segments, backslashes and double slashes. An escaped
// slash stays for callers who may ask for everything.
func normalizePaths(in ir.Inbound, manager *hcmv3.HttpConnectionManager) {
	if !in.ComparesPaths() {
		return
	}
	manager.NormalizePath = yes()
	manager.MergeSlashes = true
}
