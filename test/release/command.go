package main

import (
	"fmt"
	"path/filepath"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/spf13/cobra"

	"github.com/spire-injector/spire-injector/test/cluster/parts"
	"github.com/spire-injector/spire-injector/test/command"
)

func newCommand() *cobra.Command {
	var folder, version, image string
	c := &cobra.Command{
		Use:   "release",
		Short: "Make what is published of one version",
		Long: `Make images, programs, lists of what they are made of, manifests, charts and checksums in a folder of its own, OUT/VERSION.
The version is the nearest tag of git's and what came after it, or what --version says.`,
		Example: `  go run ./test/release
  go run ./test/release --version v1.2.3 --image registry.example.org/team/spire-injector`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return command.UsageError{Err: fmt.Errorf("unexpected argument %q: everything is a flag here", args[0])}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			root, err := parts.Root()
			if err != nil {
				return err
			}
			repository, err := name.NewRepository(image)
			if err != nil {
				return command.UsageError{Err: fmt.Errorf("--image: expected a name such as registry.example.org/team/spire-injector, without a tag: %w", err)}
			}
			from, err := describe(cmd.Context(), root, version)
			if err != nil {
				return err
			}
			made, err := release{root: root, main: "./cmd/spire-injector", image: repository, source: from}.
				make(cmd.Context(), filepath.Join(root, folder), cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout(), made)
			return nil
		},
	}
	c.Flags().StringVar(&folder, "out", "dist", "folder for releases, below the project's")
	c.Flags().StringVar(&version, "version", "", "such as v1.2.3; without it git says")
	c.Flags().StringVar(&image, "image", imageInManifests(), "name that the image will have, without a tag, such as registry.example.org/team/spire-injector")
	c.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return command.UsageError{Err: err} })
	c.CompletionOptions.DisableDefaultCmd = true
	return c
}
