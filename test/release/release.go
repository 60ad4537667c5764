package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
)

// release is what is made, and of what.
type release struct {
	root   string          // of the project
	main   string          // the package whose program is published, such as ./cmd/spire-injector
	image  name.Repository // what the image will be called, without a tag
	source source
}

// program is the name of the command, and begins the names of files.
const program = "spire-injector"

// make writes the release to a folder of its own in out, named by the version, in place of an earlier one, and returns
// that folder. A release that failed or was interrupted leaves nothing under that name.
func (r release) make(ctx context.Context, out string, progress io.Writer) (folder string, err error) {
	if err := os.MkdirAll(out, 0o755); err != nil {
		return "", err
	}
	stage, err := os.MkdirTemp(out, "unfinished-")
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(stage)) }()
	if err := os.Chmod(stage, 0o755); err != nil {
		return "", err
	}
	for i, step := range r.steps() {
		start := time.Now()
		if err := step.do(ctx, stage); err != nil {
			return "", fmt.Errorf("%s: %w", step.what, err)
		}
		fmt.Fprintf(progress, "[%d/%d] %s … %.1f s\n", i+1, len(r.steps()), step.what, time.Since(start).Seconds())
	}
	folder = filepath.Join(out, r.source.version)
	if err := os.RemoveAll(folder); err != nil {
		return "", err
	}
	return folder, os.Rename(stage, folder)
}

// step makes files in the stage.
type step struct {
	what string
	do   func(ctx context.Context, stage string) error
}

func (r release) steps() []step {
	var steps []step
	for _, p := range platforms() {
		steps = append(steps, step{"building " + program + " for " + p.String(), func(ctx context.Context, stage string) error {
			return r.build(ctx, p, filepath.Join(stage, p.file()))
		}})
	}
	return append(steps,
		step{"listing the modules of each", r.listModules},
		step{"making the image for " + imagePlatforms(), r.writeImages},
		step{"rendering the manifests", r.writeManifests},
		step{"packaging the charts", r.writeCharts},
		step{"packing the plugin of kubectl", r.writePlugin},
		step{"adding up", writeSums},
	)
}
