package local

import "fmt"

// NotUpError says that a command needs a cluster that does not run.
type NotUpError struct {
	Name string
}

func (e NotUpError) Error() string {
	return fmt.Sprintf("the cluster %s is not up: run `go run ./test/cluster up --name %s` first", e.Name, e.Name)
}

// OtherNodesError says that a cluster that runs has another number of nodes than is wanted.
type OtherNodesError struct {
	Name         string
	Wanted, Have int
}

func (e OtherNodesError) Error() string {
	return fmt.Sprintf("expected the cluster %s to have %d nodes, it has %d: "+
		"run `go run ./test/cluster down --name %s` first, then it starts with %d",
		e.Name, e.Wanted, e.Have, e.Name, e.Wanted)
}

func errNotUp(name string) error { return NotUpError{Name: name} }
