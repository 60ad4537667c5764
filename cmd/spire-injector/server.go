package main

import (
	"context"
	"fmt"

	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"

	"github.com/spire-injector/spire-injector/webhook"
)

const kubernetesVersionUsage = "version of the cluster's Kubernetes, such as 1.34, on which what can be injected depends"

// parseKubernetesVersion reads the flag --kubernetes-version; without it the version is unknown, which stands for a current one.
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

// serverVersion asks the API server for its version.
func serverVersion(ctx context.Context, config *rest.Config) (webhook.KubernetesVersion, error) {
	client, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return webhook.KubernetesVersion{}, err
	}
	info, err := client.ServerVersionWithContext(ctx)
	if err != nil {
		return webhook.KubernetesVersion{}, fmt.Errorf("asking the API server for its version: %w", err)
	}
	v, err := webhook.ParseKubernetesVersion(info.GitVersion)
	if err != nil {
		return v, fmt.Errorf("the API server's version: %w; say it with --kubernetes-version", err)
	}
	return v, nil
}
