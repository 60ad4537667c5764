package standalone

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync/atomic"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// Ports gives out ports of this machine, none of them twice. The zero value is ready, and safe for concurrent use.
type Ports struct {
	given atomic.Uint32
}

// Free returns a port that is free on all addresses. It lies below the range that the kernel takes for outgoing
// connections, which could otherwise take it between its choice and its use. Where the search begins is far apart for
// any two processes, so that tests of two packages do not choose the same. Those of Envoy's own listeners are left out:
// who runs several Envoys replaces them in the configuration, and would replace such a port too.
func (p *Ports) Free(ctx context.Context) (uint16, error) {
	var config net.ListenConfig
	for range 20000 {
		port := uint16(10000 + (uint32(os.Getpid())*61+p.given.Add(1))%20000) //nolint:gosec // less than 30000
		if port >= ir.AdminPort && port < ir.AdminPort+100 {
			continue
		}
		listener, err := config.Listen(ctx, "tcp", fmt.Sprintf("0.0.0.0:%d", port))
		if err == nil {
			return port, listener.Close()
		}
	}
	return 0, errors.New("found no free port from 10000 to 29999")
}
