package intent

import (
	"fmt"
	"strconv"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// readTrustedProxies reads how many proxies stand before a listener. Its protocol, TLS and clients have been read.
func readTrustedProxies(written *scalar, in *ir.Inbound) error {
	if written == nil {
		in.TrustedProxies = ir.DefaultTrustedProxies(*in)
		return nil
	}
	n, err := strconv.ParseUint(string(*written), 10, 32)
	if err != nil || n > ir.MaxTrustedProxies {
		return fmt.Errorf("expected a whole number from 0 to %d such as 1, got %q", ir.MaxTrustedProxies, *written)
	}
	in.TrustedProxies = uint32(n)
	return nil
}
