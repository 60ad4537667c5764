package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spire-injector/spire-injector/test/demo/play"
	"github.com/spire-injector/spire-injector/test/demo/story"
)

// played is what came of one of all demos.
type played struct {
	*play.Summary
	down time.Duration
}

// playAll plays each demo in turn and takes it down before the next. It goes on after one that fails, and ends with a
// table.
func playAll(ctx context.Context, demos []play.Demo, options story.Options, out, progress io.Writer) error {
	var (
		all  []played
		errs []error
	)
	for _, d := range demos {
		fmt.Fprintf(out, "\n════ %s: %s\n", d.Name, d.About)
		options.Steps = len(d.Steps)
		sum, err := play.Play(ctx, d, demos, story.New(out, options), progress)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", d.Name, err))
		}
		if ctx.Err() != nil {
			break
		}
		fmt.Fprintln(out)
		begin := time.Now()
		if err := play.Down(ctx, d, out, progress); err != nil {
			errs = append(errs, fmt.Errorf("taking down %s: %w", d.Name, err))
		}
		all = append(all, played{sum, time.Since(begin)})
	}
	_, err := fmt.Fprint(out, table(all))
	return errors.Join(append(errs, err)...)
}

// table has a line for each demo, with the seconds that it took.
func table(all []played) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "\ndemo\tresult\tplatform\tstory\tdown\tseconds")
	for _, p := range all {
		result := "ok"
		if !p.OK {
			result = "failed"
		}
		down := p.down.Seconds()
		told := p.Seconds - p.ClusterSeconds - p.PlatformSeconds
		fmt.Fprintf(w, "%s\t%s\t%.1f\t%.1f\t%.1f\t%.1f\n", p.Demo, result, p.PlatformSeconds, told, down, p.PlatformSeconds+told+down)
	}
	_ = w.Flush() // into memory
	return b.String()
}
