package main

import (
	"fmt"

	"github.com/spire-injector/spire-injector/webhook/inject"
)

const kubernetesVersionUsage = "version of the cluster's Kubernetes, such as 1.34, on which what can be injected " +
	"depends"

// parseKubernetesVersion reads the flag --kubernetes-version; without it the version is unknown, which stands for a
// current one.
func parseKubernetesVersion(flag string) (inject.KubernetesVersion, error) {
	if flag == "" {
		return inject.KubernetesVersion{}, nil
	}
	v, err := inject.ParseKubernetesVersion(flag)
	if err != nil {
		return v, usageError{fmt.Errorf("--kubernetes-version: %w", err)}
	}
	return v, nil
}
