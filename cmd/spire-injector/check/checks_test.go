package check

import (
	"errors"
	"strings"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// One thing after the other is wrong with a healthy cluster: its check says so, says what to do, and no other check
// is worse for it.
func TestChecks(t *testing.T) {
	t.Parallel()
	metric := func(replica int, name string, value float64) func(*Facts) {
		return func(f *Facts) { f.Replicas[replica].Metrics[name] = []Sample{{nil, value}} }
	}
	both := func(first, second func(*Facts)) func(*Facts) { return func(f *Facts) { first(f); second(f) } }
	state := func(name, state string, value float64) func(*Facts) {
		return func(f *Facts) {
			m := f.Replicas[0].Metrics
			m[name] = append(m[name], Sample{map[string]string{"state": state}, value})
		}
	}
	calls := func(code string, n float64) func(*Facts) {
		return func(f *Facts) {
			m := f.Replicas[0].Metrics
			m["spire_injector_spire_requests_total"] = append(m["spire_injector_spire_requests_total"], Sample{map[string]string{"code": code}, n})
		}
	}
	in := func(file func(*Facts) *File, old, text string) func(*Facts) {
		return func(f *Facts) {
			before := file(f).Text
			if file(f).Text = strings.Replace(before, old, text, 1); file(f).Text == before {
				panic("there is no " + old)
			}
		}
	}
	agentConf := func(f *Facts) *File { return &f.Agents[0].Config }
	serverConf := func(f *Facts) *File { return &f.Servers[0].Config }
	platform := func(f *Facts) *File { return &f.Platform }
	tests := []struct {
		name   string
		change func(*Facts)
		check  string
		status Status
		part   string
	}{
		{"Kubernetes without native sidecars", func(f *Facts) { f.Kubernetes = "v1.28.9" }, "kubernetes", Warning, "v1.28.9"},
		{"Kubernetes without policies", func(f *Facts) { f.Kubernetes = "v1.29.0+k3s1"; f.Policies = nil }, "kubernetes", Warning, "v1.29.0"},
		{"a version of somebody's own", func(f *Facts) { f.Kubernetes = "main" }, "kubernetes", Warning, `"main"`},

		{"no server", func(f *Facts) { f.Servers = nil }, "spire-server", Warning, "no SPIRE server"},
		{"a server that is not ready", func(f *Facts) { f.Servers[0].Ready = 0 }, "spire-server", Error, "0 of 1 SPIRE server ready"},
		{"a slow cache", in(serverConf, `"100ms"`, `"30s"`), "spire-server-settings", Warning, "cache_reload_interval is 30s: new entries reach the agents up to 25s later"},
		{"the default cache", in(serverConf, `cache_reload_interval      = "100ms"`, ``), "spire-server-settings", OK, "every 5s"},
		{"another admin", in(serverConf, "sa/spire-injector", "sa/other"), "spire-server-settings", Warning, "admin_ids does not contain spiffe://example.org/ns/spire-injector/sa/spire-injector"},
		{"an admin from the environment", in(serverConf, "spiffe://example.org/ns/spire-injector/sa/spire-injector", "${ADMIN}"), "spire-server-settings", OK, ""},
		{"a server of another trust domain", in(serverConf, `"example.org"`, `"other.org"`), "spire-server-settings", Error, "the trust domain is other.org"},
		{"a server's file that cannot be read", in(serverConf, `server {`, `server `), "spire-server-settings", Warning, "cannot be read: expected HCL or JSON"},
		{"a server's file from elsewhere", func(f *Facts) { f.Servers[0].Config = File{Err: errors.New("not there")} }, "spire-server-settings", Warning, "cannot be read: not there"},

		{"no agent", func(f *Facts) { f.Agents = nil }, "spire-agents", Error, "no SPIRE agent"},
		{"an agent that is not ready", func(f *Facts) { f.Agents[0].Wanted = 2 }, "spire-agents", Error, "1 of 2 agents ready"},
		{"a node without agent", func(f *Facts) { f.Nodes = append(f.Nodes, *node("node-2")) }, "spire-agents", Error, "Node node-2: no SPIRE agent"},
		{"a tainted node without agent", func(f *Facts) {
			tainted := node("node-2")
			tainted.Spec.Taints = []corev1.Taint{{Key: "a", Effect: corev1.TaintEffectNoSchedule}}
			f.Nodes = append(f.Nodes, *tainted)
		}, "spire-agents", Warning, "Node node-2"},
		{"a Windows node", func(f *Facts) {
			windows := node("node-2")
			windows.Labels[corev1.LabelOSStable] = "windows"
			f.Nodes = append(f.Nodes, *windows)
		}, "spire-agents", OK, ""},
		{"no container selectors", in(agentConf, "skip_kubelet_verification = true", "disable_container_selectors = true"),
			"spire-agent-settings", Error, "disable_container_selectors = true"},
		{"no container selectors, in words", in(agentConf, "skip_kubelet_verification = true", `disable_container_selectors = "true"`),
			"spire-agent-settings", Error, "disable_container_selectors = true"},
		{"no container selectors, in JSON", func(f *Facts) {
			f.Agents[0].Config.Text = `{"agent": {"trust_domain": "example.org", "socket_path": "/run/spire/sockets/agent.sock"},
				"plugins": {"WorkloadAttestor": [{"unix": {"plugin_data": {}}}, {"k8s": {"plugin_data": {"disable_container_selectors": true}}}]}}`
		}, "spire-agent-settings", Error, "disable_container_selectors = true"},
		{"container selectors", in(agentConf, "skip_kubelet_verification = true", "disable_container_selectors = false"), "spire-agent-settings", OK, ""},
		{"slow agents", in(agentConf, `"250ms"`, `"1m"`), "spire-agent-settings", Warning, "sync_interval is 1m0s: agents get new entries up to 55s later"},
		{"agents of another trust domain", in(agentConf, `"example.org"`, `"other.org"`), "spire-agent-settings", Error, "the trust domain is other.org"},
		{"agents of another trust domain beside ours", func(f *Facts) {
			other := f.Agents[0]
			other.Config.Text = strings.Replace(other.Config.Text, "example.org", "other.org", 1)
			f.Agents = append(f.Agents, other)
		}, "spire-agent-settings", OK, ""},
		{"agents of another cluster", in(agentConf, `"demo-cluster"`, `"other"`), "spire-agent-settings", Error, "attest for the cluster other"},
		{"another socket directory", in(platform, "hostPath: /run/spire/sockets", "hostPath: /run/spire"), "agent-socket", Error, "in /run/spire/sockets on the node"},
		{"another socket", in(agentConf, "sockets/agent.sock", "sockets/api.sock"), "agent-socket", Error, "the file api.sock"},
		{"another directory in the agent alone", func(f *Facts) {
			in(agentConf, "/run/spire/sockets/", "/tmp/public/")(f)
			mounts := f.Agents[0].Spec.Containers[0].VolumeMounts
			mounts[len(mounts)-1].MountPath = "/tmp/public"
		}, "agent-socket", OK, ""},
		{"a socket that others cannot reach", in(agentConf, "/run/spire/sockets/", "/tmp/"), "agent-socket", Error, "/tmp is not one of the node"},
		{"no CSI driver", in(platform, "hostPath: /run/spire/sockets", "csi: csi.spiffe.io"), "agent-socket", Error, "no CSIDriver csi.spiffe.io"},
		{"a CSI driver", func(f *Facts) {
			in(platform, "hostPath: /run/spire/sockets", "csi: csi.spiffe.io")(f)
			f.CSIDrivers = []string{"csi.spiffe.io"}
		}, "agent-socket", OK, "csi.spiffe.io"},

		{"no injector", func(f *Facts) { f.Injector, f.Replicas = nil, nil }, "replicas", Error, "Deployment spire-injector/spire-injector: there is none"},
		{"a replica that is not ready", func(f *Facts) { f.Replicas[1].Ready, f.Replicas[1].Unready = false, "identity" }, "replicas", Error, "not ready: identity"},
		{"no replica that is ready", func(f *Facts) { f.Replicas = nil }, "replicas", Error, "no replica is ready"},
		{"a missing replica", func(f *Facts) { f.Injector.Spec.Replicas = new(int32(3)) }, "replicas", Error, "2 of 3 replicas ready"},
		{"one replica", func(f *Facts) { f.Injector.Spec.Replicas = new(int32(1)) }, "replicas", Warning, "one replica"},
		{"a replica without metrics", func(f *Facts) { f.Replicas[1].Metrics, f.Replicas[1].Err = nil, errors.New("forbidden") }, "replicas", Error, "cannot be read: forbidden"},
		{"metrics that take a token", func(f *Facts) {
			f.Settings.MetricsSecure = true
			f.Replicas[0].Metrics, f.Replicas[1].Metrics = nil, nil
		}, "replicas", Warning, "metrics take a token"},
		{"two versions", func(f *Facts) {
			f.Replicas[1].Metrics["spire_injector_build_info"] = []Sample{{map[string]string{"version": "v1.2.4"}, 1}}
		}, "versions", Warning, "v1.2.3 and v1.2.4"},
		{"no Lease", func(f *Facts) { f.Lease = nil }, "leader", Error, "there is none"},
		{"a Lease of nobody", func(f *Facts) { f.Lease.Spec.HolderIdentity = new("") }, "leader", Error, "nobody holds it"},
		{"a Lease of another", func(f *Facts) { f.Lease.Spec.HolderIdentity = new("gone_1") }, "leader", Error, "gone holds it"},
		{"an old Lease", func(f *Facts) { f.At = f.At.Add(time.Minute) }, "leader", Error, "has not renewed it for 1m2s"},

		{"a mistake in the platform file", in(platform, "concurrency: 1", "concurency: 1"), "platform-file", Error, "concurency"},
		{"a platform file from elsewhere", func(f *Facts) {
			f.Platform = File{Err: errors.New("not from a ConfigMap"), Elsewhere: true}
		}, "platform-file", Warning, "not from a ConfigMap"},
		{"no platform file", func(f *Facts) { f.Platform.Err = errors.New("not found") }, "platform-file", Error, "not found"},
		{"a platform file that one has not", metric(1, "spire_injector_config_hash", 1), "platform-in-force", Warning, "another platform file than the one in ConfigMap"},
		{"a platform file that one refused", metric(1, "spire_injector_config_last_reload_successful", 0), "platform-in-force", Error, followerName + ": it refused"},
		{"a claim for nobody", in(platform, "claims: []", `claims: [{namespaces: [shop, shpo], serviceAccounts: [api], paths: [/api]}]`),
			"claims", Warning, "for the namespace shpo"},
		{"a claim for somebody", in(platform, "claims: []", `claims: [{namespaces: [shop], serviceAccounts: [api], paths: [/api]}]`), "claims", OK, "1 claim"},

		{"no mutating webhooks", func(f *Facts) { f.Mutating = nil }, "webhooks", Error, "no webhook leads to /mutate-pod"},
		{"no validating webhooks", func(f *Facts) { f.Validating = nil }, "webhooks", Error, "no webhook leads to /validate-pod"},
		{"no CA", func(f *Facts) { f.Mutating.Webhooks[0].ClientConfig.CABundle = nil }, "webhooks", Error, "caBundle of pod.injector.spiffe.io is empty"},
		{"a CA that has expired", func(f *Facts) { f.Validating.Webhooks[0].ClientConfig.CABundle = authority(t, now()) }, "webhooks", Error, "has expired"},
		{"nonsense for a CA", func(f *Facts) { f.Validating.Webhooks[0].ClientConfig.CABundle = []byte("?") }, "webhooks", Error, "has no certificate"},
		{"a webhook for pods that may fail", func(f *Facts) { f.Mutating.Webhooks[0].FailurePolicy = new(admissionregistrationv1.Ignore) }, "webhooks", Error, "is Ignore"},
		{"a webhook that leads elsewhere", func(f *Facts) { f.Mutating.Webhooks[0].ClientConfig.Service.Namespace = "other" }, "webhooks", Error, "does not lead"},
		{"a namespace that is not left out", func(f *Facts) {
			f.Mutating.Webhooks[1].NamespaceSelector.MatchExpressions[0].Values = []string{"spire", "spire-injector"}
		}, "excluded-namespaces", Error, "namespace.injector.spiffe.io is asked about pods in kube-system"},
		{"no policy", func(f *Facts) { delete(f.Policies, "spire-injector-scheduling") }, "policies", Error, "spire-injector-scheduling: there is none"},
		{"a binding that denies nothing", func(f *Facts) { f.Policies["spire-injector-changes"] = []string{"spire-injector-changes"} }, "policies", Error,
			"none that has the policy spire-injector-changes deny"},
		{"a certificate that has expired", metric(0, "spire_injector_serving_certificate_expiry_timestamp_seconds", 1), "serving-certificate", Error, "expired"},
		{"a certificate that expires", metric(1, "spire_injector_serving_certificate_expiry_timestamp_seconds", float64(now().Add(50*time.Hour).Unix())),
			"serving-certificate", Warning, followerName + ": its serving certificate expires in 2d2h"},
		{"a short certificate that is renewed in time", both(
			metric(1, "spire_injector_serving_certificate_lifetime_seconds", 3600),
			metric(1, "spire_injector_serving_certificate_expiry_timestamp_seconds", float64(now().Add(29*time.Minute).Unix())),
		), "serving-certificate", OK, ""},
		{"a short certificate that is not", both(
			metric(1, "spire_injector_serving_certificate_lifetime_seconds", 3600),
			metric(1, "spire_injector_serving_certificate_expiry_timestamp_seconds", float64(now().Add(9*time.Minute).Unix())),
		), "serving-certificate", Warning, "expires in 9m"},
		{"no certificate", func(f *Facts) {
			delete(f.Replicas[0].Metrics, "spire_injector_serving_certificate_expiry_timestamp_seconds")
		}, "serving-certificate", Error, "it has no serving certificate"},
		{"nobody asks the injector", func(f *Facts) { f.Trial = Trial{Namespace: "default", Created: true} }, "webhook-answers", Error, "would be created"},
		{"the injector is not reached", func(f *Facts) { f.Trial.Answer = "failed calling webhook: x509: unknown authority" }, "webhook-answers", Error, "x509"},
		{"another refuses", func(f *Facts) { f.Trial.Answer = "admission webhook other denied the request" }, "webhook-answers", Error, "other"},

		{"an SVID that expires", metric(0, "spire_injector_svid_expiry_timestamp_seconds", float64(now().Add(time.Minute).Unix())), "own-svid", Warning, "expires in 60s"},
		{"no SVID", func(f *Facts) { delete(f.Replicas[1].Metrics, "spire_injector_svid_expiry_timestamp_seconds") }, "own-svid", Error, "it has no own SVID"},
		{"no SVID at the server's socket", func(f *Facts) {
			in(platform, "spire-server.spire:8081", "unix:///run/spire/private/api.sock")(f)
			delete(f.Replicas[1].Metrics, "spire_injector_svid_expiry_timestamp_seconds")
		}, "own-svid", OK, "none is needed"},
		{"no calls", func(f *Facts) {
			for i := range f.Replicas {
				delete(f.Replicas[i].Metrics, "spire_injector_spire_requests_total")
			}
		}, "spire-calls", Warning, "no replica has called"},
		{"some calls that failed", calls("Unavailable", 5), "spire-calls", OK, "Unavailable 7"},
		{"many calls that failed", calls("Unavailable", 50), "spire-calls", Warning, "of 150 calls to SPIRE since it started 51 failed: Unavailable 51"},
		{"one call that was denied", calls("PermissionDenied", 1), "spire-calls", Warning, "PermissionDenied 1"},
		{"all calls failed", func(f *Facts) {
			delete(f.Replicas[0].Metrics, "spire_injector_spire_requests_total")
			calls("DeadlineExceeded", 3)(f)
		}, "spire-calls", Error, "DeadlineExceeded 3"},

		{"a refused entry", state("spire_injector_entries", "refused", 1), "entries", Error, "that SPIRE does not take, or that entries of others stand in the way of: 1"},
		{"missing rows", state("spire_injector_rows", "missing", 2), "entries", Warning, "agents are not authorized yet for an identity of their pods: 2"},
		{"refused rows", state("spire_injector_rows", "refused", 1), "entries", Error, "that SPIRE does not take: 1"},
		{"missing entries", state("spire_injector_entries", "missing", 2), "entries", Warning, "that pods need and SPIRE does not have yet: 2"},
		{"entries without bundle", state("spire_injector_entries", "without_bundle", 2), "entries", Warning, "without a federated trust domain, whose bundle SPIRE does not have: 2"},
		{"entries that others delete", func(f *Facts) {
			f.Replicas[0].Metrics["spire_injector_entry_changes_total"][0].Value = 3
		}, "entries", Warning, "3 were created again"},
		{"no comparison of entries", func(f *Facts) { delete(f.Replicas[0].Metrics, "spire_injector_entries") }, "entries", Warning, "not compared"},
		{"a late comparison", metric(0, "spire_injector_reconcile_last_success_timestamp_seconds", float64(now().Add(-12*time.Minute).Unix())), "reconciler", Warning, "12m ago"},
		{"a very late comparison", metric(0, "spire_injector_reconcile_last_success_timestamp_seconds", float64(now().Add(-time.Hour).Unix())), "reconciler", Error, "60m ago"},
		{"never a comparison", metric(0, "spire_injector_reconcile_last_success_timestamp_seconds", 0), "reconciler", Warning, "no comparison"},
		{"no rollout", func(f *Facts) { f.Settings.RolloutRate = 0; metric(0, "spire_injector_rollout_paused", 1)(f) }, "rollout", Warning, "paused by --rollout-rate=0"},
		{"a rollout that stopped", metric(0, "spire_injector_rollout_paused", 1), "rollout", Error, "the rollout is paused, because"},
		{"a quarantine on its way", state("spire_injector_quarantine_pods", "waiting", 1), "rollout", Error, "not in force yet in 1 pod"},
		{"a quarantine that stays away", state("spire_injector_quarantine_pods", "needs_new_pod", 1), "rollout", Error, "cannot be carried to 1 pod"},
		{"a quarantined pod", state("spire_injector_quarantine_pods", "holding", 2), "rollout", Warning, "is held by 2 pods"},
		{"pods that reject", state("spire_injector_rollout_pods", "rejected", 1), "rollout", Error, "rejects its new configuration in 1 pod"},
		{"pods that are to be replaced", state("spire_injector_rollout_pods", "needs_new_pod", 4), "rollout", Warning, "needs_new_pod 4"},

		{"an app that declares its port", func(f *Facts) { declare(f, injected(t, 9090, 8080)) }, "app-ports", Warning,
			"ReplicaSet shop/api: container app declares port 8080"},
		{"an app that declares another port", func(f *Facts) { declare(f, injected(t, 9090)) }, "app-ports", OK, "1 injected pod"},
		{"an app whose namespace says the port", func(f *Facts) {
			pod := injected(t, 8080)
			delete(pod.Annotations, "spiffe.io/app-port")
			declare(f, pod)
			f.Namespaces = append([]corev1.Namespace{{ObjectMeta: metav1.ObjectMeta{Name: "shop", Annotations: map[string]string{"spiffe.io/app-port": "8080"}}}}, f.Namespaces...)
		}, "app-ports", Warning, "declares port 8080"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			f := healthy(t).gather(t)
			tt.change(&f)
			findings := Judge(f)
			if !has(findings, tt.check, tt.status, tt.part) {
				t.Errorf("expected %s by %s with %q, got %+v", tt.status, tt.check, tt.part, findings)
			}
			for _, finding := range findings {
				if finding.Status != OK && (finding.Expected == "" || finding.Remedy == "") {
					t.Errorf("expected what was expected and a remedy: %+v", finding)
				}
				if tt.status == OK && finding.Check == tt.check && finding.Status != OK {
					t.Errorf("expected nothing to complain about, got %+v", finding)
				}
			}
		})
	}
}

func declare(f *Facts, pod *corev1.Pod) {
	small, declares := declaring(*pod)
	if !declares {
		panic("expected a pod that declares ports")
	}
	f.Declaring, f.Injected = []corev1.Pod{small}, 1
}

// A source that cannot be read is told once, and what needs it says nothing.
func TestUnread(t *testing.T) {
	t.Parallel()
	f := healthy(t).gather(t)
	f.Unread[SourceInjector] = errors.New("no rights")
	findings := Judge(f)
	if r := NewReport(findings); r.Errors != 1 || r.Warnings != 0 || r.OK != 3 {
		t.Errorf("expected one error and what is known without: %+v", findings)
	}
	if !has(findings, "spire-server-settings", Error, "the injector's Deployment could not be read: no rights") {
		t.Errorf("got %+v", findings)
	}
}

// SPIRE denies in the same words what it denies to whoever is no admin and what its policy denies: the methods tell.
func TestDenied(t *testing.T) {
	t.Parallel()
	call := func(method, code string, n float64) Sample {
		return Sample{map[string]string{"method": method, "code": code}, n}
	}
	const policy, admin = "its authorization policy denies calls", "does not take the injector for an admin"
	for name, tt := range map[string]struct {
		calls []Sample
		want  string
	}{
		"a path that the policy denies": {
			[]Sample{call("ListEntries", "OK", 5), call("ListEntries", "PermissionDenied", 0), call("BatchCreateEntry", "PermissionDenied", 2)}, policy + " (BatchCreateEntry 2)"},
		"a relationship that it denies": {[]Sample{call("BatchCreateEntry", "OK", 5), call("BatchCreateFederationRelationship", "PermissionDenied", 1)}, policy},
		"no admin":                      {[]Sample{call("ListEntries", "PermissionDenied", 3), call("BatchCreateEntry", "PermissionDenied", 1)}, admin},
		"an admin after a while":        {[]Sample{call("ListEntries", "PermissionDenied", 3), call("ListEntries", "OK", 1)}, "of which of two it is (ListEntries 3)"},
		"a replica that only admits":    {[]Sample{call("BatchCreateEntry", "PermissionDenied", 1)}, "of which of two it is"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := healthy(t).gather(t)
			f.Replicas[1].Metrics["spire_injector_spire_requests_total"] = tt.calls
			var remedies []string
			for _, finding := range Judge(f) {
				if finding.Check == "spire-calls" && finding.Status == Warning {
					remedies = append(remedies, finding.Remedy)
				}
			}
			if len(remedies) != 1 || !strings.Contains(remedies[0], tt.want) {
				t.Errorf("expected one remedy with %q, got %q", tt.want, remedies)
			}
		})
	}
}
