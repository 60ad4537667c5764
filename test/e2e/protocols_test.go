package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/spire-injector/spire-injector/test/demo/scene"
)

// The app gets the protocol that its listener says, and the client's Envoy reaches it by that.
func TestProtocols(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	server := polyglot(ns, "server", id(ns, "valid"))
	server.annotations["spiffe.io/inbound"] = list(
		item{"listen": 8443, "app": 8080, "protocol": "http2"}, item{"listen": 8444, "app": 9090, "protocol": "grpc"},
		item{"listen": 8445, "app": 7070, "protocol": "tcp"},
	)
	to := func(name string) workload {
		w := client(ns, name)
		w.annotations["spiffe.io/upstreams"] = list(
			upstream(ns, "server", 8000, 8443, "http2"), upstream(ns, "server", 8001, 8444, "grpc"), upstream(ns, "server", 8002, 8445, "tcp"),
		)
		return w
	}
	deploy(t, ns, server, to("valid"), to("invalid"))

	got := echo(t, ns, "deployment/valid", "http://127.0.0.1:8000/echo")
	if got.Protocol != "HTTP/2.0" || !strings.Contains(got.caller(), "URI=spiffe://example.org"+id(ns, "valid")) {
		t.Errorf("expected HTTP/2 and the caller's identity, got %+v", got)
	}
	urls := []string{"grpc://127.0.0.1:8001", "grpc://127.0.0.1:8001/count", "tcp://127.0.0.1:8002", "--fresh", "tcp://127.0.0.1:8002"}
	if report := traffics(t, ns, "deployment/valid", urls...); report.Failed != 0 || len(report.ByURL) != 4 {
		t.Errorf("expected answers over gRPC and TCP, got %+v", report)
	}
	report := traffics(t, ns, "deployment/invalid", append(urls, "http://127.0.0.1:8000/api")...)
	if report.Failed != report.Total || len(report.ByURL) != 5 {
		t.Errorf("expected that the invalid client is refused by all protocols, got %+v", report)
	}
}

// traffics sends a second of load and returns its report.
func traffics(t *testing.T, namespace, workload string, args ...string) loadReport {
	t.Helper()
	out, err := in(t, namespace, workload, append([]string{"/podtool", "load", "-o", "json", "--duration", "1s", "--workers", "1"}, args...)...)
	return decodeReport(t, out, err)
}

// On the way to mutual TLS a port serves callers of both kinds, and the log tells who still comes in plain text.
func TestPermissive(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	server := polyglot(ns, "server", id(ns, "valid"))
	server.annotations["spiffe.io/inbound"] = list(
		item{"listen": 8443, "app": 8080, "tls": "permissive"}, item{"listen": 8445, "app": 7070, "protocol": "tcp", "tls": "permissive"},
	)
	inside := func(name string) workload {
		w := client(ns, name)
		w.annotations["spiffe.io/upstreams"] = list(upstream(ns, "server", 8000, 8443, "http"))
		return w
	}
	deploy(t, ns, server, inside("valid"), inside("invalid"), workload{name: "outsider", command: []string{"/podtool", "api"}})

	if got := echo(t, ns, "deployment/valid", "http://127.0.0.1:8000/echo"); !strings.Contains(got.caller(), id(ns, "valid")) {
		t.Errorf("expected the identity of the caller with one, got %+v", got)
	}
	if out, err := in(t, ns, "deployment/invalid", "/sample", "get", url); err == nil || !strings.HasPrefix(out, "upstream connect error") {
		t.Errorf("expected that a caller with another identity is refused, got %q (%v)", out, err)
	}
	if got := echo(t, ns, "deployment/outsider", "http://server."+ns+".svc:8443/echo", "--header", forged); got.caller() != "" {
		t.Errorf("expected no identity of a caller in plain text, got %q", got.caller())
	}
	if report := traffics(t, ns, "deployment/outsider", "tcp://server."+ns+".svc:8445"); report.Failed != 0 {
		t.Errorf("expected answers over plain TCP, got %+v", report)
	}
	outsider := onlyPod(t, ns, "outsider").Status.PodIP + ":"
	for _, event := range []string{"plain_request", "plain_connection"} {
		awaitLog(t, ns, "deployment/server", event+" of "+outsider, func(l logLine) bool {
			return l.Event == event && strings.HasPrefix(l.Remote, outsider) && l.Peer == ""
		})
	}
	awaitLog(t, ns, "deployment/server", "the caller with mutual TLS", func(l logLine) bool {
		return l.Event == "request" && strings.HasSuffix(l.Peer, id(ns, "valid"))
	})
}

// Audited, a caller outside the list passes, and the log tells that it would not.
func TestAudit(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	server := api(ns, id(ns, "valid"))
	server.annotations["spiffe.io/enforcement"] = "audit"
	outsider := workload{name: "outsider", command: []string{"/podtool", "api"}}
	deploy(t, ns, server, client(ns, "valid"), client(ns, "invalid"), outsider)
	for client, verdict := range map[string]string{"valid": "allowed", "invalid": "denied"} {
		awaitOK(t, ns, "deployment/"+client)
		awaitLog(t, ns, "deployment/api", verdict, func(l logLine) bool {
			return l.Event == "request" && strings.HasSuffix(l.Peer, id(ns, client)) && l.Audit == verdict && l.Status == 200
		})
	}
	out, err := in(t, ns, "deployment/outsider", "/sample", "dial", "api."+ns+".svc:8443", "--tls")
	if err == nil || !strings.Contains(out, "certificate required") {
		t.Errorf("expected that a caller without an identity is refused all the same, got %q (%v)", out, err)
	}

	// Enforced again, on the running pod, the same caller is refused.
	k(t, ns, "annotate", "pod", apiPod(t, ns).Name, "--overwrite", "spiffe.io/enforcement=enforce")
	_, err = in(t, ns, "deployment/invalid", "/sample", "watch", url, "--timeout", patience.String(), "--until-status", "503")
	must(t, err)
}

// One connection of a gRPC client reaches all pods of a headless service, and pods that come back are found again
// without the client's doing.
func TestUpstreamsOfManyPods(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	server := polyglot(ns, "server", id(ns, "valid"))
	server.replicas = 3
	inside := client(ns, "valid")
	inside.annotations["spiffe.io/upstreams"] = list(
		item{"listen": 8000, "address": "server-headless." + ns + ".svc:8444", "peers": []string{id(ns, "server")}, "protocol": "grpc"},
		item{"listen": 8001, "address": "server." + ns + ".svc:8443", "peers": []string{id(ns, "server")}},
	)
	apply(t, server.headless(ns))
	deploy(t, ns, server, inside)
	kept := "grpc://127.0.0.1:8000"

	eventually(t, "calls of one connection spread over three pods", func() error { // DNS may be behind at first
		report := traffics(t, ns, "deployment/valid", kept)
		counts := report.ByURL[kept]
		for _, n := range counts.ByPod {
			if n*3 < counts.Total/2 {
				return fmt.Errorf("not evenly: %+v", counts)
			}
		}
		if report.Failed != 0 || counts.Connections != 1 || len(counts.ByPod) != 3 {
			return fmt.Errorf("%+v", report)
		}
		t.Logf("%+v", counts.ByPod)
		return nil
	})

	k(t, ns, "scale", "--replicas=0", "deployment/server")
	eventually(t, "the end of all pods", func() error {
		if names := podNames(t, ns, "server"); len(names) != 0 {
			return fmt.Errorf("%v", names)
		}
		return nil
	})
	for _, url := range []string{kept, "http://127.0.0.1:8001/api"} {
		if report := traffics(t, ns, "deployment/valid", url, "--timeout", "3s"); report.Failed != report.Total {
			t.Errorf("%s: expected no answer of pods that are gone, got %+v", url, report)
		}
	}
	k(t, ns, "scale", "--replicas=2", "deployment/server")
	rollout(t, ns, "deployment/server")
	took := eventually(t, "answers of the new pods", func() error {
		if report := traffics(t, ns, "deployment/valid", kept, "http://127.0.0.1:8001/api"); report.Failed != 0 {
			return fmt.Errorf("%s", report.FirstFailures)
		}
		return nil
	})
	t.Logf("both upstreams answered %.1f s after the new pods were ready", took.Seconds())
	if pod := onlyPod(t, ns, "valid"); scene.Restarts(pod) != 0 {
		t.Errorf("expected the client untouched, got %+v", pod.Status)
	}
}

// A scraper reads the sidecar's statistics, and can do nothing else on that port.
func TestMetricsPort(t *testing.T) {
	t.Parallel()
	ns := namespace(t)
	outsider := workload{name: "outsider", command: []string{"/podtool", "api"}}
	deploy(t, ns, api(ns, id(ns, "valid")), client(ns, "valid"), outsider)
	awaitOK(t, ns, "deployment/valid")
	address := apiPod(t, ns).Status.PodIP + ":15090"
	out, err := in(t, ns, "deployment/outsider", "/sample", "get", "http://"+address+"/stats/prometheus")
	must(t, err)
	for _, want := range []string{
		"# TYPE envoy_server_live gauge", "envoy_http_downstream_rq_total{", "envoy_server_days_until_first_cert_expiring{",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("expected %q among the statistics, got:\n%s", want, out)
		}
	}
	for _, path := range []string{
		"/", "/stats", "/config_dump", "/certs", "/clusters", "/stats/prometheus/x", "/quitquitquit", "/stats/prometheus/../../config_dump",
	} {
		if out := dial(t, ns, address, path); !strings.Contains(out, "answered: 404") {
			t.Errorf("%s: expected 404, got %s", path, out)
		}
	}
}
