package webhook

import "github.com/spire-injector/spire-injector/registrar/reason"

// Reason says why a pod was injected, left alone or denied.
type Reason = reason.Reason

// The reasons of an admission; package reason says what they mean.
const (
	ReasonPodEnabled        = reason.PodEnabled
	ReasonNamespaceEnabled  = reason.NamespaceEnabled
	ReasonNamespaceRequired = reason.NamespaceRequired
	ReasonRegenerated       = reason.Regenerated
	ReasonDeferred          = reason.RegistrationDeferred
	ReasonNotLabelled       = reason.NotLabelled
	ReasonPodDisabled       = reason.PodDisabled
	ReasonAlreadyInjected   = reason.AlreadyInjected
	ReasonUnchanged         = reason.Unchanged
	ReasonLeftoversRemoved  = reason.LeftoversRemoved
	ReasonInvalid           = reason.Invalid
	ReasonNeedsNewPod       = reason.NeedsNewPod
	ReasonTampered          = reason.Tampered
	ReasonSPIREUnavailable  = reason.SPIREUnavailable
	ReasonSPIRERejected     = reason.SPIRERejected
	ReasonInternal          = reason.Internal
)
