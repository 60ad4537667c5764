// Init is process 1 of a test cluster. `go run ./test/cluster up` builds and starts it; nobody else does.
package main

import (
	"fmt"
	"os"

	"github.com/spire-injector/spire-injector/test/cluster/supervisor"
)

func main() {
	if err := supervisor.Run(os.Stdin); err != nil {
		fmt.Fprintln(os.Stderr, "init:", err)
		os.Exit(1)
	}
}
