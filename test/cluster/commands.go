package main

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/spire-injector/spire-injector/test/cluster/local"
	"github.com/spire-injector/spire-injector/test/cluster/parts"
	"github.com/spire-injector/spire-injector/test/command"
	"github.com/spire-injector/spire-injector/test/images"
)

// settings are the flags that commands share.
type settings struct {
	name   string
	output string
}

func (s *settings) register(root *cobra.Command) {
	root.PersistentFlags().StringVar(&s.name, "name", local.DefaultName, "which cluster; those of different names live side by side")
}

func (s *settings) outputFlag(c *cobra.Command) *cobra.Command {
	c.Flags().StringVarP(&s.output, "output", "o", "text", "text or json")
	c.PreRunE = func(*cobra.Command, []string) error {
		if s.output != "text" && s.output != "json" {
			return command.UsageError{Err: fmt.Errorf("--output %q: expected text or json", s.output)}
		}
		return nil
	}
	return c
}

func (s *settings) options(c *cobra.Command) local.Options {
	return local.Options{Name: s.name, Progress: c.ErrOrStderr()}
}

func (s *settings) print(w io.Writer, value any, text string) error {
	if s.output != "json" {
		_, err := fmt.Fprintln(w, text)
		return err
	}
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(value)
}

func (s *settings) up() *cobra.Command {
	var shape local.Shape
	bare := false
	c := &cobra.Command{
		Use:   "up",
		Short: "Start the cluster, or load changed images into it, and print the path of its kubeconfig",
		Long: `Start the cluster, building what is missing, load all images of demos and tests, and print the path of its kubeconfig.
If it is up already, only images that changed are loaded.`,
		Example: "  export KUBECONFIG=$(go run ./test/cluster up)\n  go run ./test/cluster up -o json\n  go run ./test/cluster up --name two --nodes 2 --dual-stack",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, o := cmd.Context(), s.options(cmd)
			o.Shape = shape
			cache, err := parts.UserCache()
			if err != nil {
				return err
			}
			o.Cache = cache
			if o.Programs, err = parts.Ensure(ctx, cache, parts.ForCluster, o.Progress); err != nil {
				return err
			}
			if !bare {
				if o.Images, err = images.Foreign(ctx, cache, o.Programs); err != nil {
					return err
				}
			}
			info, err := local.Up(ctx, o)
			if err != nil {
				return err
			}
			if err := s.print(cmd.OutOrStdout(), info, info.Kubeconfig); err != nil || bare {
				return err
			}
			// Last, so that a working tree that does not compile still gets a cluster.
			own, err := images.Own(ctx, cache, o.Progress)
			if err != nil {
				return fmt.Errorf("the cluster is up, but without the project's own images: %w", err)
			}
			return local.Load(ctx, o, own)
		},
	}
	c.Flags().BoolVar(&bare, "bare", false, "load no images but the cluster's own")
	c.Flags().BoolVar(&shape.DualStack, "dual-stack", false, "give pods an IPv6 address beside the IPv4 one, and Services those that ask for it")
	c.Flags().IntVar(&shape.Nodes, "nodes", 0, "how many nodes, 1 to 4; as many as it has, or one, if 0")
	return s.outputFlag(c)
}

func (s *settings) down() *cobra.Command {
	return &cobra.Command{
		Use:     "down",
		Short:   "End the cluster and remove all of it but the cache",
		Long:    "End the cluster and remove all of it but the cache, also after a crash. Harmless if nothing is up.",
		Example: "  go run ./test/cluster down",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return local.Down(cmd.Context(), s.options(cmd))
		},
	}
}

func (s *settings) status() *cobra.Command {
	return s.outputFlag(&cobra.Command{
		Use:     "status",
		Short:   "Show whether the cluster is up and how its daemons fare",
		Long:    "Show whether the cluster is up and how its daemons fare. Exit status 1 if it is not up.",
		Example: "  go run ./test/cluster status -o json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			state, err := local.Inspect(cmd.Context(), s.options(cmd))
			if err != nil {
				return err
			}
			if s.output == "json" {
				err = s.print(cmd.OutOrStdout(), state, "")
			} else {
				err = printState(cmd.OutOrStdout(), state)
			}
			if err == nil && !(state.Running && state.Ready) {
				err = local.NotUpError{Name: state.Name}
			}
			return err
		},
	})
}

func printState(w io.Writer, state local.State) error {
	if !state.Running {
		return nil
	}
	fmt.Fprintf(w, "cluster     %s\nnodes       %d\nIPv6 too    %t\nready       %t\nkubeconfig  %s\nkubectl     %s\nlogs        %s\n\n",
		state.Name, state.Nodes, state.DualStack, state.Ready, state.Kubeconfig, state.Kubectl, state.Logs)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "DAEMON\tRUNS\tRESTARTS\tLAST EXIT")
	for _, d := range state.Daemons {
		fmt.Fprintf(t, "%s\t%t\t%d\t%s\n", d.Name, d.PID != 0, d.Restarts, d.LastExit)
	}
	return t.Flush()
}

func (s *settings) load() *cobra.Command {
	return &cobra.Command{
		Use:     "load ARCHIVE...",
		Short:   "Load image archives, as `docker save` makes them, into the cluster",
		Example: "  go run ./test/cluster load my-image.tar",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var archives []images.Archive
			for _, path := range args {
				a, err := images.Open(path)
				if err != nil {
					return err
				}
				archives = append(archives, a)
			}
			return local.Load(cmd.Context(), s.options(cmd), archives)
		},
	}
}

func (s *settings) build() *cobra.Command {
	return s.outputFlag(&cobra.Command{
		Use:     "build",
		Short:   "Build what is missing and make all images, and print the paths of their archives",
		Example: "  go run ./test/cluster build",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, progress := cmd.Context(), cmd.ErrOrStderr()
			cache, err := parts.UserCache()
			if err != nil {
				return err
			}
			programs, err := parts.Ensure(ctx, cache, parts.ForCluster, progress)
			if err != nil {
				return err
			}
			if _, err := images.System(ctx, cache, programs, progress); err != nil {
				return err
			}
			archives, err := images.Build(ctx, cache, programs, progress)
			if err != nil {
				return err
			}
			if s.output == "json" {
				return s.print(cmd.OutOrStdout(), archives, "")
			}
			t := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			for _, a := range archives {
				fmt.Fprintf(t, "%s\t%s\n", a.Name, a.Path)
			}
			return t.Flush()
		},
	})
}

func (s *settings) kubeconfig() *cobra.Command {
	return &cobra.Command{
		Use:     "kubeconfig",
		Short:   "Print the path of the running cluster's kubeconfig",
		Example: "  export KUBECONFIG=$(go run ./test/cluster kubeconfig)",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			state, err := local.Inspect(cmd.Context(), s.options(cmd))
			if err != nil {
				return err
			}
			if !state.Running || !state.Ready {
				return local.NotUpError{Name: s.name}
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), state.Kubeconfig)
			return err
		},
	}
}
