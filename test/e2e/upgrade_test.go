package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/spire-injector/spire-injector/test/cluster/environment"
	"github.com/spire-injector/spire-injector/test/cluster/parts"
	"github.com/spire-injector/spire-injector/test/demo/scene"
	"github.com/spire-injector/spire-injector/test/images"
	"github.com/spire-injector/spire-injector/test/install"
	"github.com/spire-injector/spire-injector/webhook/inject"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

// The injector is taken back to the version before this one, and then upgraded to this one, each with its manifests: no
// creation is refused meanwhile, no request between running pods fails, and what is registered stays. Not parallel: it
// is everybody's injector.
func TestDisruptiveUpgradeUnderLoad(t *testing.T) {
	ns := namespace(t)
	cache, err := parts.UserCache()
	must(t, err)
	env := shared.env
	archives, before, err := images.ForUpgrade(t.Context(), cache, progress{t})
	if errors.Is(err, parts.ErrNoHistory) {
		// What replaces replicas is tested all the same, as a change of their arguments does it.
		t.Logf("this version stands in for the one before it: %v", err)
		before.Root = shared.root
	} else {
		must(t, err)
		t.Logf("the version before this one is that of commit %s", before.Commit)
		env, err = env.With(t.Context(), archives, progress{t})
		must(t, err)
		env = running(env, images.Injector, images.InjectorBefore)
	}
	if _, err := os.Stat(filepath.Join(before.Root, "registrar", "row.go")); errors.Is(err, fs.ErrNotExist) {
		allowOneAlias(t)
	}
	deploy(t, ns, api(ns, id(ns, "valid")), client(ns, "valid"))
	was := registeredIn(t, ns)
	if len(was[id(ns, "api")]) != 1 || len(was[id(ns, "valid")]) != 1 {
		t.Fatalf("expected one entry of each workload, got %v", was)
	}
	t.Cleanup(func() {
		if err := install.Platform(context.Background(), shared.env, platform(), progress{t}); err != nil {
			t.Error(err)
		}
	})

	t.Cleanup(func() { // applying this version leaves what the one before it had, and it may have had the right to rotate
		for _, kind := range []string{"clusterrolebinding", "clusterrole"} {
			_, err := shared.k.Run(context.Background(), "delete", kind, "spire-injector-serving-cert", "--ignore-not-found")
			if err != nil {
				t.Error(err)
			}
		}
	})

	s := startStorm(t, ns)
	traffic := startLoad(t, ns, "deployment/valid")
	for _, version := range []struct {
		what          string
		env           environment.Environment
		kustomization string
	}{
		{"the version before", env, filepath.Join(before.Root, "manifests", "injector", "base")},
		{"this version", shared.env, platform()},
	} {
		old, start := replicas(t), time.Now()
		must(t, install.Apply(t.Context(), version.env, version.kustomization))
		rollout(t, "spire-injector", "deployment/spire-injector")
		awaitGone(t, old)
		t.Logf("%s serves after %.0f s", version.what, time.Since(start).Seconds())
		for _, pod := range podsOf(t, "spire-injector", "") {
			if want, got := version.env.Images[images.Injector], pod.Spec.Containers[0].Image; got != want || scene.Restarts(pod) != 0 {
				t.Errorf("expected that replica %s runs %s without a restart, got %s and %d", pod.Name, want, got, scene.Restarts(pod))
			}
		}
		awaitFullPass(t, start)
	}
	s.wantNoRefusal(t)
	traffic.report(t).wantNoFailure(t)

	if diff := cmp.Diff(was, registeredIn(t, ns)); diff != "" {
		t.Errorf("entries by identity, before and after (-want +got):\n%s", diff)
	}
	for _, pod := range podsOf(t, ns, "") {
		var status inject.Status
		if err := json.Unmarshal([]byte(pod.Annotations[intent.AnnotationStatus]), &status); err != nil {
			t.Fatalf("pod %s: %v", pod.Name, err)
		}
		if !slices.ContainsFunc(slices.Collect(maps.Values(was)), func(ids []string) bool { return slices.Equal(ids, status.EntryIDs) }) {
			t.Errorf("pod %s is registered as %v, want one of %v", pod.Name, status.EntryIDs, was)
		}
	}
	if missing := total(t, `spire_injector_entries{state="missing"}`); missing != 0 {
		t.Errorf("%.0f entries are missing", missing)
	}
	apply(t, neverScheduled(client(ns, "late").pod(ns)))
	if got := entries(t, id(ns, "late")); len(got) != 1 {
		t.Errorf("expected one entry of an identity that came after the upgrade, got %+v", got)
	}
}

// allowOneAlias has SPIRE's policy allow, until the end of the test, what a version makes that has no rows, as its
// policy-data.json has it during such an upgrade.
func allowOneAlias(t *testing.T) {
	t.Helper()
	volume := `{.spec.template.spec.volumes[?(@.configMap)].configMap.name}`
	name, _, _ := strings.Cut(k(t, "spire", "get", "statefulset", "spire-server", "-o", "jsonpath="+volume), " ")
	replace := func(ctx context.Context, from, to string) error {
		var c corev1.ConfigMap
		if err := shared.k.Get(ctx, &c, "configmap", name, "--namespace", "spire"); err != nil {
			return err
		}
		const file = "policy-data.json"
		if !strings.Contains(c.Data[file], from) {
			return fmt.Errorf("expected %s in %s of ConfigMap %s, got %q", from, file, name, c.Data[file])
		}
		patch, err := json.Marshal(item{"data": item{file: strings.Replace(c.Data[file], from, to, 1)}})
		if err != nil {
			return err
		}
		for _, args := range [][]string{
			{"patch", "configmap", name, "--patch", string(patch)},
			{"delete", "pod", "spire-server-0"},
			{"rollout", "status", "statefulset/spire-server", "--timeout=2m"},
		} {
			if _, err := shared.k.Run(ctx, append([]string{"--namespace", "spire"}, args...)...); err != nil {
				return err
			}
		}
		return nil
	}
	const strict, open = `"node_selectors": []`, `"node_selectors": ["k8s_psat:cluster:demo-cluster"]`
	must(t, replace(t.Context(), strict, open))
	t.Cleanup(func() {
		if err := replace(context.Background(), open, strict); err != nil {
			t.Error(err)
		}
	})
}

// running is an environment where an image is found in the place of another one.
func running(env environment.Environment, image, other string) environment.Environment {
	env.Images, env.Contents = maps.Clone(env.Images), maps.Clone(env.Contents)
	env.Images[image], env.Contents[image] = env.Images[other], env.Contents[other]
	return env
}

// awaitFullPass waits until the leading replica has compared all entries without an error since a time.
func awaitFullPass(t *testing.T, since time.Time) {
	t.Helper()
	eventually(t, "a comparison of all entries", func() error {
		var last float64
		for _, replica := range replicas(t) {
			if text, ok := scrape(t, replica)["spire_injector_reconcile_last_success_timestamp_seconds"]; ok {
				v, err := strconv.ParseFloat(text, 64)
				must(t, err)
				last = max(last, v)
			}
		}
		if last < float64(since.Unix()) {
			return fmt.Errorf("the last was at %.0f, want one since %d", last, since.Unix())
		}
		return nil
	})
}
