package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/spire-injector/spire-injector/test/command"
)

// settings are the flags; all measures share them.
type settings struct {
	progress io.Writer // where measures tell their steps; no flag

	output string
	pods   int
	atOnce int
	rounds int
	times  int
	idle   time.Duration
	load   time.Duration

	instructions int // 0: none are counted

	bursts   []int
	accounts int
	present  int

	injected  int
	workloads int

	peers int
	nodes []int

	interval time.Duration // 0: as in manifests/spire

	flood       time.Duration
	floodAtOnce int
	pace        float64 // 0: none
}

func newCommand() *cobra.Command {
	var s settings
	root := &cobra.Command{
		Use:   "bench",
		Short: "Measure what the injector costs",
		Long: `Measure what the injector costs, on the cluster of this machine, which is started if need be, or on the one that
KUBECONFIG names. Without a command, everything is measured one after the other.

Figures go to standard output, progress to standard error. A figure is worth as much as the machine is quiet. Times that
are taken on a node and here are compared: the clocks of a foreign cluster have to agree with this machine's.`,
		Example: `  go run ./test/bench
  go run ./test/bench creations --pods 200 --rounds 1
  go run ./test/bench registration --bursts 1000,8000
  go run ./test/bench scale --nodes 5,500
  go run ./test/bench -o json >figures.json`,
		SilenceErrors:     true,
		SilenceUsage:      true,
		Args:              noArguments,
		PersistentPreRunE: func(*cobra.Command, []string) error { return s.check() },
		RunE:              func(c *cobra.Command, _ []string) error { return measureAndPrint(c, s, measures()) },
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return command.UsageError{Err: err} })
	root.CompletionOptions.DisableDefaultCmd = true
	flags := root.PersistentFlags()
	flags.StringVarP(&s.output, "output", "o", "text", "text or json")
	flags.IntVar(&s.pods, "pods", 1000, "creations: pods per round and webhook; identities: pods that are registered")
	flags.IntVar(&s.atOnce, "at-once", 50, "creations, registration, identities, replica: requests at a time")
	flags.IntVar(&s.rounds, "rounds", 3, "creations, proxy, starts: rounds, each with every webhook, configuration or scope in turn; replica: rounds of changes")
	flags.DurationVar(&s.load, "load", 10*time.Second, "proxy: how long each configuration is asked in a round")
	flags.IntVar(&s.instructions, "instructions", 0,
		"proxy: also of how many requests to count the instructions, which needs Valgrind and takes minutes")
	flags.IntVar(&s.times, "times", 10, "first-ok, policy, questions, registration: how often; starts: how often in a round")
	flags.DurationVar(&s.interval, "interval", 0,
		"starts: how often SPIRE's server loads its entries, and agents ask for theirs; 0 for what manifests/spire have")
	flags.IntSliceVar(&s.bursts, "bursts", []int{1000}, "registration: pods of one service account, a burst for each number")
	flags.IntVar(&s.accounts, "accounts", 1000, "registration: pods of a burst in which each has a service account of its own")
	flags.IntVar(&s.present, "present", 10000, "registration: entries of others that SPIRE has when single pods come")
	flags.IntVar(&s.injected, "injected", 10000, "replica: injected pods")
	flags.IntVar(&s.workloads, "workloads", 1000, "replica: workloads of theirs, each with a service account of its own")
	flags.IntVar(&s.peers, "peers", 20, "quarantine: pods that the identity calls")
	flags.IntSliceVar(&s.nodes, "nodes", []int{5, 50, 500}, "scale: nodes of the clusters that are simulated, 40 pods on each")
	flags.DurationVar(&s.idle, "idle", 30*time.Second, "memory: how long the sidecars are left alone before")
	flags.DurationVar(&s.flood, "flood", time.Minute, "hostile: how long")
	flags.IntVar(&s.floodAtOnce, "flood-at-once", 16, "hostile: hostile pods at a time")
	flags.Float64Var(&s.pace, "pace", 0,
		"hostile: most hostile pods a second, and of honest ones and those without a webhook as many each, which leaves the "+
			"machine to others; 0 for as many as it takes")
	for _, m := range measures() {
		root.AddCommand(&cobra.Command{
			Use:     m.name,
			Short:   m.short,
			Example: "  go run ./test/bench " + m.name,
			Args:    noArguments,
			RunE:    func(c *cobra.Command, _ []string) error { return measureAndPrint(c, s, []measure{m}) },
		})
	}
	return root
}

func noArguments(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return command.UsageError{Err: fmt.Errorf("unexpected argument %q", args[0])}
	}
	return nil
}

func (s settings) check() error {
	var errs []error
	if s.output != "text" && s.output != "json" {
		errs = append(errs, fmt.Errorf("--output: expected text or json, got %q", s.output))
	}
	for _, f := range []struct {
		flag  string
		value int
	}{{"pods", s.pods}, {"at-once", s.atOnce}, {"rounds", s.rounds}, {"times", s.times}, {"accounts", s.accounts}, {"present", s.present}, {"injected", s.injected}, {"workloads", s.workloads}, {"peers", s.peers}, {"bursts", least(s.bursts)}, {"nodes", least(s.nodes)}, {"flood-at-once", s.floodAtOnce}} {
		if f.value < 1 {
			errs = append(errs, fmt.Errorf("--%s: expected 1 or more, got %d", f.flag, f.value))
		}
	}
	if s.load <= 0 {
		errs = append(errs, fmt.Errorf("--load: expected a time above 0s, got %s", s.load))
	}
	if s.flood <= 0 {
		errs = append(errs, fmt.Errorf("--flood: expected a time above 0s, got %s", s.flood))
	}
	if s.instructions < 0 {
		errs = append(errs, fmt.Errorf("--instructions: expected 0 or more, got %d", s.instructions))
	}
	if s.pace < 0 {
		errs = append(errs, fmt.Errorf("--pace: expected 0 or more, got %g", s.pace))
	}
	if s.interval < 0 {
		errs = append(errs, fmt.Errorf("--interval: expected no negative time, got %s", s.interval))
	}
	if s.idle < 0 {
		errs = append(errs, fmt.Errorf("--idle: expected no negative time, got %s", s.idle))
	}
	if err := errors.Join(errs...); err != nil {
		return command.UsageError{Err: err}
	}
	return nil
}

// least is 1 for none: then there is nothing to refuse.
func least(values []int) int { return slices.Min(append([]int{1}, values...)) }

// measureAndPrint prints what was measured also when a measure failed, because the others took minutes.
func measureAndPrint(c *cobra.Command, s settings, chosen []measure) error {
	progress := c.ErrOrStderr()
	r, measuring := takeAll(c.Context(), s, chosen, progress)
	return errors.Join(measuring, r.print(c.OutOrStdout(), s.output))
}

func (r report) print(w io.Writer, format string) error {
	if format == "json" {
		return r.printJSON(w)
	}
	return r.printText(w)
}
