// Demo plays a demo on a real cluster and tells it as a story: what a user writes, what the webhook makes of it, who
// may call. It checks whatever it tells. What each demo is and does is a package of its own; the package demos lists
// them.
package main

import (
	"os"

	"github.com/spire-injector/spire-injector/test/command"
	"github.com/spire-injector/spire-injector/test/demo/demos"
)

func main() {
	os.Exit(command.Run("demo", newCommand(demos.All())))
}
