package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	coreclient "k8s.io/client-go/kubernetes/typed/core/v1"

	"github.com/spire-injector/spire-injector/cmd/spire-injector/platformfile"
	"github.com/spire-injector/spire-injector/registrar"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

// purgePatience is how long SPIRE may take to answer.
const purgePatience = 2 * time.Minute

func newPurgeCommand() *cobra.Command {
	var cluster clusterFlags
	var config, workloadAPI string
	var dryRun, force, keepFederation bool
	cmd := &cobra.Command{
		Use:   "purge --config FILE",
		Short: "Remove what is a cluster's from SPIRE, when the injector is gone for good",
		Long: "Remove what is a cluster's from SPIRE, when the injector is gone for good and SPIRE stays: the registration entries of " +
			"workloads first, then the rows that\n" +
			"place them on nodes, then the federation relationships that are just as the platform file has them. Entries of others are " +
			"left alone, and so are the two that\n" +
			"an install makes for the injector itself, by which it calls SPIRE, other relationships, and the bundles that SPIRE got by " +
			"any. SPIRE does not say who made a\n" +
			"relationship: --keep-federation leaves all, for others that rely on them, such as the injector of another cluster.\n\n" +
			"It refuses to while injected pods run: they would lose their identities, and a replica that leads would register them again. " +
			"Take the label off, let the\n" +
			"pods restart, and remove the webhooks before. It calls SPIRE as the injector does, and runs where that can: in its pod.\n\n" +
			"Exit codes: 0 removed, or nothing to remove, 1 refused or failed, 2 called wrongly.",
		Example: "  kubectl -n spire-injector exec deployment/spire-injector -- /spire-injector purge \\\n" +
			"    --config /etc/spire-injector/config.yaml --dry-run",
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			platform, _, err := platformfile.Read(config)
			if err != nil {
				return err
			}
			if !force {
				if err := noPodsLeft(ctx, cluster); err != nil {
					return err
				}
			}
			spire, err := dialAsInjector(platform, workloadAPI)
			if err != nil {
				return err
			}
			defer func() { _ = spire.Close() }()
			ctx, cancel := context.WithTimeout(ctx, purgePatience)
			defer cancel()
			err = purge(ctx, cmd.OutOrStdout(), spire, platform.Cluster, dryRun)
			if keepFederation || len(platform.Federation) == 0 {
				return err
			}
			return errors.Join(err, purgeFederation(ctx, cmd.OutOrStdout(), spire, platform.Federation, dryRun))
		},
	}
	cluster.add(cmd)
	cmd.Flags().StringVar(&config, "config", "config.yaml", "platform file")
	cmd.Flags().StringVar(&workloadAPI, "workload-api", "", "Workload API of the own SVID (default by the platform file)")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "say what would be removed")
	cmd.Flags().BoolVar(&keepFederation, "keep-federation", false, "leave federation relationships alone")
	cmd.Flags().BoolVar(&force, "force", false, "also while injected pods run: they lose their identities when their SVIDs expire")
	return cmd
}

// noPodsLeft says why it is too early to purge.
func noPodsLeft(ctx context.Context, cluster clusterFlags) error {
	config, err := cluster.config()
	if err != nil {
		return err
	}
	client, err := coreclient.NewForConfig(config)
	if err != nil {
		return err
	}
	pods, err := client.Pods(metav1.NamespaceAll).List(ctx, metav1.ListOptions{LabelSelector: intent.LabelIdentity, Limit: 3})
	if err != nil {
		return fmt.Errorf("whether injected pods run is not known: %w; --force purges all the same", err)
	}
	if len(pods.Items) == 0 {
		return nil
	}
	var names []string
	for _, pod := range pods.Items {
		names = append(names, pod.Namespace+"/"+pod.Name)
	}
	return fmt.Errorf("injected pods run, such as %s: take the label %s off their templates and let them restart, or lose their "+
		"identities with --force", strings.Join(names, ", "), intent.LabelInject)
}

// purge removes what is the cluster's own: workloads before the rows that they hang below.
func purge(ctx context.Context, out io.Writer, spire purged, cluster registrar.Cluster, dryRun bool) error {
	own, others, err := entriesOf(ctx, spire, cluster)
	if err != nil {
		return err
	}
	slices.SortFunc(own, func(a, b registrar.Entry) int {
		return cmp.Or(cmp.Compare(cluster.KindOf(a), cluster.KindOf(b)), strings.Compare(a.ID, b.ID))
	})
	ids := make([]string, len(own))
	for i, e := range own {
		ids[i] = e.ID
	}
	removed := 0
	if !dryRun && len(ids) > 0 {
		results, err := spire.DeleteEntries(ctx, ids)
		if err != nil {
			return fmt.Errorf("removing entries: %w; run it again", err)
		}
		for i, failed := range results {
			if failed != nil {
				fmt.Fprintf(out, "not removed: %s (%s): %v\n", ids[i], own[i].SPIFFEID, failed)
				continue
			}
			removed++
		}
	} else {
		for _, e := range own {
			fmt.Fprintf(out, "%s (%s)\n", e.ID, e.SPIFFEID)
		}
	}
	if others > 0 {
		fmt.Fprintf(out, "left alone, though below paths of this cluster, because somebody else made them: %d\n", others)
	}
	if dryRun {
		_, err = fmt.Fprintf(out, "would remove %d entries of cluster %s\n", len(own), cluster.Name)
		return err
	}
	if _, err := fmt.Fprintf(out, "removed %d of %d entries of cluster %s\n", removed, len(own), cluster.Name); err != nil {
		return err
	}
	if removed < len(own) {
		return errors.New("some entries are left")
	}
	return nil
}

// purgeFederation removes the relationships that are as the platform file has them.
func purgeFederation(ctx context.Context, out io.Writer, spire purged, wanted []registrar.Federated, dryRun bool) error {
	current, err := spire.ListFederationRelationships(ctx)
	if err != nil {
		return fmt.Errorf("listing federation relationships: %w", err)
	}
	var planned []registrar.Relationship
	for _, w := range wanted {
		planned = append(planned, w.Relationship)
	}
	own, others := registrar.PlannedFederation(planned, current)
	if others > 0 {
		fmt.Fprintf(out, "left alone, because they are not as the platform file has them: %d federation relationships\n", others)
	}
	tds := make([]spiffeid.TrustDomain, len(own))
	for i, r := range own {
		tds[i] = r.TrustDomain
		if dryRun {
			fmt.Fprintf(out, "federation with %s (%s)\n", r.TrustDomain, r.BundleEndpointURL)
		}
	}
	if dryRun {
		_, err := fmt.Fprintf(out, "would remove %d federation relationships\n", len(own))
		return err
	}
	var results []error
	if len(tds) > 0 {
		if results, err = spire.DeleteFederationRelationships(ctx, tds); err != nil {
			return fmt.Errorf("removing federation relationships: %w; run it again", err)
		}
	}
	removed := len(results)
	for i, failed := range results {
		if failed != nil {
			fmt.Fprintf(out, "not removed: federation with %s: %v\n", tds[i], failed)
			removed--
		}
	}
	if _, err := fmt.Fprintf(out, "removed %d of %d federation relationships\n", removed, len(own)); err != nil {
		return err
	}
	if removed < len(own) {
		return errors.New("some federation relationships are left")
	}
	return nil
}

// purged is what of SPIRE is called.
type purged interface {
	registrar.EntryLister
	registrar.EntryDeleter
	registrar.RelationshipLister
	registrar.RelationshipDeleter
}
