package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/spire-injector/spire-injector/test/command"
	"github.com/spire-injector/spire-injector/test/demo/story"
)

// readingTime is the rest after each step when a person reads along.
const readingTime = 2 * time.Second

func newCommand() *cobra.Command {
	var (
		output string
		remove bool
		pause  time.Duration
	)
	terminal := story.IsTerminal(os.Stdout)
	c := &cobra.Command{
		Use:   "demo",
		Short: "Mutual TLS by one label: a story on a real cluster",
		Long: `Bring up a cluster, SPIRE, the injector and three workloads, and tell what happens, with every command to type along.
Whatever is told is checked; the exit code is 1 if something is not as told.

Without KUBECONFIG it uses the cluster of "go run ./test/cluster" on this machine and starts it if need be: the first time
builds the programs of a cluster, later runs take a minute or two. With KUBECONFIG it uses that cluster, and
IMAGE_LOAD_COMMAND or IMAGE_REPOSITORY says how images get there. It may be run again and again.`,
		Example: `  go run ./test/demo
  go run ./test/demo -o json
  go run ./test/demo --down`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return command.UsageError{Err: fmt.Errorf("unexpected argument %q: everything is a flag here", args[0])}
			}
			return nil
		},
		PreRunE: func(cmd *cobra.Command, _ []string) error {
			if output != "text" && output != "json" {
				return command.UsageError{Err: fmt.Errorf("--output %q: expected text or json", output)}
			}
			if pause < 0 {
				return command.UsageError{Err: fmt.Errorf("--pause %s: expected 0s or more", pause)}
			}
			if !cmd.Flags().Changed("pause") && terminal && output == "text" {
				pause = readingTime
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			out, progress := cmd.OutOrStdout(), cmd.ErrOrStderr()
			if remove && output == "json" {
				return command.UsageError{Err: errors.New("--down has no summary: leave out -o json")}
			}
			defer func() {
				if err != nil {
					fmt.Fprintln(progress) // apart from the story
				}
			}()
			if remove {
				return down(cmd.Context(), out, progress)
			}
			told, summary := out, io.Discard
			if output == "json" {
				told, summary = io.Discard, out
			}
			return play(cmd.Context(), story.New(told, story.Options{
				Colour: story.Colour(terminal, os.Getenv), Steps: len(steps()), Pause: pause,
			}), summary, progress)
		},
	}
	flags := c.Flags()
	flags.StringVarP(&output, "output", "o", "text", "text: the story; json: a summary of its steps at the end")
	flags.BoolVar(&remove, "down", false, "remove the demo and the platform from the cluster instead")
	flags.DurationVar(&pause, "pause", 0, "rest after each step (2s on a terminal, else none)")
	c.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return command.UsageError{Err: err} })
	c.CompletionOptions.DisableDefaultCmd = true
	return c
}
