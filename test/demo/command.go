package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/spire-injector/spire-injector/test/command"
	"github.com/spire-injector/spire-injector/test/demo/play"
	"github.com/spire-injector/spire-injector/test/demo/story"
)

const (
	// first is the demo that is played if none is named.
	first = "api"
	// readingTime is the rest after each step when a person reads along.
	readingTime = 2 * time.Second
)

// choice is what a command line asks for.
type choice struct {
	demos  []play.Demo
	name   string // of a demo, or empty
	all    bool
	remove bool
	output string
	pause  time.Duration
}

// check refuses a choice that means nothing.
func (c choice) check() error {
	switch {
	case c.name != "" && c.demo() == nil:
		return fmt.Errorf("unknown demo %q: expected one of\n\n%s", c.name, list(c.demos))
	case c.all && c.name != "":
		return fmt.Errorf("--all with %q: leave one of them out", c.name)
	case c.all && c.remove:
		return errors.New("--all takes each demo down itself: leave out --down")
	case c.output != "text" && c.output != "json":
		return fmt.Errorf("--output %q: expected text or json", c.output)
	case c.remove && c.output == "json":
		return errors.New("--down has no summary: leave out -o json")
	case c.all && c.output == "json":
		return errors.New("--all ends with a table: leave out -o json")
	case c.pause < 0:
		return fmt.Errorf("--pause %s: expected 0s or more", c.pause)
	default:
		return nil
	}
}

// demo is the one that is named, or nil if there is none of that name.
func (c choice) demo() *play.Demo {
	i := slices.IndexFunc(c.demos, func(d play.Demo) bool { return d.Name == c.name })
	if i < 0 {
		return nil
	}
	return &c.demos[i]
}

// list has a line for each demo.
func list(demos []play.Demo) string {
	var fields []story.Field
	for _, d := range demos {
		fields = append(fields, story.Field{Name: "  " + d.Name, Value: d.About})
	}
	return strings.TrimRight(story.Align(fields), "\n")
}

func newCommand(demos []play.Demo) *cobra.Command {
	asked := choice{demos: demos}
	terminal := story.IsTerminal(os.Stdout)
	c := &cobra.Command{
		Use:   "demo [NAME]",
		Short: "Mutual TLS by one label: stories on a real cluster",
		Long: `Bring up a cluster, SPIRE, the injector and the workloads of a demo, and tell what happens, with every command to type along.
Whatever is told is checked; the exit code is 1 if something is not as told. The demos are:

` + list(demos) + `

Without KUBECONFIG it uses the cluster of "go run ./test/cluster" on this machine and starts it if need be: the first time
builds the programs of a cluster, later runs take a minute or two. With KUBECONFIG it uses that cluster, and
IMAGE_LOAD_COMMAND or IMAGE_REPOSITORY says how images get there. It may be run again and again; another demo that is still
on the cluster is taken down first.`,
		Example: `  go run ./test/demo
  go run ./test/demo api -o json
  go run ./test/demo --down`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return command.UsageError{Err: fmt.Errorf("unexpected argument %q: expected the name of one demo", args[1])}
			}
			asked.name = strings.Join(args, "")
			return nil
		},
		PreRunE: func(cmd *cobra.Command, _ []string) error {
			if err := asked.check(); err != nil {
				return command.UsageError{Err: err}
			}
			if !cmd.Flags().Changed("pause") && terminal && asked.output == "text" {
				asked.pause = readingTime
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			progress := cmd.ErrOrStderr()
			defer func() {
				if err != nil {
					fmt.Fprintln(progress) // apart from the story
				}
			}()
			options := story.Options{Colour: story.Colour(terminal, os.Getenv), Pause: asked.pause}
			return asked.do(cmd.Context(), options, cmd.OutOrStdout(), progress)
		},
	}
	flags := c.Flags()
	flags.StringVarP(&asked.output, "output", "o", "text", "text: the story; json: a summary of its steps at the end")
	flags.BoolVar(&asked.remove, "down", false, "remove the demo and its platform from the cluster instead; without a name, the demo that is there")
	flags.BoolVar(&asked.all, "all", false, "play every demo, taking each down before the next, and tell how long each took")
	flags.DurationVar(&asked.pause, "pause", 0, "rest after each step (2s on a terminal, else none)")
	c.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return command.UsageError{Err: err} })
	c.CompletionOptions.DisableDefaultCmd = true
	return c
}

// do does what was asked for.
func (c choice) do(ctx context.Context, options story.Options, out, progress io.Writer) error {
	if c.all {
		return playAll(ctx, c.demos, options, out, progress)
	}
	if c.name == "" {
		c.name = first
		if c.remove {
			playing, ok, err := play.Playing(ctx, c.demos)
			if err != nil {
				return err
			}
			if ok {
				c.name = playing.Name
			}
		}
	}
	d := *c.demo()
	if c.remove {
		return play.Down(ctx, d, out, progress)
	}
	told := out
	if c.output == "json" {
		told = io.Discard
	}
	options.Steps = len(d.Steps)
	sum, err := play.Play(ctx, d, c.demos, story.New(told, options), progress)
	if c.output == "json" {
		err = errors.Join(err, sum.Write(out))
	}
	return err
}
