package local

import "fmt"

// NotUpError says that a command needs a cluster that does not run.
type NotUpError struct {
	Name string
}

func (e NotUpError) Error() string {
	return fmt.Sprintf("the cluster %s is not up: run `go run ./test/cluster up --name %s` first", e.Name, e.Name)
}

// OtherShapeError says that a cluster that runs has other nodes or addresses than are wanted.
type OtherShapeError struct {
	Name         string
	Wanted, Have Shape
}

func (e OtherShapeError) Error() string {
	return fmt.Sprintf("expected the cluster %s to have %s, it has %s: run `go run ./test/cluster down --name %s` first, then it starts so",
		e.Name, e.Wanted.words(), e.Have.words(), e.Name)
}

func errNotUp(name string) error { return NotUpError{Name: name} }
