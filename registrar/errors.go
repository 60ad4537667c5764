package registrar

import (
	"errors"
	"fmt"
)

// Kind classifies why a registration failed, for decisions and metrics.
type Kind int

// The kinds of [Error].
const (
	// Failed: SPIRE answered, with an error or with an answer that makes no sense.
	Failed Kind = iota
	// Unavailable: no answer in time, or no way to ask. Later it may succeed.
	Unavailable
	// Denied: SPIRE does not let the injector register entries.
	Denied
	// Invalid: the entry can never be registered as it is.
	Invalid
	// Conflict: an entry of others is in the way.
	Conflict
	// MissingBundle: SPIRE has no bundle of a trust domain that the entry federates with. Without that domain, or once
	// the bundle is there, it would take the entry.
	MissingBundle
	// TooMany: the namespace has as many entries as the platform allows it.
	TooMany
)

func (k Kind) String() string {
	switch k {
	case Failed:
		return "failed"
	case Unavailable:
		return "unavailable"
	case Denied:
		return "denied"
	case Invalid:
		return "invalid"
	case Conflict:
		return "conflict"
	case MissingBundle:
		return "missing bundle"
	case TooMany:
		return "too many"
	}
	return fmt.Sprintf("Kind(%d)", int(k))
}

// Error is the type of every error of this package's I/O.
type Error struct {
	Kind Kind
	// Message says what was tried, what came instead, and what to do.
	Message string
	// Err is the cause, if there is one; its text is not part of Error's.
	Err error
}

func (e *Error) Error() string { return e.Message }

func (e *Error) Unwrap() error { return e.Err }

// KindOf returns the kind of the first [Error] in err's chain, and Failed when there is none.
func KindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return Failed
}
