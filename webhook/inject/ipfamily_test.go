package inject

import (
	"strings"
	"testing"

	"github.com/spire-injector/spire-injector/templates/ir"
	"github.com/spire-injector/spire-injector/webhook/intent"
	"github.com/spire-injector/spire-injector/webhook/webhooktest"
)

// injectorWith is one in a cluster whose pods have such addresses.
func injectorWith(t *testing.T, family ir.IPFamily) Injector {
	t.Helper()
	return Injector{Platform: webhooktest.Platform(t).WithIPFamily(family), Version: "test"}
}

// A pod keeps the addresses that it began with: whichever replica sees it, and while all else of it changes.
func TestIPFamilyOfAPodStays(t *testing.T) {
	ns := intent.Namespace{Name: "demo"}
	for _, began := range []ir.IPFamily{ir.IPv4, ir.IPv6, ir.DualStack} {
		res, err := injectorWith(t, began).Inject(ns, webhooktest.Server())
		if err != nil {
			t.Fatal(err)
		}
		address := ": 0.0.0.0,"
		if began != ir.IPv4 {
			address = `: "::",`
		}
		for _, today := range []ir.IPFamily{ir.IPv4, ir.DualStack} {
			injector := injectorWith(t, today)
			if _, err := injector.Validate(ns, res.Pod); err != nil {
				t.Errorf("%s, validated with %s: %v", began, today, err)
			}
			if r, err := injector.Refresh(ns, res.Pod); err != nil || r.Outdated || len(r.NewPod) > 0 {
				t.Errorf("%s, refreshed with %s: %+v, %v", began, today, r, err)
			}
			after := res.Pod.DeepCopy()
			after.Annotations[intent.AnnotationAllowedPeers] = "/other"
			changed, err := injector.Update(ns, res.Pod, after)
			if err != nil {
				t.Errorf("%s, changed with %s: %v", began, today, err)
				continue
			}
			if got := changed.Pod.Annotations[intent.AnnotationListeners]; !strings.Contains(got, address) ||
				!strings.Contains(got, "/other") {
				t.Errorf("%s, changed with %s: expected listeners on %s for the new peer", began, today, address)
			}
		}
	}
}
