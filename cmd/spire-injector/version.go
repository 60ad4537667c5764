package main

import (
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// build is what a program knows of how it was made.
type build struct {
	Version  string `json:"version"`
	Commit   string `json:"commit,omitempty"` // empty where it was built without its history
	Modified bool   `json:"modified,omitempty"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func thisBuild() build {
	b := build{
		Version:  buildVersion(),
		Commit:   commit,
		Go:       runtime.Version(),
		Platform: runtime.GOOS + "/" + runtime.GOARCH,
	}
	info, ok := debug.ReadBuildInfo()
	if !ok || commit != "" {
		return b
	}
	return b.of(info.Settings)
}

// of adds what the Go toolchain knows of the source.
func (b build) of(settings []debug.BuildSetting) build {
	for _, setting := range settings {
		switch setting.Key {
		case "vcs.revision":
			b.Commit = setting.Value
		case "vcs.modified":
			b.Modified = setting.Value == "true"
		}
	}
	return b
}

// text is for people: the version, and a line each for what else is known.
func (b build) text() string {
	text := "spire-injector " + b.Version + "\n"
	if b.Commit != "" {
		text += "commit   " + b.Commit
		if b.Modified {
			text += ", with changes"
		}
		text += "\n"
	}
	return text + "go       " + b.Go + "\nplatform " + b.Platform + "\n"
}

func newVersionCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the version and what it was built from",
		Long: "Print the version of this command, the commit that it was built from if that is known, and Go's version and " +
			"the platform.\n\n" +
			"Exit codes: 0 printed, 2 called wrongly.",
		Example: "  spire-injector version\n  spire-injector version -o json | jq -r .version",
		Args:    noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			if output == outputText {
				fmt.Fprint(cmd.OutOrStdout(), thisBuild().text())
				return nil
			}
			encoder := json.NewEncoder(cmd.OutOrStdout())
			encoder.SetIndent("", "  ")
			return encoder.Encode(thisBuild())
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", outputText, "text or json")
	return cmd
}
