package e2e

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	entryv1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/entry/v1"
	svidv1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/svid/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	k8srand "k8s.io/apimachinery/pkg/util/rand"

	"github.com/spire-injector/spire-injector/test/images"
)

// agentsKeepKeysOnDisk makes each agent keep its key where whoever is root on its node finds it, until the end of a
// test.
func agentsKeepKeysOnDisk(t *testing.T) {
	t.Helper()
	const (
		inMemory = `KeyManager "memory" {
    plugin_data {}
  }`
		onDisk = `KeyManager "disk" {
    plugin_data {
      directory = "/run/spire/data"
    }
  }`
	)
	var agents appsv1.DaemonSet
	must(t, shared.k.Get(t.Context(), &agents, "daemonset", "spire-agent", "--namespace", "spire"))
	volumes := agents.Spec.Template.Spec.Volumes
	name := volumes[slices.IndexFunc(volumes, func(v corev1.Volume) bool { return v.Name == "config" })].ConfigMap.Name
	var config corev1.ConfigMap
	must(t, shared.k.Get(t.Context(), &config, "configmap", name, "--namespace", "spire"))
	before := config.Data["agent.conf"]
	set := func(ctx context.Context, text string) error {
		patch, err := json.Marshal(map[string]any{"data": map[string]string{"agent.conf": text}})
		if err != nil {
			return err
		}
		for _, args := range [][]string{
			{"patch", "configmap", name, "--type=merge", "--patch", string(patch)},
			{"rollout", "restart", "daemonset/spire-agent"},
			{"rollout", "status", "daemonset/spire-agent", "--timeout", patience.String()},
		} {
			if _, err := shared.k.Run(ctx, append([]string{"--namespace", "spire"}, args...)...); err != nil {
				return err
			}
		}
		return nil
	}
	t.Cleanup(func() {
		if err := set(context.Background(), before); err != nil {
			t.Error(err)
		}
	})
	must(t, set(t.Context(), changed(t, before, inMemory, onDisk)))
}

// agentCaller calls the SPIRE server as one node's agent, with that agent's own SVID and key.
type agentCaller struct {
	node  string
	entry entryv1.EntryClient
	svid  svidv1.SVIDClient
}

// asAgentOf takes SVID and key of a node's agent from its data folder, as root on that node can.
func asAgentOf(t *testing.T, node string) agentCaller {
	t.Helper()
	certificate := stolenFrom(t, agentOn(t, node))
	asAgent := credentials.NewTLS(&tls.Config{
		Certificates:       []tls.Certificate{certificate},
		InsecureSkipVerify: true, //nolint:gosec // whom it calls is not its concern
	})
	server := forwardTo(t, "spire", "service/spire-server", 8081)
	conn, err := grpc.NewClient(server, grpc.WithTransportCredentials(asAgent))
	must(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	return agentCaller{node: node, entry: entryv1.NewEntryClient(conn), svid: svidv1.NewSVIDClient(conn)}
}

// agentOn is the pod of a node's SPIRE agent.
func agentOn(t *testing.T, node string) (agent corev1.Pod) {
	t.Helper()
	eventually(t, "an agent on "+node, func() error {
		var pods corev1.PodList
		if err := shared.k.Get(t.Context(), &pods, "pods", "--namespace", "spire", "--selector", "app.kubernetes.io/name=spire-agent",
			"--field-selector", "spec.nodeName="+node); err != nil {
			return err
		}
		pods.Items = slices.DeleteFunc(pods.Items, func(p corev1.Pod) bool { return p.DeletionTimestamp != nil })
		if len(pods.Items) != 1 {
			return fmt.Errorf("there are %d", len(pods.Items))
		}
		agent = pods.Items[0]
		return nil
	})
	return agent
}

// stolenFrom reads an agent's SVID and key through a pod that has the agent's volume.
func stolenFrom(t *testing.T, agent corev1.Pod) tls.Certificate {
	t.Helper()
	const namespace = "kube-system" // which the webhook never sees
	thief := &corev1.Pod{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: metav1.ObjectMeta{Name: "e2e-thief-" + k8srand.String(5), Namespace: namespace},
		Spec: corev1.PodSpec{
			NodeName: agent.Spec.NodeName, TerminationGracePeriodSeconds: new(int64(0)),
			Containers: []corev1.Container{{
				Name: "app", Image: images.Busybox, ImagePullPolicy: corev1.PullIfNotPresent, Command: []string{"sleep", "100000"},
				VolumeMounts:    []corev1.VolumeMount{{Name: "data", MountPath: "/data", ReadOnly: true}},
				SecurityContext: &corev1.SecurityContext{RunAsUser: new(int64(0)), RunAsNonRoot: new(false)},
			}},
			Volumes: []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{
				Path: "/var/lib/kubelet/pods/" + string(agent.UID) + "/volumes/kubernetes.io~empty-dir/data",
				Type: new(corev1.HostPathDirectory),
			}}}},
		},
	}
	apply(t, thief)
	t.Cleanup(func() {
		if _, err := shared.k.Run(context.Background(), "--namespace", namespace, "delete", "pod", thief.Name, "--wait=false"); err != nil {
			t.Error(err)
		}
	})
	k(t, namespace, "wait", "--for=condition=Ready", "pod/"+thief.Name, "--timeout", patience.String())
	var certificate tls.Certificate
	eventually(t, "the agent's SVID and key", func() error {
		var data struct {
			SVID [][]byte `json:"svid"` // PEM
		}
		var keys struct {
			Keys map[string][]byte `json:"keys"` // PKCS #8
		}
		for file, into := range map[string]any{"agent-data.json": &data, "keys.json": &keys} {
			out, err := shared.k.Run(t.Context(), "--namespace", namespace, "exec", thief.Name, "--", "cat", "/data/"+file)
			if err != nil {
				return err
			}
			if err := json.Unmarshal([]byte(out), into); err != nil {
				return fmt.Errorf("%s: %w", file, err)
			}
		}
		var chain [][]byte
		for _, text := range data.SVID {
			block, _ := pem.Decode(text)
			if block == nil {
				return errors.New("agent-data.json: its SVID is no PEM")
			}
			chain = append(chain, block.Bytes)
		}
		var err error
		certificate, err = pairOf(chain, slices.Collect(maps.Values(keys.Keys)))
		return err
	})
	return certificate
}

// pairOf finds the key of a chain of certificates: an agent has one more while it changes its SVID.
func pairOf(chain, keys [][]byte) (tls.Certificate, error) {
	pair := tls.Certificate{Certificate: chain}
	if len(chain) == 0 {
		return pair, errors.New("the agent has no SVID")
	}
	leaf, err := x509.ParseCertificate(chain[0])
	if err != nil {
		return pair, err
	}
	for _, der := range keys {
		key, err := x509.ParsePKCS8PrivateKey(der)
		if err != nil {
			return pair, err
		}
		signer, ok := key.(crypto.Signer)
		if !ok {
			continue
		}
		if public, ok := signer.Public().(*ecdsa.PublicKey); ok && public.Equal(leaf.PublicKey) {
			pair.PrivateKey, pair.Leaf = signer, leaf
			return pair, nil
		}
	}
	return pair, fmt.Errorf("none of %d keys belongs to the SVID of %s", len(keys), leaf.URIs)
}

// holds are the paths of the identities that the agent may have, and the IDs of their entries.
func (a agentCaller) holds(t *testing.T) map[string][]string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	response, err := a.entry.GetAuthorizedEntries(ctx, &entryv1.GetAuthorizedEntriesRequest{}, grpc.WaitForReady(true))
	if err != nil {
		t.Fatalf("as the agent of %s: %v", a.node, err)
	}
	held := map[string][]string{}
	for _, e := range response.Entries {
		held[e.SpiffeId.Path] = append(held[e.SpiffeId.Path], e.Id)
	}
	return held
}

// gets tells how the server answers when the agent asks for an X.509-SVID and a JWT-SVID by an entry.
func (a agentCaller) gets(t *testing.T, entryID string) (x509SVID, jwtSVID codes.Code) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	must(t, err)
	signed, err := a.svid.BatchNewX509SVID(ctx, &svidv1.BatchNewX509SVIDRequest{
		Params: []*svidv1.NewX509SVIDParams{{EntryId: entryID, Csr: csr}},
	}, grpc.WaitForReady(true))
	must(t, err)
	if len(signed.Results) != 1 {
		t.Fatalf("expected one result, got %d", len(signed.Results))
	}
	x509SVID = codes.Code(signed.Results[0].Status.Code) //nolint:gosec // never negative
	if (x509SVID == codes.OK) != (signed.Results[0].Svid != nil) {
		t.Errorf("an answer of %s, with an SVID: %t", x509SVID, signed.Results[0].Svid != nil)
	}
	_, err = a.svid.NewJWTSVID(ctx, &svidv1.NewJWTSVIDRequest{EntryId: entryID, Audience: []string{"anyone"}})
	return x509SVID, status.Code(err)
}
