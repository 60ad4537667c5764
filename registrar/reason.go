package registrar

// Reason says why something was done, left or refused. It is the one vocabulary of logs, events, metrics and statuses: a value
// never changes its meaning, so that people can search for it. Those about pods are in package webhook.
type Reason string

// Reasons to change entries, or not to.
const (
	ReasonMissed      Reason = "EntryMissed"          // admission did not create it, a template that has no pod yet for one
	ReasonVanished    Reason = "EntryDeletedByOthers" // it was there, and nobody of ours removed it
	ReasonDrifted     Reason = "EntryDrifted"         // it does not say what its owners need
	ReasonNeededAgain Reason = "EntryNeededAgain"     // it was to be removed, and has an owner again
	ReasonUnneeded    Reason = "EntryUnneeded"        // it has no owner any more, and is removed after the grace time
	ReasonOutlived    Reason = "EntryOutlived"        // it had no owner for the whole grace time
	ReasonNoBundle    Reason = "BundleMissing"        // SPIRE has no bundle of a trust domain that it is to federate with
	ReasonInTheWay    Reason = "EntryInTheWay"        // an entry of others has its place
	ReasonLost        Reason = "EntryLost"            // its owner has it from a time before a rule that forbids it: nobody may create it again
)

// Reasons about federation.
const (
	ReasonBundleStale         Reason = "BundleStale"         // SPIRE has not fetched the bundle of a foreign trust domain for several of its intervals
	ReasonRelationshipRefused Reason = "RelationshipRefused" // SPIRE does not take a federation relationship of the platform file
)
