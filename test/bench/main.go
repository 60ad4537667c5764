// Bench measures what the injector costs: creations per second, the way to the first call, bytes, memory, and how fast
// a changed policy is in force. It asserts nothing: figures depend on the machine, which is printed with them.
package main

import (
	"os"

	"github.com/spire-injector/spire-injector/test/command"
)

func main() {
	os.Exit(command.Run("bench", newCommand()))
}
