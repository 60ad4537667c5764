// Program stands for the injector where the making of a release is tested: it needs modules, but few.
package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

var version = ""

func main() {
	c := &cobra.Command{Use: "program", Run: func(*cobra.Command, []string) { fmt.Println(version) }}
	if err := c.Execute(); err != nil {
		panic(err)
	}
}
