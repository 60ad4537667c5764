package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "podtool COMMAND",
		Short: "What the tests of spire-injector run inside pods",
		Long: `podtool is what tests and benchmarks run inside pods: an API over HTTP, gRPC and TCP, constant
traffic for it, a webhook that does nothing, and what disturbs other processes: signals and locks.

Exit codes: 0 success, 1 the answer was not the one wanted, 2 wrong usage.`,
		Example: `  podtool api --listen 127.0.0.1:8080
  podtool load http://127.0.0.1:8080/api --duration 10s`,
		SuggestionsMinimumDistance: 2, // letters

		SilenceErrors: true,
		SilenceUsage:  true,
		Args: func(command *cobra.Command, arguments []string) error {
			if len(arguments) == 0 {
				return nil
			}
			message := fmt.Sprintf("unknown command %q", arguments[0])
			if near := command.SuggestionsFor(arguments[0]); len(near) > 0 {
				message += ", did you mean " + strings.Join(near, " or ") + "?"
			}
			return usagef("%s", message)
		},
		RunE: func(command *cobra.Command, _ []string) error { return command.Help() },
	}
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usagef("%w", err) })
	root.AddCommand(
		newAPICommand(),
		newHealthCommand(),
		newLoadCommand(),
		newUnreadCommand(),
		newNoopWebhookCommand(),
		newSignalCommand(),
		newLockCommand(),
	)
	return root
}

// noArguments and oneArgument are cobra's checks with our exit code and an error that names what
// is expected.
func noArguments(_ *cobra.Command, arguments []string) error {
	if len(arguments) > 0 {
		return usagef("unexpected argument %q: everything is a flag here", arguments[0])
	}
	return nil
}

func oneArgument(name string) cobra.PositionalArgs {
	return func(_ *cobra.Command, arguments []string) error {
		if len(arguments) != 1 {
			return usagef("expected exactly one argument, %s, got %d", name, len(arguments))
		}
		return nil
	}
}

// outputFormat is the value of -o.
type outputFormat string

const (
	outputText outputFormat = "text"
	outputJSON outputFormat = "json"
)

func addOutputFlag(command *cobra.Command, format *outputFormat) {
	*format = outputText
	command.Flags().VarP(format, "output", "o", `"text" or "json"`)
}

// Set implements pflag.Value.
func (f *outputFormat) Set(value string) error {
	switch outputFormat(value) {
	case outputText, outputJSON:
		*f = outputFormat(value)
		return nil
	}
	return fmt.Errorf("expected text or json, got %q", value)
}

// String implements pflag.Value.
func (f *outputFormat) String() string { return string(*f) }

// Type implements pflag.Value.
func (f *outputFormat) Type() string { return "format" }

// printf writes to a command's output. A write error has nowhere to go but the exit code of a
// later write, so it is dropped here, in one place.
func printf(w io.Writer, format string, arguments ...any) {
	_, _ = fmt.Fprintf(w, format, arguments...)
}
