package main

import (
	"context"
	"fmt"

	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"

	"github.com/spire-injector/spire-injector/webhook/inject"
)

const kubernetesVersionUsage = "version of the cluster's Kubernetes, such as 1.34, on which what can be injected depends"

// parseKubernetesVersion reads the flag --kubernetes-version; without it the version is unknown, which stands for a current one.
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

// serverVersion asks the API server for its version.
func serverVersion(ctx context.Context, config *rest.Config) (inject.KubernetesVersion, error) {
	client, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return inject.KubernetesVersion{}, err
	}
	info, err := client.ServerVersionWithContext(ctx)
	if err != nil {
		return inject.KubernetesVersion{}, fmt.Errorf("asking the API server for its version: %w", err)
	}
	v, err := inject.ParseKubernetesVersion(info.GitVersion)
	if err != nil {
		return v, fmt.Errorf("the API server's version: %w; say it with --kubernetes-version", err)
	}
	return v, nil
}
