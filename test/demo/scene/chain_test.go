package scene

import (
	"strings"
	"testing"
)

func TestAuthoritiesBetween(t *testing.T) {
	const svid = "printf 'SPIFFE ID:\t\tspiffe://example.org/a\nSVID Valid After:\t2026\n%sCA #1 Valid After:\t2026\n[spiffe://b] CA #1 Valid After:\t2026\n'"
	const one = "Intermediate #1 Valid After:\t2026\nIntermediate #1 Valid Until:\t2027\n"
	two := one + strings.ReplaceAll(one, "#1", "#2")
	for wanted, lines := range []string{"", one, two} {
		s := sceneWith(t, strings.Replace(svid, "%s", lines, 1))
		for n := range 3 {
			if err := s.Between(t.Context(), Workload{"demo", "a", "workload"}, n); (err == nil) != (n == wanted) {
				t.Errorf("%d authorities, %d wanted: %v", wanted, n, err)
			}
		}
	}
}
