package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Each of two injectors keeps what its own cluster needs for longer than the grace time, and removes what its own
// cluster does not need any more; the entries of the other it leaves alone, also those of an identity that both
// clusters have.
func clustersShareAServer(t *testing.T) {
	first, second := namespaceNamed(t, "cluster-one"), namespaceNamed(t, "cluster-two")
	injector := releaseFor(t, second, "injector/base", "--entry-grace-time="+shortGrace.String(), "--resync-interval=10s")
	both := id(first, "both")
	claim(t, injector, second, both)
	prefixes := map[string]string{first: idsOfOurs, second: "spire-injector." + injector + "."}
	has := func(ns, path string) error {
		ids := entryIDs(t, path)
		if n := len(slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return !strings.HasPrefix(id, prefixes[ns]) })); n != 1 {
			return fmt.Errorf("expected one entry of %s with the prefix %s, got %v", path, prefixes[ns], ids)
		}
		return nil
	}
	for _, ns := range []string{first, second} {
		for name, path := range map[string]string{"stays": id(ns, "stays"), "goes": id(ns, "goes"), "both": both} {
			w := client(ns, name)
			w.annotations["spiffe.io/spiffe-id"] = path
			eventually(t, "a pod "+name, func() error { // once the claim is in force
				_, err := shared.k.With(t.Context(), manifest(t, pending(ns, w)), "apply", "-f", "-")
				return err
			})
			eventually(t, "the entry of "+path, func() error { return has(ns, path) })
		}
	}

	k(t, first, "delete", "pod", "goes", "both")
	k(t, second, "delete", "pod", "goes")
	start := time.Now()
	kept := func() {
		t.Helper()
		for ns, paths := range map[string][]string{first: {id(first, "stays")}, second: {id(second, "stays"), both}} {
			for _, path := range paths {
				if err := has(ns, path); err != nil {
					t.Fatalf("%.0f s after others were not needed any more: %v", time.Since(start).Seconds(), err)
				}
			}
		}
	}
	eventually(t, "the removal of what nobody needs", func() error {
		kept()
		time.Sleep(2 * time.Second)
		for path, want := range map[string]int{id(first, "goes"): 0, id(second, "goes"): 0, both: 1} {
			if got := entryIDs(t, path); len(got) != want {
				return fmt.Errorf("expected %d entries of %s, got %v", want, path, got)
			}
		}
		return nil
	})
	if took := time.Since(start); took < shortGrace {
		t.Errorf("entries were removed after %.0f s, before the grace time", took.Seconds())
	}
	// What one injector had taken for nobody's when it came would have gone by now, too.
	for end := time.Now().Add(shortGrace / 4); time.Now().Before(end); time.Sleep(2 * time.Second) {
		kept()
	}
	t.Logf("entries of both clusters were kept for %.0f s after others were not needed any more", time.Since(start).Seconds())
	unknownNamespacesAreLeftAlone(t, injector, first, second)
}

// While its MutatingWebhookConfiguration is away an injector cannot know which namespaces are its own: it registers
// nothing, not even for those of others, and removes nothing.
func unknownNamespacesAreLeftAlone(t *testing.T, injector, others, own string) {
	var configuration admissionregistrationv1.MutatingWebhookConfiguration
	must(t, shared.k.Get(t.Context(), &configuration, "mutatingwebhookconfiguration", injector))
	_, err := shared.k.Run(t.Context(), "delete", "mutatingwebhookconfiguration", injector)
	must(t, err)
	eventually(t, "the injector to notice", func() error {
		if logs := k(t, injector, "logs", "--selector", "app.kubernetes.io/name=spire-injector", "--tail=-1"); !strings.Contains(logs, "no entry is added or removed") {
			return fmt.Errorf("its logs are %s", logs)
		}
		return nil
	})
	late := id(others, "late")
	k(t, own, "delete", "pod", "stays")
	apply(t, pending(others, client(others, "late")))
	eventually(t, "the entry of "+late, func() error {
		if len(entries(t, late)) == 0 {
			return errors.New("there is none")
		}
		return nil
	})
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(time.Second) {
		if got := entryIDs(t, late); len(got) != 1 || !strings.HasPrefix(got[0], idsOfOurs) {
			t.Fatalf("%s is registered as %v: expected one entry with the prefix %s", late, got, idsOfOurs)
		}
		if got := entries(t, id(own, "stays")); len(got) != 1 || got[0].ExpiresAt != "0" {
			t.Fatalf("the entries of %s are %+v: expected one that does not expire", id(own, "stays"), got)
		}
	}
	configuration.ObjectMeta = metav1.ObjectMeta{Name: configuration.Name, Labels: configuration.Labels, Annotations: configuration.Annotations}
	apply(t, &configuration)
	eventually(t, "what nobody needs to expire", func() error {
		if got := entries(t, id(own, "stays")); len(got) == 1 && got[0].ExpiresAt == "0" {
			return fmt.Errorf("it is %+v", got)
		}
		return nil
	})
}

// entryIDs are those of an identity's entries.
func entryIDs(t *testing.T, path string) (ids []string) {
	t.Helper()
	for _, e := range entries(t, path) {
		ids = append(ids, e.ID)
	}
	return ids
}

// claim lets the pods of a namespace have an identity outside it, by the platform file of a test's own injector.
func claim(t *testing.T, injector, ns, path string) {
	t.Helper()
	var m corev1.ConfigMap
	must(t, shared.k.Get(t.Context(), &m, "configmap", platformMap, "--namespace", injector))
	file := changed(t, m.Data["config.yaml"], "claims: []", fmt.Sprintf(`claims: [{namespaces: [%s], serviceAccounts: ["*"], paths: [%s]}]`, ns, path))
	patch, err := json.Marshal(item{"data": item{"config.yaml": file}})
	must(t, err)
	k(t, injector, "patch", "configmap", platformMap, "--type=merge", "--patch", string(patch))
}
