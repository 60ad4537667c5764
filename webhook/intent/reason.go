package intent

import "github.com/spire-injector/spire-injector/registrar"

// Reason says why a pod was injected, left alone or refused. Those about registration entries are in package registrar.
type Reason = registrar.Reason

// Reasons to inject.
const (
	ReasonPodEnabled        Reason = "PodEnabled"        // the pod's own label says enabled
	ReasonNamespaceEnabled  Reason = "NamespaceEnabled"  // the namespace's label says enabled, the pod's says nothing
	ReasonNamespaceRequired Reason = "NamespaceRequired" // the namespace's label says required
	ReasonRegenerated       Reason = "Regenerated"       // a running pod's configuration follows its annotations
	// ReasonDeferred: SPIRE did not answer in time, and the platform lets pods wait; the reconciler registers the identity.
	ReasonDeferred Reason = "RegistrationDeferred"
)

// Reasons to leave a pod as it is.
const (
	ReasonNotLabelled     Reason = "NotLabelled"     // neither the pod nor its namespace asks for injection
	ReasonPodDisabled     Reason = "PodDisabled"     // the pod's own label says disabled
	ReasonAlreadyInjected Reason = "AlreadyInjected" // the pod already is what injection would make of it
	ReasonUnchanged       Reason = "Unchanged"       // an update that touches nothing of ours
	// ReasonLeftoversRemoved: a copy of an injected pod that was made without its labels and annotations lost the rest of it too.
	ReasonLeftoversRemoved Reason = "LeftoversRemoved"
)

// Reasons to refuse.
const (
	ReasonInvalid          Reason = "Invalid"          // something in the pod or its namespace is not understood or not allowed
	ReasonNeedsNewPod      Reason = "NeedsNewPod"      // a running pod cannot take this change
	ReasonTampered         Reason = "Tampered"         // what the webhook wrote was changed, or arrived ready-made and wrong
	ReasonSPIREUnavailable Reason = "SPIREUnavailable" // SPIRE did not answer in time; later it may
	ReasonSPIRERefused     Reason = "SPIRERefused"     // SPIRE answered, and does not accept the registration
	ReasonInternal         Reason = "Internal"         // a defect or a failing dependency of the injector itself
)
