package main

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/spire-injector/spire-injector/test/install"
)

func bothRegistrants() (ours, peer registrant) {
	return theInjector(), theControllerManager(install.ControllerManager{}, "uid")
}

func TestBursts(t *testing.T) {
	got := settings{bursts: []int{1000, 8000}, accounts: 300}.allBursts()
	if diff := cmp.Diff([]burst{{1000, 1}, {8000, 1}, {300, 300}}, got, cmp.AllowUnexported(burst{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// One waits for an entry of each pod, the other for one of each identity.
func TestEntriesOfABurst(t *testing.T) {
	ours, peer := bothRegistrants()
	for _, tt := range []struct{ pods, accounts, ours, peer int }{{1000, 1, 1, 1000}, {1000, 1000, 1000, 1000}} {
		if got := ours.entries(tt.pods, tt.accounts); got != tt.ours {
			t.Errorf("%s: got %d entries for %d pods of %d accounts, want %d", ours.name, got, tt.pods, tt.accounts, tt.ours)
		}
		if got := peer.entries(tt.pods, tt.accounts); got != tt.peer {
			t.Errorf("%s: got %d entries for %d pods of %d accounts, want %d", peer.name, got, tt.pods, tt.accounts, tt.peer)
		}
	}
}

// Both get the same pod but for the label that chooses between them, and neither is asked to schedule it.
func TestBoundPodsDifferInOneLabel(t *testing.T) {
	ours, peer := bothRegistrants()
	a, b := boundPod("ns", "account-3", ours), boundPod("ns", "account-3", peer)
	if a.Labels[ours.label] != ours.value || b.Labels[peer.label] != peer.value {
		t.Errorf("got the labels %v and %v", a.Labels, b.Labels)
	}
	delete(a.Labels, ours.label)
	delete(b.Labels, peer.label)
	if diff := cmp.Diff(a, b); diff != "" {
		t.Errorf("(-ours +the other's):\n%s", diff)
	}
	if a.Spec.NodeName != standIn || a.Spec.ServiceAccountName != "account-3" {
		t.Errorf("got node %q and service account %q", a.Spec.NodeName, a.Spec.ServiceAccountName)
	}
}

func TestClusterSPIFFEIDSelectsOnePeersPods(t *testing.T) {
	_, peer := bothRegistrants()
	text, err := clusterSPIFFEID("ns", peer.label, peer.value)
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Spec struct {
			NamespaceSelector, PodSelector struct{ MatchLabels map[string]string }
		}
	}
	if err := json.Unmarshal([]byte(text), &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"kubernetes.io/metadata.name": "ns"}, got.Spec.NamespaceSelector.MatchLabels); diff != "" {
		t.Errorf("namespaces (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]string{peer.label: peer.value}, got.Spec.PodSelector.MatchLabels); diff != "" {
		t.Errorf("pods (-want +got):\n%s", diff)
	}
}

func TestIDsBelow(t *testing.T) {
	const shown = `{"entries": [
  {"id": "a", "spiffe_id": {"trust_domain": "example.org", "path": "/ns/bench-x/sa/account-0"}},
  {"id": "b", "spiffe_id": {"trust_domain": "example.org", "path": "/ns/bench-x2/sa/account-0"}},
  {"id": "c", "spiffe_id": {"trust_domain": "example.org", "path": "/ns/bench-x/sa/account-1"}},
  {"id": "d", "spiffe_id": {"trust_domain": "example.org", "path": "/bench/present/1"}}]}`
	got, err := idsBelow([]byte(shown), accountPath("bench-x", ""))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"a", "c"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestLooksBecomeRarer(t *testing.T) {
	for waited, want := range map[time.Duration]time.Duration{0: 0, 2 * time.Second: 100 * time.Millisecond, time.Hour: 5 * time.Second} {
		if got := nextLook(waited); got != want {
			t.Errorf("after %s: got %s, want %s", waited, got, want)
		}
	}
}
