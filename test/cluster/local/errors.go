package local

import "fmt"

// NotUpError says that a command needs a cluster that does not run.
type NotUpError struct {
	Name string
}

func (e NotUpError) Error() string {
	return fmt.Sprintf("the cluster %s is not up: run `go run ./test/cluster up --name %s` first", e.Name, e.Name)
}

func errNotUp(name string) error { return NotUpError{Name: name} }
