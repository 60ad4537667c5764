package replica

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"time"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
)

// identityPatience is how long a new replica calls itself unready for want of its SVID. Then it serves all the same:
// what it answers without SPIRE says more than a Service without endpoints.
const identityPatience = 30 * time.Second

// Readiness says whether a replica has what it needs to answer the API server.
type Readiness struct {
	Certificate func() error // whether the API server can verify the serving certificate
	Identity    func(context.Context) error
}

// Handler answers at /readyz whether a replica can answer the API server, and at /healthz that it lives. What concerns all
// replicas alike is asked at the start only: later it would take them all away at once, for no gain.
func (r Readiness) Handler(mgr ctrl.Manager) http.Handler {
	mux := http.NewServeMux()
	for path, checks := range map[string]map[string]healthz.Checker{
		"/readyz": {
			// It calls the webhook without a client certificate, and the server's log says so.
			"webhook":     atStart(mgr.GetWebhookServer().StartedChecker()),
			"namespaces":  atStart(cacheSynced(mgr.GetCache().WaitForCacheSync)),
			"certificate": atStart(func(*http.Request) error { return r.Certificate() }),
			"identity": atStart(
				patient(identityPatience, func(request *http.Request) error { return r.Identity(request.Context()) })),
		},
		"/healthz": {"process": healthz.Ping},
	} {
		handler := http.StripPrefix(path, &healthz.Handler{Checks: checks})
		mux.Handle(path, handler)
		mux.Handle(path+"/", handler) // each check by itself
	}
	return mux
}

// atStart asks until the answer is yes for the first time.
func atStart(check healthz.Checker) healthz.Checker {
	var passed atomic.Bool
	return func(r *http.Request) error {
		if passed.Load() {
			return nil
		}
		err := check(r)
		passed.Store(err == nil)
		return err
	}
}

// patient asks for some time from now on, and then takes it for a yes.
func patient(limit time.Duration, check healthz.Checker) healthz.Checker {
	start := time.Now()
	return func(r *http.Request) error {
		if time.Since(start) > limit {
			return nil
		}
		return check(r)
	}
}

func cacheSynced(wait func(context.Context) bool) healthz.Checker {
	return func(r *http.Request) error {
		ctx, cancel := context.WithTimeout(r.Context(), time.Second)
		defer cancel()
		if !wait(ctx) {
			return errors.New("the cache of namespaces is not filled yet")
		}
		return nil
	}
}
