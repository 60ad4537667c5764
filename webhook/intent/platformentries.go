package intent

import "fmt"

// FieldEntriesPerNamespace is the path of the field in the platform file.
const FieldEntriesPerNamespace = "limits.entriesPerNamespace"

// maxEntriesPerNamespace is more than one SPIRE server is good for.
const maxEntriesPerNamespace = 100_000

var entriesPerNamespaceField = platformField{
	name: "entriesPerNamespace",
	doc: "how many registration entries a namespace may have, one for each identity, service account and container; " +
		"a pod that would lead to more is denied",
	standard: "2000",
	schema:   rangeSchema(1, maxEntriesPerNamespace),
	parse: one(func(p *Platform, n int) error {
		p.EntriesPerNamespace = n
		if n < 1 || n > maxEntriesPerNamespace {
			return fmt.Errorf("expected 1 to %d, got %d", maxEntriesPerNamespace, n)
		}
		return nil
	}),
}
