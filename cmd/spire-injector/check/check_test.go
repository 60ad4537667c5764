package check

import (
	"bytes"
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	clienttesting "k8s.io/client-go/testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

// What people apply from the manifests has nothing to complain about.
func TestHealthyCluster(t *testing.T) {
	t.Parallel()
	report := NewReport(Judge(healthy(t).gather(t)))
	if report.Warnings+report.Errors > 0 {
		t.Errorf("expected nothing but ok")
	}
	for _, c := range checks() {
		if !has(report.Findings, c.name, OK, "") {
			t.Errorf("%s: expected a finding", c.name)
		}
	}
	golden(t, "healthy", report)
}

// What a broken cluster is told, in both forms.
func TestBrokenCluster(t *testing.T) {
	t.Parallel()
	c := healthy(t)
	c.pages[leaderName+":8080/metrics"] = strings.NewReplacer(
		`rollout_paused 0`, `rollout_paused 1`, `{state="rejected"} 0`, `{state="rejected"} 2`, `{state="outdated"} 0`, `{state="outdated"} 40`,
	).Replace(c.pages[leaderName+":8080/metrics"])
	delete(c.pages, followerName+":8080/metrics")
	c.set(t, configMap("spire", "spire-agent", "agent.conf",
		strings.Replace(file(t, "spire/base/agent.conf"), "skip_kubelet_verification = true", "disable_container_selectors = true", 1)))
	c.PrependReactor("list", "nodes", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, apierrors.NewForbidden(corev1.Resource("nodes"), "", nil)
	})
	golden(t, "broken", NewReport(Judge(c.gather(t))))
}

// golden compares both forms of a report with files.
func golden(t *testing.T, name string, r Report) {
	t.Helper()
	var text, object bytes.Buffer
	if err := r.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	if err := r.WriteJSON(&object); err != nil {
		t.Fatal(err)
	}
	for file, got := range map[string][]byte{"testdata/" + name + ".txt": text.Bytes(), "testdata/" + name + ".json": object.Bytes()} {
		if *update {
			if err := os.WriteFile(file, got, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), string(got)); diff != "" {
			t.Errorf("%s (go test -update writes it anew):\n%s", file, diff)
		}
	}
}

// set replaces a ConfigMap.
func (c *cluster) set(t *testing.T, object *corev1.ConfigMap) {
	t.Helper()
	gvr := corev1.SchemeGroupVersion.WithResource("configmaps")
	if err := c.Tracker().Update(gvr, object, object.Namespace); err != nil {
		t.Fatal(err)
	}
}

// has says whether there is a finding with a part in what it says.
func has(findings []Finding, check string, status Status, part string) bool {
	for _, f := range findings {
		if f.Check == check && f.Status == status && strings.Contains(f.Where+": "+f.Found, part) {
			return true
		}
	}
	return false
}
