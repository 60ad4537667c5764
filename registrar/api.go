package registrar

import (
	"context"
	"errors"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

// ErrNotFound is returned by [EntryReader] and [EntryUpdater] when SPIRE holds no entry of that ID.
var ErrNotFound = errors.New("SPIRE holds no entry of this ID")

// EntryCreator creates entries in SPIRE.
type EntryCreator interface {
	// CreateEntries creates the entries in the given order, each on its own: some may fail while others succeed.
	// The results are in the same order and as many. An error means that SPIRE did not answer about any of them; it is
	// an [Error].
	CreateEntries(ctx context.Context, entries []Entry) ([]CreateResult, error)
}

// CreateResult is SPIRE's answer about one entry.
type CreateResult struct {
	// Err is an [Error] if the entry is not known to have been created or to exist.
	Err error
	// Existed says that SPIRE refused because an entry of the same ID, or of the same SPIFFE ID, parent and
	// selectors exists already.
	Existed bool
	// Entry is what SPIRE holds now. It is nil with Err, and may be nil with Existed: then the ID was taken.
	Entry *Entry
}

// EntryUpdater changes entries in place.
type EntryUpdater interface {
	// UpdateEntries sets the given fields of the entries with these IDs and leaves the others. Each entry is updated on
	// its own; the results are in the same order and as many. An error means that SPIRE did not answer about any of
	// them; it is an [Error].
	UpdateEntries(ctx context.Context, entries []Entry, fields Fields) ([]UpdateResult, error)
}

// UpdateResult is SPIRE's answer about one entry.
type UpdateResult struct {
	// Err is an [Error], or wraps [ErrNotFound], if the entry is not known to have been updated.
	Err error
	// Entry is what SPIRE holds now; the zero Entry with Err.
	Entry Entry
}

// EntryLister finds entries.
type EntryLister interface {
	// ListEntries returns every entry that [Cluster.Concerns] is true of, page by page; the error is an [Error]. Entries
	// that come or go meanwhile may be missing or not.
	ListEntries(ctx context.Context, of Cluster) ([]Entry, error)
}

// NamespaceLister finds the entries of a namespace.
type NamespaceLister interface {
	// EntriesInNamespace returns the IDs of the entries of a cluster's workloads that run in a namespace; the error is an
	// [Error].
	EntriesInNamespace(ctx context.Context, of Cluster, namespace string) (entryIDs []string, err error)
}

// EntryDeleter removes entries.
type EntryDeleter interface {
	// DeleteEntries removes the entries with these IDs, each on its own; the results are in the same order and as many,
	// nil also for an entry that is not there, else an [Error]. An error means that SPIRE did not answer about any of
	// them; it is an [Error].
	DeleteEntries(ctx context.Context, ids []string) ([]error, error)
}

// BundleLister knows which foreign trust domains SPIRE has a bundle of.
type BundleLister interface {
	// FederatedBundles returns them all; the error is an [Error].
	FederatedBundles(ctx context.Context) ([]spiffeid.TrustDomain, error)
}

// EntryReader reads entries.
type EntryReader interface {
	GetEntry(ctx context.Context, id string) (Entry, error)
}

// API is what a [Registrar] needs of SPIRE.
type API interface {
	EntryCreator
	EntryReader
	NamespaceLister
	BundleLister
}
