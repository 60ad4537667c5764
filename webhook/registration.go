package webhook

import (
	"context"
	"fmt"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/spire-injector/spire-injector/registrar"
	"github.com/spire-injector/spire-injector/registrar/reason"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

// RegisterTimeout bounds the wait for SPIRE, well below the ten seconds after which the API server stops waiting for us
// and says only "context deadline exceeded".
const RegisterTimeout = 6 * time.Second

// retryAfter is when it makes sense to try again what failed because SPIRE did not answer: not much later than it comes
// back, and not so soon that it comes back to a storm.
const retryAfter = 10 * time.Second

// Registrar makes sure that workloads have their entries in SPIRE. It may be called many times and concurrently for one
// workload.
type Registrar interface {
	Ensure(ctx context.Context, workloads []registrar.Workload) (entryIDs []string, err error)
}

// verdict is what becomes of a pod that nothing of ours denies.
type verdict int

const (
	admit         verdict = iota // as it was decided
	admitDeferred                // the entries controller registers, and the pod's status says so
	register                     // ask SPIRE first
	deny                         // with SPIRE's error
)

// registration is what the verdict on a pod depends on, before SPIRE was asked to register its workloads, or after.
type registration struct {
	decision      reason.Reason
	workloads     []registrar.Workload
	dryRun        bool
	deferred      bool // the pod came with a status that says that its registration is left to the entries controller
	onUnavailable intent.OnUnavailable

	asked bool
	err   error // SPIRE's answer
}

func (r registration) verdict() verdict {
	switch {
	case len(r.workloads) == 0 || r.dryRun:
		return admit
	case r.decision == reason.AlreadyInjected && r.deferred && r.onUnavailable == intent.Admit:
		return admit // the webhook is called again for one pod, and would wait again
	case !r.asked:
		return register
	case r.err == nil:
		return admit
	case registrar.KindOf(r.err) != registrar.Unavailable || r.onUnavailable != intent.Admit:
		return deny
	case r.decision == reason.Regenerated:
		return admit // a pod that runs has its identity already
	}
	return admitDeferred
}

// ensure registers all workloads of one pod.
func ensure(ctx context.Context, r Registrar, workloads []registrar.Workload) error {
	ctx, cancel := context.WithTimeout(ctx, RegisterTimeout)
	defer cancel()
	if _, err := r.Ensure(ctx, workloads); err != nil {
		return &registrationError{workloads[0].ID, err}
	}
	return nil
}

// registrationError says that a pod is denied only because its identity could not be registered.
type registrationError struct {
	id  spiffeid.ID // of all the pod's workloads
	err error
}

func (e *registrationError) Error() string {
	return fmt.Sprintf("the identity %s could not be registered in SPIRE, so that the pod would never get its "+
		"certificate; nothing was changed; %s: %v", e.id, e.remedy(), e.err)
}

func (e *registrationError) remedy() string {
	if registrar.KindOf(e.err) == registrar.Unavailable {
		return fmt.Sprintf("try again in %s, as its controller does", retryAfter)
	}
	return "create the pod again when this is mended"
}

func (e *registrationError) Unwrap() error { return e.err }
