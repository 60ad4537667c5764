package main

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"time"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/healthz"

	"github.com/spire-injector/spire-injector/registrar/spireapi"
)

// identityPatience is how long a new replica calls itself unready for want of its SVID. Then it serves all the same: what it
// answers without SPIRE says more than a Service without endpoints.
const identityPatience = 30 * time.Second

// addChecks makes a replica ready once it can answer. What concerns all replicas alike is asked at the start only: later it
// would take them all away at once, for no gain.
func addChecks(mgr ctrl.Manager, certificate *servingCertificate, spire *spireapi.Client) error {
	start := time.Now()
	checks := map[string]healthz.Checker{
		"webhook":     mgr.GetWebhookServer().StartedChecker(),
		"namespaces":  atStart(cacheSynced(mgr)),
		"certificate": atStart(certificate.trusted()),
		"identity": atStart(func(r *http.Request) error {
			if time.Since(start) > identityPatience {
				return nil
			}
			return spire.Ready(r.Context())
		}),
	}
	for name, check := range checks {
		if err := mgr.AddReadyzCheck(name, check); err != nil {
			return err
		}
	}
	return mgr.AddHealthzCheck("process", healthz.Ping)
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

func cacheSynced(mgr ctrl.Manager) healthz.Checker {
	return func(r *http.Request) error {
		ctx, cancel := context.WithTimeout(r.Context(), time.Second)
		defer cancel()
		if !mgr.GetCache().WaitForCacheSync(ctx) {
			return errors.New("the cache of namespaces is not filled yet")
		}
		return nil
	}
}
