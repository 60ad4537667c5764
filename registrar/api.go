package registrar

import (
	"context"
	"errors"
)

// ErrNotFound is returned by [EntryReader] and [EntryUpdater] when SPIRE holds no entry of that ID.
var ErrNotFound = errors.New("SPIRE holds no entry of this ID")

// EntryCreator creates entries in SPIRE.
type EntryCreator interface {
	// CreateEntries creates the entries in the given order, each on its own: some may fail while others succeed.
	// The results are in the same order and as many. An error means that nothing is known about any of them; it is
	// an [Error].
	CreateEntries(ctx context.Context, entries []Entry) ([]CreateResult, error)
}

// CreateResult is SPIRE's answer about one entry.
type CreateResult struct {
	// Err is an [Error] if the entry was neither created nor found to exist.
	Err error
	// Existed says that SPIRE refused because an entry of the same ID, or of the same SPIFFE ID, parent and
	// selectors exists already.
	Existed bool
	// Entry is what SPIRE holds now. It is nil with Err, and may be nil with Existed: then the ID was taken.
	Entry *Entry
}

// EntryUpdater changes entries in place.
type EntryUpdater interface {
	// UpdateEntry sets the given fields of the entry with e's ID, leaves the others, and returns what SPIRE holds now.
	UpdateEntry(ctx context.Context, e Entry, fields Fields) (Entry, error)
}

// EntryReader reads entries.
type EntryReader interface {
	GetEntry(ctx context.Context, id string) (Entry, error)
}

// API is what a [Registrar] needs of SPIRE's Entry API.
type API interface {
	EntryCreator
	EntryUpdater
	EntryReader
}
