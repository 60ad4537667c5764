package main

import (
	"fmt"

	"github.com/spire-injector/spire-injector/webhook"
)

const kubernetesVersionUsage = "version of the cluster's Kubernetes, such as 1.34, on which what can be injected " +
	"depends"

// parseKubernetesVersion reads the flag --kubernetes-version; without it the version is unknown, which stands for a
// current one.
func parseKubernetesVersion(flag string) (webhook.KubernetesVersion, error) {
	if flag == "" {
		return webhook.KubernetesVersion{}, nil
	}
	v, err := webhook.ParseKubernetesVersion(flag)
	if err != nil {
		return v, usageError{fmt.Errorf("--kubernetes-version: %w", err)}
	}
	return v, nil
}
