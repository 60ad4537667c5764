package systems

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// patience is how long to wait for what should take seconds: test machines are slow and shared.
const patience = 2 * time.Minute

// settled is what is on the cluster once nothing is on its way out: what tests before these left may be.
func settled(t *testing.T) []string {
	t.Helper()
	eventually(t, "no namespace and no volume is being removed", func() error {
		var namespaces corev1.NamespaceList
		if err := shared.k.Get(t.Context(), &namespaces, "namespaces"); err != nil {
			return err
		}
		for _, n := range namespaces.Items {
			if n.DeletionTimestamp != nil {
				return fmt.Errorf("namespace %s is", n.Name)
			}
		}
		var volumes corev1.PersistentVolumeList
		if err := shared.k.Get(t.Context(), &volumes, "persistentvolumes"); err != nil {
			return err
		}
		for _, v := range volumes.Items {
			if v.DeletionTimestamp != nil || v.Status.Phase == corev1.VolumeReleased {
				return fmt.Errorf("volume %s is", v.Name)
			}
		}
		return nil
	})
	return objects(t)
}

// objects names every object of the cluster that is in no namespace, the namespaces among them, and not the API
// server's own record of something else: service addresses, and requests for certificates that it forgets by itself.
func objects(t *testing.T) []string {
	t.Helper()
	kinds, err := shared.k.Run(t.Context(), "api-resources", "--namespaced=false", "--verbs=list", "-o", "name")
	if err != nil {
		t.Fatal(err)
	}
	all := slices.DeleteFunc(strings.Fields(kinds), func(kind string) bool {
		return kind == "componentstatuses" || kind == "ipaddresses.networking.k8s.io" || kind == "certificatesigningrequests.certificates.k8s.io"
	})
	out, err := shared.k.Run(t.Context(), "get", strings.Join(all, ","), "-o", "name")
	if err != nil {
		t.Fatal(err)
	}
	return slices.Sorted(slices.Values(strings.Fields(out)))
}

// eventually calls try until it returns nil.
func eventually(t *testing.T, what string, try func() error) {
	t.Helper()
	start := time.Now()
	for {
		err := try()
		if err == nil {
			return
		}
		if time.Since(start) > patience {
			t.Fatalf("%s: not after %s: %v", what, patience, err)
		}
		select {
		case <-t.Context().Done():
			t.Fatalf("%s: %v", what, t.Context().Err())
		case <-time.After(time.Second):
		}
	}
}
