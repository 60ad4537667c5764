package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/spire-injector/spire-injector/test/install"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

// registrant is one of the two that register workloads in SPIRE. Each gets the same pods but for one label, under the
// same identities, and is measured while the other has nothing to do: spire-controller-manager does not run then,
// because it looks at all of SPIRE's entries whatever pod changes; the injector does, and hears nothing of pods that
// did not ask for it.
type registrant struct {
	name      string
	label     string // with its value, what makes pods its own
	value     string
	perPod    bool // it has an entry for each pod, and not for each identity
	processes programAt
	// filter makes the SPIRE server count its entries for a namespace, and no others.
	filter func(namespace string) []string
	// begin makes it register the pods of a namespace; the returned function ends that.
	begin func(ctx context.Context, c *cluster, namespace string) (end func(context.Context) error, err error)
}

// programAt is where the replicas of a program show their metrics.
type programAt struct {
	namespace, selector string
	port                int
}

func theInjector() registrant {
	return registrant{
		name: "spire-injector", label: intent.LabelInject, value: intent.InjectEnabled,
		processes: programAt{"spire-injector", "app.kubernetes.io/name=spire-injector", 8080},
		filter: func(namespace string) []string {
			return []string{"-selector", "k8s:ns:" + namespace, "-matchSelectorsOn", "superset"}
		},
		begin: func(context.Context, *cluster, string) (func(context.Context) error, error) {
			return func(context.Context) error { return nil }, nil
		},
	}
}

// theControllerManager registers pods of one node, by whose UID the parent of their entries is called.
func theControllerManager(m install.ControllerManager, node types.UID) registrant {
	const name = "spire-controller-manager"
	r := registrant{
		name: name, label: benchLabel, value: name, perPod: true,
		processes: programAt{install.ControllerManagerNamespace, "app.kubernetes.io/name=" + name, install.ControllerManagerMetricsPort},
		filter: func(string) []string {
			return []string{"-parentID", fmt.Sprintf("spiffe://%s/spire/agent/k8s_psat/demo-cluster/%s", trustDomain, node)}
		},
	}
	r.begin = func(ctx context.Context, c *cluster, namespace string) (func(context.Context) error, error) {
		object, err := clusterSPIFFEID(namespace, r.label, r.value)
		if err != nil {
			return nil, err
		}
		if _, err := c.kubectl.With(ctx, object, "apply", "-f", "-"); err != nil {
			return nil, err
		}
		end := func(ctx context.Context) error {
			stopped := m.Stop(ctx)
			_, err := c.kubectl.Run(ctx, "delete", "clusterspiffeid", namespace, "--ignore-not-found")
			return errors.Join(stopped, err)
		}
		// As the charts run it: this prefix, and its own defaults.
		if err := m.Start(ctx, install.ControllerManagerSettings{EntryIDPrefix: "demo-cluster"}, c.progress); err != nil {
			return nil, errors.Join(err, end(context.WithoutCancel(ctx)))
		}
		return end, nil
	}
	return r
}

// theServer is not compared but watched: what both cost it.
func theServer() programAt {
	return programAt{"spire", "app.kubernetes.io/name=spire-server", install.SPIREMetricsPort}
}

// entries is how many entries there are for some pods of some service accounts.
func (r registrant) entries(pods, accounts int) int {
	if r.perPod {
		return pods
	}
	return accounts
}

// accountPath is the identity that both give a service account.
func accountPath(namespace, account string) string { return "/ns/" + namespace + "/sa/" + account }

// clusterSPIFFEID asks spire-controller-manager to register pods of a namespace, under the charts' own template.
func clusterSPIFFEID(namespace, label, value string) (string, error) {
	data, err := json.Marshal(map[string]any{
		"apiVersion": "spire.spiffe.io/v1alpha1", "kind": "ClusterSPIFFEID",
		"metadata": map[string]any{"name": namespace},
		"spec": map[string]any{
			"spiffeIDTemplate":  "spiffe://{{ .TrustDomain }}/ns/{{ .PodMeta.Namespace }}/sa/{{ .PodSpec.ServiceAccountName }}",
			"namespaceSelector": metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: namespace}},
			"podSelector":       metav1.LabelSelector{MatchLabels: map[string]string{label: value}},
		},
	})
	return string(data), err
}

// boundPod is a pod that is on a node from the beginning. spire-controller-manager registers a pod once it is on a node
// that the API server knows, the injector before it exists. Here the scheduler takes no time, which is in favour of the
// former.
func boundPod(namespace, account string, r registrant) *corev1.Pod {
	pod := pendingPod(namespace, variant{label: r.label, value: r.value})
	pod.Labels["app"] = burstApp
	pod.Annotations[intent.AnnotationSPIFFEID] = accountPath(namespace, account)
	pod.Spec.ServiceAccountName = account
	pod.Spec.NodeName = standIn
	// A node that does not answer loses its pods after five minutes, those that tolerate it excepted.
	pod.Spec.Tolerations = []corev1.Toleration{{Operator: corev1.TolerationOpExists}}
	return pod
}

func accountName(i int) string { return fmt.Sprintf("account-%d", i) }
