//go:build !linux

package capture

import (
	"context"
	"errors"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// Apply fails: pods run Linux.
func Apply(context.Context, Rules, ir.IPFamily) error {
	return errors.New("rules can be written on Linux alone, in the network of a pod; --dry-run prints them everywhere")
}
