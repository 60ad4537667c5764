package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/spire-injector/spire-injector/test/command"
)

// An app may mount the agent's socket by itself: what keeps the identity from it is the agent.
func TestAppContainerGetsNoSVID(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	pod := api(ns, id(ns, "valid")).pod(ns)
	pod.Spec.Volumes = []corev1.Volume{{Name: "own", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/run/spire/sockets"}}}}
	pod.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "own", MountPath: "/own", ReadOnly: true}}
	apply(t, pod)
	_, err := shared.k.Run(t.Context(), "--namespace", ns, "wait", "--for=condition=Ready", "pod/api", "--timeout", patience.String())
	must(t, err) // so its Envoy has the SVID

	out, err := in(t, ns, "pod/api", "/sample", "svid", "--socket", "unix:///own/agent.sock")
	if err == nil || !strings.Contains(err.Error(), "no identity issued") {
		t.Errorf(`expected the agent to answer "no identity issued", got %q (%v)`, out, err)
	}
}

// What Envoy has no use for it must not have: who breaks into it should not find the app's rights on the API server.
func TestSidecarGetsNoToken(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	apply(t, neverScheduled(api(ns, id(ns, "valid")).pod(ns)))
	pod := apiPod(t, ns)
	token := func(c corev1.Container) bool {
		return slices.ContainsFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool { return strings.HasPrefix(m.Name, "kube-api-access-") })
	}
	if token(pod.Spec.InitContainers[0]) || !token(pod.Spec.Containers[0]) {
		t.Errorf("expected the token in the app's container alone, got the mounts %+v and %+v", pod.Spec.InitContainers[0].VolumeMounts, pod.Spec.Containers[0].VolumeMounts)
	}
}

// Envoy names the SVID that it wants. Asking for another workload's must give nothing, although both run in one
// namespace and under one service account.
func TestSDSGivesNobodyElsesSVID(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	deploy(t, ns, api(ns, id(ns, "valid")), client(ns, "valid"), client(ns, "invalid"))

	tests := []struct{ name, asks, want string }{
		{"its own", id(ns, "invalid"), "starting workers"},
		{"the valid client's", id(ns, "valid"), "workload is not authorized for the requested identities"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			log := secondEnvoy(t, ns, "deployment/invalid", "spiffe://example.org"+test.asks, test.want)
			if test.want != "starting workers" && strings.Contains(log, "starting workers") {
				t.Error("Envoy got the SVID and started")
			}
		})
	}
}

// secondEnvoy runs an Envoy beside the sidecar, in its container, that asks the agent for one SVID, until its log says
// what is wanted, and returns the log.
func secondEnvoy(t *testing.T, namespace, workload, spiffeID, want string) string {
	t.Helper()
	config := envoyAskingFor(t, spiffeID)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	cmd := shared.k.Command(ctx, "--namespace", namespace, "exec", workload, "--container", "envoy", "--",
		"/usr/local/bin/envoy", "--config-yaml", config, "--disable-hot-restart", "--concurrency", "1", "--log-level", "info")
	var log command.Output
	cmd.Stdout, cmd.Stderr = &log, &log
	must(t, cmd.Start())
	eventually(t, fmt.Sprintf("%q in Envoy's log", want), func() error {
		if got := log.String(); !strings.Contains(got, want) {
			return fmt.Errorf("got:\n%s", got)
		}
		return nil
	})
	cancel()
	_ = cmd.Wait() // it was stopped, which is no failure
	return log.String()
}

func envoyAskingFor(t *testing.T, spiffeID string) string {
	t.Helper()
	type object = map[string]any
	sds := object{"name": spiffeID, "sds_config": object{
		"resource_api_version": "V3", "initial_fetch_timeout": "0s",
		"api_config_source": object{"api_type": "GRPC", "transport_api_version": "V3", "grpc_services": []object{{"envoy_grpc": object{"cluster_name": "agent"}}}},
	}}
	address := func(port int) object {
		return object{"socket_address": object{"address": "127.0.0.1", "port_value": port}}
	}
	endpoint := func(address object) object {
		return object{"cluster_name": "c", "endpoints": []object{{"lb_endpoints": []object{{"endpoint": object{"address": address}}}}}}
	}
	config := object{
		"node": object{"id": "second", "cluster": "second"},
		"static_resources": object{
			"clusters": []object{{
				"name": "agent", "type": "STATIC", "load_assignment": endpoint(object{"pipe": object{"path": "/run/spire/sockets/agent.sock"}}),
				"typed_extension_protocol_options": object{"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": object{
					"@type":                "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
					"explicit_http_config": object{"http2_protocol_options": object{}},
				}},
			}, {
				"name": "c", "type": "STATIC", "load_assignment": endpoint(address(1)),
				"transport_socket": object{"name": "envoy.transport_sockets.tls", "typed_config": object{
					"@type":              "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
					"common_tls_context": object{"tls_certificate_sds_secret_configs": []object{sds}},
				}},
			}},
			"listeners": []object{{
				"name": "l", "address": address(15998),
				"filter_chains": []object{{
					"filters": []object{{"name": "envoy.filters.network.tcp_proxy", "typed_config": object{
						"@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy", "stat_prefix": "l", "cluster": "c",
					}}},
					"transport_socket": object{"name": "envoy.transport_sockets.tls", "typed_config": object{
						"@type":              "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
						"common_tls_context": object{"tls_certificate_sds_secret_configs": []object{sds}},
					}},
				}},
			}},
		},
	}
	data, err := json.Marshal(config)
	must(t, err)
	return string(data)
}
