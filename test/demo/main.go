// Demo plays the API demo on a real cluster and tells it as a story: what a user writes, what the webhook makes of it, who may
// call, and how that changes on a running pod. It checks whatever it tells.
package main

import (
	"os"

	"github.com/spire-injector/spire-injector/test/command"
)

func main() {
	os.Exit(command.Run("demo", newCommand()))
}
