// Package reason is the one vocabulary of why something was done, left or not allowed: log, event, metric, status and
// command say it by a [Reason]. A value never changes its meaning, so that people can search for it.
package reason

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// Reason is one of the constants below. The empty one says that there is nothing to say.
type Reason string

// Kind is what a reason is about.
type Kind string

// The kinds of reasons.
const (
	Decision   Kind = "decision"   // why a pod was injected or left as it is
	Refusal    Kind = "refusal"    // why a pod was denied
	Entry      Kind = "entry"      // why a registration entry was changed, or not
	Federation Kind = "federation" // about relationships with, and bundles of, foreign trust domains
	Platform   Kind = "platform"   // about the platform file
	Rollout    Kind = "rollout"    // about changes to running pods
	Network    Kind = "network"    // about NetworkPolicies of identities
)

// Decisions.
const (
	PodEnabled           Reason = "PodEnabled"
	NamespaceEnabled     Reason = "NamespaceEnabled"
	NamespaceRequired    Reason = "NamespaceRequired"
	Regenerated          Reason = "Regenerated"
	RegistrationDeferred Reason = "RegistrationDeferred"
	NotLabelled          Reason = "NotLabelled"
	PodDisabled          Reason = "PodDisabled"
	MirrorPod            Reason = "MirrorPod"
	AlreadyInjected      Reason = "AlreadyInjected"
	Unchanged            Reason = "Unchanged"
	LeftoversRemoved     Reason = "LeftoversRemoved"
)

// Refusals.
const (
	Invalid          Reason = "Invalid"
	OverLimit        Reason = "OverLimit"
	NeedsNewPod      Reason = "NeedsNewPod"
	Tampered         Reason = "Tampered"
	OtherVersion     Reason = "OtherVersion"
	Quarantined      Reason = "Quarantined"
	SPIREUnavailable Reason = "SPIREUnavailable"
	SPIRERejected    Reason = "SPIRERejected"
	TooManyRequests  Reason = "TooManyRequests"
	CallerGone       Reason = "CallerGone"
	Internal         Reason = "Internal"
)

// Entries.
const (
	EntryMissing         Reason = "EntryMissing"
	EntryDeletedByOthers Reason = "EntryDeletedByOthers"
	EntryDrifted         Reason = "EntryDrifted"
	EntryNeededAgain     Reason = "EntryNeededAgain"
	EntryOrphaned        Reason = "EntryOrphaned"
	EntryExpired         Reason = "EntryExpired"
	EntryInTheWay        Reason = "EntryInTheWay"
	EntryNotAllowed      Reason = "EntryNotAllowed"
	EntryMoved           Reason = "EntryMoved"
	RowMissing           Reason = "RowMissing"
	RowDeletedByOthers   Reason = "RowDeletedByOthers"
	RowDrifted           Reason = "RowDrifted"
	RowOrphaned          Reason = "RowOrphaned"
	RowQuarantined       Reason = "RowQuarantined"
	NodeGone             Reason = "NodeGone"
	AliasOrphaned        Reason = "AliasOrphaned"
	BundleMissing        Reason = "BundleMissing"
)

// Federation.
const (
	BundleStale          Reason = "BundleStale"
	RelationshipRejected Reason = "RelationshipRejected"
)

// The platform file.
const (
	PlatformReloaded  Reason = "PlatformReloaded"
	PlatformRejected  Reason = "PlatformRejected"
	QuarantineChanged Reason = "QuarantineChanged"
)

// Running pods. ConfigurationRejected is also of one whose own annotations change.
const (
	ConfigurationRejected Reason = "ConfigurationRejected"
	QuarantineHeld        Reason = "QuarantineHeld"
	QuarantineNotInForce  Reason = "QuarantineNotInForce"
)

// NetworkPolicies.
const (
	NetworkPoliciesNotKept Reason = "NetworkPoliciesNotKept"
	NetworkPolicyInTheWay  Reason = "NetworkPolicyInTheWay"
	NetworkPolicyLeftOut   Reason = "NetworkPolicyLeftOut"
)

// Row is what is known of a reason.
type Row struct {
	Reason Reason
	Kind   Kind
	// Meaning is for people.
	Meaning string
	// EventType is that of the Kubernetes event when what was done succeeded; empty where there is no event. What
	// failed is a warning.
	EventType string
}

// Event types, as in package corev1.
const (
	none    = "" // there is no event
	normal  = corev1.EventTypeNormal
	warning = corev1.EventTypeWarning
)

// rows are all reasons, in the order of their kinds.
var rows = [...]Row{
	{PodEnabled, Decision, "the pod's own label says enabled", none},
	{NamespaceEnabled, Decision, "the namespace's label says enabled, the pod's says nothing", none},
	{NamespaceRequired, Decision, "the namespace's label says required", none},
	{Regenerated, Decision, "a running pod's configuration follows its annotations", none},
	{
		RegistrationDeferred,
		Decision,
		"SPIRE did not answer in time, and the platform lets pods wait: the reconciler registers it",
		none,
	},
	{NotLabelled, Decision, "neither the pod nor its namespace asks for injection", none},
	{PodDisabled, Decision, "the pod's own label says disabled", none},
	{MirrorPod, Decision, "the pod mirrors a static one, which its node runs from a file", none},
	{AlreadyInjected, Decision, "the pod already is what injection would make of it", none},
	{Unchanged, Decision, "the update touches nothing of the injector's", none},
	{
		LeftoversRemoved,
		Decision,
		"a copy of an injected pod without its labels and annotations lost the rest of the injection too",
		none,
	},

	{Invalid, Refusal, "something in the pod or its namespace is not understood or not allowed", none},
	{OverLimit, Refusal, "the pod asks for more than the platform's limits allow", none},
	{NeedsNewPod, Refusal, "a running pod cannot take this change", none},
	{Tampered, Refusal, "what the webhook wrote was changed, or arrived ready-made and wrong", none},
	{
		OtherVersion,
		Refusal,
		"the pod says that another version of the injector made it, and it is not what this version makes",
		none,
	},
	{Quarantined, Refusal, "the platform file cuts the identity off", none},
	{SPIREUnavailable, Refusal, "SPIRE did not answer in time; later it may", none},
	{SPIRERejected, Refusal, "SPIRE answered, and does not accept the registration", none},
	{TooManyRequests, Refusal, "as many requests are being answered as there is room for; later there may be more", none},
	{CallerGone, Refusal, "who asked did not wait for the answer", none},
	{Internal, Refusal, "a defect or a failing dependency of the injector itself", none},

	{EntryMissing, Entry, "a pod or a template needs the entry, and admission has not created it", normal},
	{EntryDeletedByOthers, Entry, "the entry was there, and something else than the injector deleted it", warning},
	{EntryDrifted, Entry, "the entry does not say what its owners need", normal},
	{EntryNeededAgain, Entry, "the entry was to be removed, and has an owner again", normal},
	{EntryOrphaned, Entry, "the entry has no owner any more, and is removed after the grace period", normal},
	{EntryExpired, Entry, "the entry was orphaned for the whole grace period", normal},
	{EntryInTheWay, Entry, "an entry of others has its place", warning},
	{EntryNotAllowed, Entry, "the entry is missing, and the platform file does not allow its pods this identity any more",
		warning},
	{EntryMoved, Entry, "the entry was on all nodes, and is on those that rows place it on", normal},
	{RowMissing, Entry, "a pod has a node whose agent is not authorized for the pod's identity yet", normal},
	{
		RowDeletedByOthers,
		Entry,
		"the row was there, and something else than the injector deleted it: the node's pods would have lost their identity",
		warning,
	},
	{RowDrifted, Entry, "something else than the injector changed the row, which is made again", warning},
	{RowOrphaned, Entry, "the row's node has no pod of the identity any more: it is removed after the grace period", normal},
	{RowQuarantined, Entry, "the platform file cuts the row's identity off: no agent may have it", normal},
	{NodeGone, Entry, "the row's node is gone", normal},
	{AliasOrphaned, Entry, "no entry hangs below the alias of all nodes any more", normal},
	{BundleMissing, Entry, "SPIRE has no bundle of a trust domain that the entry is to federate with", warning},

	{
		BundleStale,
		Federation,
		"SPIRE has not fetched the bundle of a foreign trust domain for several of its intervals",
		warning,
	},
	{RelationshipRejected, Federation, "SPIRE does not take a federation relationship of the platform file", warning},

	{PlatformReloaded, Platform, "a new platform file is in force", normal},
	{PlatformRejected, Platform, "a new platform file is wrong, or needs a restart: the old one stays in force", warning},

	{QuarantineChanged, Platform, "other identities are quarantined than before", warning},

	{QuarantineHeld, Rollout, "a running pod has a quarantined identity", warning},
	{QuarantineNotInForce, Rollout, "a running pod does not refuse the quarantined identities, and needs a new pod", warning},
	{
		ConfigurationRejected,
		Rollout,
		"Envoy does not take the configuration, or not start with the image, that a running pod was given",
		warning,
	},

	{NetworkPoliciesNotKept, Network, "the API server denies what NetworkPolicies of identities should be", warning},
	{NetworkPolicyInTheWay, Network, "a NetworkPolicy of others has the name of one of an identity", warning},
	{NetworkPolicyLeftOut, Network, "an identity has no NetworkPolicy, because nobody knows all ports of its pods", warning},
}

// All returns every reason, in the order of their kinds.
func All() []Row { return slices.Clone(rows[:]) }

// Of returns the reasons of some kinds.
func Of(kinds ...Kind) []Reason {
	var out []Reason
	for _, row := range rows {
		if slices.Contains(kinds, row.Kind) {
			out = append(out, row.Reason)
		}
	}
	return out
}

func (r Reason) String() string { return string(r) }

// Row returns what is known of the reason; false if it is none of the table.
func (r Reason) Row() (Row, bool) {
	for _, row := range rows {
		if row.Reason == r {
			return row, true
		}
	}
	return Row{}, false
}

// EventType is that of the Kubernetes event for this reason: a warning when what was done failed, or when the reason is
// no good news.
func (r Reason) EventType(err error) string {
	row, known := r.Row()
	if err != nil || !known || row.EventType == none {
		return warning
	}
	return row.EventType
}
