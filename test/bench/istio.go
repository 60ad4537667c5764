package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"

	"github.com/spire-injector/spire-injector/test/cluster/parts"
	"github.com/spire-injector/spire-injector/test/standalone"
)

// injectedByIstio is for Istio's own webhook with its profile default, which runs as one process beside the API server:
// in its network, without the way through a Service, and without a cluster's informers.
func injectedByIstio() variant {
	v := ofTheBench("istio")
	v.injects, v.mark = true, "security.istio.io/tlsMode"
	return v
}

// provideIstio brings Istio's webhook to the point where the API server calls it. It takes an API server of this machine.
func (c *cluster) provideIstio(ctx context.Context, namespace string) (end func() error, err error) {
	apiServer, err := apiServerOf("/proc", c.env.Kubeconfig)
	if err != nil {
		return nil, err
	}
	if len(apiServer) == 0 {
		return nil, errors.New("expected the API server to be a process of this machine, got none")
	}
	cache, err := parts.UserCache()
	if err != nil {
		return nil, err
	}
	program, err := parts.EnsureIstio(ctx, cache, c.progress)
	if err != nil {
		return nil, err
	}
	var ports standalone.Ports
	port, err := ports.Free(ctx)
	if err != nil {
		return nil, err
	}
	address := fmt.Sprintf("127.0.0.1:%d", port)
	process, err := standalone.Start("nsenter", "--net="+filepath.Join(apiServer[0], "ns", "net"), program, "serve", address)
	if err != nil {
		return nil, fmt.Errorf("starting Istio's webhook in the network of the API server: %w", err)
	}
	c.istio = filepath.Join("/proc", strconv.Itoa(process.PID()))
	authority, err := authorityOf(ctx, process)
	if err != nil {
		process.Stop()
		return nil, err
	}
	v := injectedByIstio()
	unregister, err := c.register(ctx, namespace, admissionv1.WebhookClientConfig{
		URL: new("https://" + address + "/inject"), CABundle: authority,
	}, v)
	if err != nil {
		process.Stop()
		return nil, fmt.Errorf("registering webhook %s: %w", v.name, err)
	}
	end = func() error {
		defer process.Stop()
		return unregister()
	}
	if err := c.awaitCalls(ctx, namespace, v); err != nil {
		return nil, errors.Join(fmt.Errorf("%w\n%s", err, process.Out), end())
	}
	return end, nil
}

// authorityOf is what Istio's webhook prints when it is about to serve.
func authorityOf(ctx context.Context, process *standalone.Process) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		if found := certificates([]byte(process.Out.String())); len(found) > 0 {
			return found, nil
		}
		if !process.Running() || ctx.Err() != nil {
			return nil, fmt.Errorf("expected Istio's webhook to print its certificate, got:\n%s", process.Out)
		}
		time.Sleep(poll)
	}
}
