package intent

// FieldEntriesPerNamespace is the path of the field in the platform file.
const FieldEntriesPerNamespace = "limits.entriesPerNamespace"

// maxEntriesPerNamespace is more than one SPIRE server is good for.
const maxEntriesPerNamespace = 100_000

var entriesPerNamespaceField = countField(
	"entriesPerNamespace",
	"how many registration entries a namespace may have, one for each identity, service account and container; "+
		"a pod that would lead to more is denied",
	2000, maxEntriesPerNamespace,
	func(p *Platform, n int) { p.EntriesPerNamespace = n },
)
