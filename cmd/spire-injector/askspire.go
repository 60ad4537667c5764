package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	coreclient "k8s.io/client-go/kubernetes/typed/core/v1"

	"github.com/spire-injector/spire-injector/cmd/spire-injector/answers"
	"github.com/spire-injector/spire-injector/registrar"
	"github.com/spire-injector/spire-injector/registrar/spireapi"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

// spireAnswers bounds how long SPIRE may take to list the entries of a cluster.
const spireAnswers = 20 * time.Second

// spireFlags say whether, and how, an answer asks SPIRE's server.
type spireFlags struct {
	ask         bool
	workloadAPI string
}

func (f *spireFlags) add(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&f.ask, "spire", false, "ask SPIRE's server for registration entries")
	cmd.Flags().StringVar(&f.workloadAPI, "workload-api", "",
		"Workload API of the own SVID with which SPIRE is called (default by the platform file)")
}

// askInto adds what SPIRE says to the facts. What it does not answer is in them.
func (f spireFlags) askInto(ctx context.Context, mesh *answers.Mesh, of answerFlags) error {
	switch {
	case len(of.files) > 0:
		return usageError{errors.New("--spire: expected a cluster, got manifests, of which SPIRE knows nothing")}
	case mesh.Platform == nil:
		return usageError{errors.New("--spire: how to call SPIRE is not known: name a copy of the platform file with --config")}
	}
	client, err := dialAsInjector(*mesh.Platform, f.workloadAPI)
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }()
	ctx, cancel := context.WithTimeout(ctx, spireAnswers)
	defer cancel()
	uids, err := nodeUIDs(ctx, of.cluster)
	if err != nil {
		uids = nil // then it is not known of any
	}
	mesh.SPIRE = registered(ctx, client, mesh.Platform.Cluster, uids)
	return nil
}

// dialAsInjector connects to SPIRE with the SVID that the injector has.
func dialAsInjector(platform intent.Platform, workloadAPI string) (*spireapi.Client, error) {
	return spireapi.Dial(spireapi.Config{
		ServerAddress: platform.ServerAddress,
		AgentSocket:   agentAddress(serveFlags{workloadAPI: workloadAPI}, platform),
		TrustDomain:   platform.Cluster.TrustDomain,
	})
}

// entriesOf are a cluster's own entries, with how many others are in their way or below them.
func entriesOf(ctx context.Context, spire registrar.EntryLister, cluster registrar.Cluster) (own []registrar.Entry, others int, err error) {
	all, err := spire.ListEntries(ctx, cluster)
	if err != nil {
		return nil, 0, fmt.Errorf("listing the entries of cluster %s: %w", cluster.Name, err)
	}
	own = slices.DeleteFunc(all, func(e registrar.Entry) bool { return !cluster.Owns(e) })
	return own, len(all) - len(own), nil
}

// registered says what SPIRE has of a cluster. Nodes are UIDs by name.
func registered(ctx context.Context, spire registrar.EntryLister, cluster registrar.Cluster, nodes map[string]string) *answers.Registered {
	own, _, err := entriesOf(ctx, spire, cluster)
	if err != nil {
		return &answers.Registered{Err: err}
	}
	byID := make(map[string]registrar.Entry, len(own))
	for _, e := range own {
		byID[e.ID] = e
	}
	return &answers.Registered{
		Has: func(id string) bool { e, ok := byID[id]; return ok && cluster.KindOf(e) == registrar.KindWorkload },
		Placed: func(id, node string) (placed, known bool) {
			uid, known := nodes[node]
			return cluster.OnNode(byID, byID[id], uid), known
		},
	}
}

// nodeUIDs are the UIDs of a cluster's nodes by name.
func nodeUIDs(ctx context.Context, cluster clusterFlags) (map[string]string, error) {
	config, err := cluster.config()
	if err != nil {
		return nil, err
	}
	client, err := coreclient.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	nodes, err := client.Nodes().List(ctx, metav1.ListOptions{ResourceVersion: "0"})
	if err != nil {
		return nil, fmt.Errorf("listing nodes: %w", err)
	}
	uids := make(map[string]string, len(nodes.Items))
	for _, n := range nodes.Items {
		uids[n.Name] = string(n.UID)
	}
	return uids, nil
}
