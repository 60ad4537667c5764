// Spire-injector gives labelled pods a SPIFFE identity and mutual TLS.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
)

// version is set when a release is linked; otherwise it is what the Go toolchain knows of the source.
var version = ""

// commit is set with it.
var commit = ""

// Exit codes of every command.
const (
	exitRefused = 1 // the command ran and its answer is no
	exitUsage   = 2 // the command was called wrongly
)

// usageError marks an error of the command line itself.
type usageError struct{ error }

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

// run is the whole command, without the process around it.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root := newCommandAs(os.Args[0])
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.Execute()
	if err == nil {
		return 0
	}
	fmt.Fprintln(stderr, "spire-injector:", err)
	var usage usageError
	if errors.As(err, &usage) {
		return exitUsage
	}
	return exitRefused
}

// plugin is the name under which kubectl runs the command, for kubectl spiffe.
const plugin = "kubectl-spiffe"

// newCommandAs is the command under the name by which it was called.
func newCommandAs(program string) *cobra.Command {
	root := newCommand()
	if strings.TrimSuffix(filepath.Base(program), ".exe") != plugin {
		return root
	}
	const spoken = "kubectl spiffe"
	root.Annotations = map[string]string{cobra.CommandDisplayNameAnnotation: spoken}
	for _, command := range append(root.Commands(), root) {
		command.Example = strings.ReplaceAll(command.Example, "  "+root.Name()+" ", "  "+spoken+" ")
	}
	return root
}

func newCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "spire-injector",
		Short: "Give labelled pods a SPIFFE identity and mutual TLS",
		Long: "Give labelled pods a SPIFFE identity and mutual TLS: register them in SPIRE, inject an Envoy sidecar and " +
			"generate its configuration.\n\n" +
			"Exit codes: 0 done, 1 refused or failed, 2 called wrongly.",
		Example: "  spire-injector inject -f deployment.yaml --config config.yaml\n  spire-injector serve --config " +
			"/etc/spire-injector/config.yaml\n  spire-injector check",
		Version:                    buildVersion(),
		SilenceErrors:              true,
		SilenceUsage:               true,
		Args:                       cobra.ArbitraryArgs,
		SuggestionsMinimumDistance: 2,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usageError{errors.New("expected a command: " + cmd.CommandPath() + " --help lists them")}
			}
			hint := ""
			if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
				hint = fmt.Sprintf(", did you mean %s?", strings.Join(near, " or "))
			}
			return usageError{fmt.Errorf("unknown command %q%s; %s --help lists them", args[0], hint, cmd.CommandPath())}
		},
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageError{fmt.Errorf("%w; see %s --help", err, cmd.CommandPath())}
	})
	root.AddCommand(newServeCommand(), newInjectCommand(), newCheckCommand(), newListCommand(), newGraphCommand(),
		newExplainCommand(), newSuggestCommand(), newPurgeCommand(), newServingCertCommand(), newTokensCommand(), newFilesCommand(),
		newCaptureCommand(), newVersionCommand())
	return root
}

func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usageError{fmt.Errorf("unexpected argument %q; see %s --help", args[0], cmd.CommandPath())}
	}
	return nil
}

func buildVersion() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "dev"
}
