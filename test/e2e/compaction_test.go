package e2e

import (
	"context"
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/rand"

	"github.com/spire-injector/spire-injector/test/images"
)

// compaction deletes a key of etcd and has etcd forget how its keys were before, while the API server cannot look: it
// is stopped, and its connection to etcd broken. A watch that goes on where it was finds that this is compacted.
const compaction = `
set -e
server=$(pidof kube-apiserver)
trap 'kill -CONT $server' EXIT
kill -STOP $server
kill -KILL $(pidof etcd)
etcd() { timeout 2 wget -q -O - --header 'Content-Type: application/json' --post-data "$2" http://127.0.0.1:2379/v3/kv/$1; }
answer=
for try in $(seq 100); do
  if answer=$(etcd deleterange "{\"key\": \"$1\"}"); then break; fi
  usleep 100000
done
echo "$answer"
case $answer in *'"deleted":"1"'*) ;; *) exit 1 ;; esac
revision=$(echo "$answer" | sed 's/.*"revision":"\([0-9]*\)".*/\1/')
etcd compaction "{\"revision\": \"$revision\", \"physical\": true}"
`

// Etcd is compacted beyond what the API server has seen, so that every watch is too old: what was deleted meanwhile, an
// event that nobody ever gets, is noticed all the same, by replicas that went on.
func TestDisruptiveEtcdCompacted(t *testing.T) {
	ns := namespace(t)
	apply(t, pending(ns, client(ns, "stays")), pending(ns, client(ns, "goes")))
	awaitEntries(t, id(ns, "stays"), 1)
	awaitEntries(t, id(ns, "goes"), 1)
	names := replicas(t)
	restartsBefore, filled := injectorRestarts(t), watchCacheFilled(t)

	compact(t, "/registry/pods/"+ns+"/goes")
	eventually(t, "an answer of the API server", func() error {
		_, err := shared.k.With(t.Context(), manifest(t, pending(ns, client(ns, "comes"))), "apply", "-f", "-")
		return err
	})
	eventually(t, "that the API server's watch was too old", func() error {
		if now := watchCacheFilled(t); now <= filled {
			return fmt.Errorf("it has listed pods %d times, before and after", now)
		}
		return nil
	})
	t.Logf("what came then was registered after %.1f s", awaitEntries(t, id(ns, "comes"), 1).Seconds())
	took := eventually(t, "the mark of what is not needed any more", func() error {
		if !expires(t, id(ns, "goes")) {
			return fmt.Errorf("its entry has no expiry")
		}
		return nil
	})
	t.Logf("what was deleted without an event was noticed %.1f s after that", took.Seconds())
	if expires(t, id(ns, "stays")) {
		t.Error("what is still needed has an expiry")
	}
	apply(t, neverScheduled(api(ns, id(ns, "valid")).pod(ns)))
	if got := replicas(t); !slices.Equal(names, got) || injectorRestarts(t) != restartsBefore {
		t.Errorf("expected the replicas %v without restarts, got %v with %d", names, got, injectorRestarts(t)-restartsBefore)
	}
}

// compact runs the compaction in a pod, which needs no API server once it runs.
func compact(t *testing.T, key string) {
	t.Helper()
	const namespace = "kube-system"
	name := "e2e-compaction-" + rand.String(5)
	apply(t, &corev1.Pod{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"}, ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace},
		Spec: corev1.PodSpec{
			HostPID: true, HostNetwork: true, RestartPolicy: corev1.RestartPolicyNever, TerminationGracePeriodSeconds: new(int64(0)),
			Containers: []corev1.Container{{
				Name: "app", Image: images.Busybox, Command: []string{"sh", "-c", compaction, "sh", base64.StdEncoding.EncodeToString([]byte(key))},
				SecurityContext: &corev1.SecurityContext{Privileged: new(true)},
			}},
		},
	})
	t.Cleanup(func() {
		if err := deleted(context.Background(), namespace, name); err != nil {
			t.Error(err)
		}
	})
	eventually(t, "the compaction", func() error {
		var pod corev1.Pod
		if err := shared.k.Get(t.Context(), &pod, "pod", name, "--namespace", namespace); err != nil {
			return err
		}
		if pod.Status.Phase == corev1.PodSucceeded {
			return nil
		}
		out, err := shared.k.Run(t.Context(), "--namespace", namespace, "logs", name)
		if pod.Status.Phase == corev1.PodFailed {
			t.Fatalf("it failed (%v): %s", err, out)
		}
		return fmt.Errorf("its pod is %s: %s", pod.Status.Phase, out)
	})
}

// watchCacheFilled is how often the API server has listed pods in etcd to serve watches of them.
func watchCacheFilled(t *testing.T) (n int) {
	t.Helper()
	metrics, err := shared.k.Run(t.Context(), "get", "--raw", "/metrics")
	must(t, err)
	for line := range strings.Lines(metrics) {
		if name, value, _ := strings.Cut(line, " "); strings.HasPrefix(name, "apiserver_watch_cache_initializations_total{") && strings.Contains(name, `"pods"`) {
			n, err = strconv.Atoi(strings.TrimSpace(value))
			must(t, err)
			return n
		}
	}
	t.Fatal("the API server does not say how often it has listed pods")
	return 0
}

// expires says whether the one entry of an identity has an expiry.
func expires(t *testing.T, path string) bool {
	t.Helper()
	out := server(t, "entry", "show", "-spiffeID", "spiffe://example.org"+path, "-output", "json")
	if strings.Count(out, `"expires_at"`) != 1 {
		t.Fatalf("expected one entry of %s, got %s", path, out)
	}
	return !strings.Contains(out, `"expires_at":"0"`)
}
