// Release makes what is published of one version: images, programs and what they are made of, manifests, charts, and
// the checksums of all. The same commit, built by the same Go, gives the same bytes.
package main

import (
	"os"

	"github.com/spire-injector/spire-injector/test/command"
)

func main() {
	os.Exit(command.Run("release", newCommand()))
}
