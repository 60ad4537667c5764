package main

import (
	"context"
	"fmt"
	"os"
	"strconv"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	delegatedidentityv1 "github.com/spiffe/spire-api-sdk/proto/spire/api/agent/delegatedidentity/v1"
	entryv1 "github.com/spiffe/spire-api-sdk/proto/spire/api/server/entry/v1"
	"github.com/spiffe/spire-api-sdk/proto/spire/api/types"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/spire-injector/spire-injector/registrar"
)

// delegateID is what agents know this program by. They hand it the SVIDs of workloads by their selectors, in the way in
// which workloads get theirs, so that nobody has to run pods.
const delegateID = "spiffe://" + trustDomain + "/bench/delegate"

// becomeDelegate returns when the agents know this program.
func (s *bareSPIRE) becomeDelegate(ctx context.Context) error {
	in := func(path string) *types.SPIFFEID { return &types.SPIFFEID{TrustDomain: trustDomain, Path: path} }
	entries := []*types.Entry{
		{
			SpiffeId:  in("/bench/node"),
			ParentId:  in("/spire/server"),
			Selectors: []*types.Selector{{Type: "k8s_psat", Value: "cluster:" + bareClusterName}},
		},
		{
			SpiffeId:  in(spiffeid.RequireFromString(delegateID).Path()),
			ParentId:  in("/bench/node"),
			Selectors: []*types.Selector{{Type: "unix", Value: "uid:" + strconv.Itoa(os.Geteuid())}},
		},
	}
	request := &entryv1.BatchCreateEntryRequest{Entries: entries}
	created, err := entryv1.NewEntryClient(s.API).BatchCreateEntry(ctx, request)
	if err != nil {
		return err
	}
	for _, r := range created.Results {
		if r.Status.Code != 0 {
			return fmt.Errorf("registering this program: %s", r.Status.Message)
		}
	}
	for i, a := range s.agents {
		var last error
		err := wait.PollUntilContextTimeout(ctx, poll, startTimeout, true, func(ctx context.Context) (bool, error) {
			ctx, cancel := context.WithCancel(ctx)
			defer cancel()
			nobodys := []*types.Selector{{Type: "k8s", Value: "ns:none"}}
			stream, err := delegatedidentityv1.NewDelegatedIdentityClient(a.admin).SubscribeToX509SVIDs(ctx,
				&delegatedidentityv1.SubscribeToX509SVIDsRequest{Selectors: nobodys})
			if err == nil {
				_, err = stream.Recv()
			}
			last = err
			return err == nil, nil
		})
		if err != nil {
			return fmt.Errorf("waiting for the agent of %s to know this program: %w: %w", nodeName(i), err, last)
		}
	}
	return nil
}

// awaitSVID returns when the agent of a node hands the sidecar of a pod its SVID.
func (s *bareSPIRE) awaitSVID(ctx context.Context, node int, pod *corev1.Pod) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	var selectors []*types.Selector
	for _, value := range []string{
		"ns:" + pod.Namespace,
		"sa:" + pod.Spec.ServiceAccountName,
		"pod-label:" + registrar.IdentityLabel + ":" + pod.Labels[registrar.IdentityLabel],
		"container-name:" + registrar.ContainerName,
	} {
		selectors = append(selectors, &types.Selector{Type: "k8s", Value: value})
	}
	stream, err := delegatedidentityv1.NewDelegatedIdentityClient(s.agents[node].admin).SubscribeToX509SVIDs(ctx,
		&delegatedidentityv1.SubscribeToX509SVIDsRequest{Selectors: selectors})
	if err != nil {
		return err
	}
	for {
		handed, err := stream.Recv()
		switch {
		case err != nil:
			return fmt.Errorf("waiting for the agent of %s to hand out the SVID of pod %s: %w", nodeName(node), pod.Name, err)
		case len(handed.X509Svids) > 0:
			return nil
		}
	}
}
