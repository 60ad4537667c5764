package migrate

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/spire-injector/spire-injector/test/demo/scene"
)

func TestArrived(t *testing.T) {
	log := strings.Join([]string{
		`{"time":"2026-11-22T15:00:00.000Z","event":"plain_request","status":200}`, // before
		`{"time":"2026-11-22T15:00:01.000Z","event":"plain_request","status":200}`,
		`{"time":"2026-11-22T15:00:01.100Z","event":"request","peer":"` + ID(Web) + `","status":200}`,
		`{"time":"2026-11-22T15:00:01.200Z","event":"handshake_refused","reason":"HTTP_REQUEST"}`,
		`[2026-11-22 15:00:01.300][1][warning] not ours`,
	}, "\n")
	from := time.Date(2026, 11, 22, 15, 0, 1, 0, time.UTC)
	peers := peersOf(API)
	got := arrivedIn(log, API, peers, from, from.Add(arrivalWindow))
	if diff := cmp.Diff(Arrived{Workload: API, Peers: map[string]int{ID(Web): 1}, Plain: 1}, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	for _, c := range []struct {
		arrived          Arrived
		inTLS, plainOnly bool
	}{
		{got, false, false},
		{Arrived{}, false, false},
		{Arrived{Plain: 1}, false, true},
		{Arrived{Peers: map[string]int{ID(Web): 1}}, false, false},
		{Arrived{Peers: map[string]int{ID(Web): 1, ID(Batch): 1}}, true, false},
		{Arrived{Peers: map[string]int{ID(Web): 1, ID(Batch): 1}, Plain: 1}, false, false},
	} {
		if got := c.arrived.allInTLS(peers); got != c.inTLS {
			t.Errorf("%s: all in mutual TLS: got %v", c.arrived, got)
		}
		if got := c.arrived.plainAlone(peers); got != c.plainOnly {
			t.Errorf("%s: in plain text alone: got %v", c.arrived, got)
		}
	}
}

func TestSpecs(t *testing.T) {
	before := specs{"Service api": `{"port":80}`, "Deployment api": "{}"}
	for name, now := range map[string]specs{
		"changed": {"Service api": `{"port":8443}`, "Deployment api": "{}"},
		"gone":    {"Service api": `{"port":80}`},
		"new":     {"Service api": `{"port":80}`, "Deployment api": "{}", "Service web": "{}"},
	} {
		if before.same(now) == nil {
			t.Errorf("%s: expected an error", name)
		}
	}
	if err := before.same(specs{"Service api": `{"port":80}`, "Deployment api": "{}"}); err != nil {
		t.Error(err)
	}
	if (specs{}).same(specs{}) == nil {
		t.Error("nothing there: expected an error")
	}
}

// TestPatches sees that the story's patches are of labels and annotations alone, and permissive as the way back is.
func TestPatches(t *testing.T) {
	s := scene.Scene{Root: "../../.."}
	for _, deployment := range []string{API, Web, Batch} {
		text, err := s.Read(patchFile(deployment))
		if err != nil {
			t.Fatal(err)
		}
		var patch struct {
			Spec struct {
				Template struct {
					Metadata struct {
						Labels, Annotations map[string]string
					}
				}
			}
		}
		if err := yaml.UnmarshalStrict([]byte(text), &patch); err != nil {
			t.Errorf("%s: expected labels and annotations of the pod template alone: %v", patchFile(deployment), err)
		}
		if got := patch.Spec.Template.Metadata.Annotations["spiffe.io/inbound"]; deployment != Batch && strings.TrimSpace(got) != permissive {
			t.Errorf("%s: got %q, want %q as on the way back", patchFile(deployment), got, permissive)
		}
	}
}
