package check

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/spire-injector/spire-injector/webhook/intent"
)

// remedy is a change of objects that mends what a check finds.
type remedy struct {
	name string
	says string // the beginning of the remedy in the code, up to what differs by case
	part string // of what is found
	harm func(*testing.T, *cluster)
	mend func(*testing.T, *cluster) // as the remedy has it
}

func remedies() []remedy {
	const server, agent, platform = "spire/spire-server/server.conf", "spire/spire-agent/agent.conf", "spire-injector/spire-injector-config/config.yaml"
	// A text that is replaced, and that is put back.
	replaced := func(name, says, part, where, old, text string) remedy {
		return remedy{name, says, part,
			func(t *testing.T, c *cluster) { c.rewrite(t, where, old, text) },
			func(t *testing.T, c *cluster) { c.rewrite(t, where, text, old) }}
	}
	mutating := func(change func(*admissionregistrationv1.MutatingWebhookConfiguration)) func(*testing.T, *cluster) {
		return func(t *testing.T, c *cluster) {
			t.Helper()
			hooks := c.AdmissionregistrationV1().MutatingWebhookConfigurations()
			h, err := hooks.Get(t.Context(), "spire-injector", metav1.GetOptions{})
			must(t, err)
			change(h)
			_, err = hooks.Update(t.Context(), h, metav1.UpdateOptions{})
			must(t, err)
		}
	}
	injector := func(change func(*appsv1.Deployment)) func(*testing.T, *cluster) {
		return func(t *testing.T, c *cluster) {
			t.Helper()
			d, err := c.AppsV1().Deployments("spire-injector").Get(t.Context(), "spire-injector", metav1.GetOptions{})
			must(t, err)
			change(d)
			_, err = c.AppsV1().Deployments("spire-injector").Update(t.Context(), d, metav1.UpdateOptions{})
			must(t, err)
		}
	}
	env := func(t *testing.T) []corev1.EnvVar {
		t.Helper()
		for _, object := range manifest(t, "injector/base", "spire-injector", "deployment.yaml") {
			if d, ok := object.(*appsv1.Deployment); ok {
				return d.Spec.Template.Spec.Containers[0].Env
			}
		}
		t.Fatal("there is no Deployment")
		return nil
	}
	addresses := func(ips ...string) func(*testing.T, *cluster) {
		return func(t *testing.T, c *cluster) {
			t.Helper()
			for _, name := range []string{leaderName, followerName} {
				p, err := c.CoreV1().Pods("spire-injector").Get(t.Context(), name, metav1.GetOptions{})
				must(t, err)
				p.Status.PodIPs = nil
				for _, ip := range ips {
					p.Status.PodIPs = append(p.Status.PodIPs, corev1.PodIP{IP: ip})
				}
				_, err = c.CoreV1().Pods("spire-injector").UpdateStatus(t.Context(), p, metav1.UpdateOptions{})
				must(t, err)
			}
		}
	}
	all := func(steps ...func(*testing.T, *cluster)) func(*testing.T, *cluster) {
		return func(t *testing.T, c *cluster) {
			t.Helper()
			for _, step := range steps {
				step(t, c)
			}
		}
	}
	rewriting := func(where, old, text string) func(*testing.T, *cluster) {
		return func(t *testing.T, c *cluster) { t.Helper(); c.rewrite(t, where, old, text) }
	}
	// A pod from before its namespace required injection, and the one that is made in its place.
	requiring := func(name, says, part string, before func(*testing.T, *corev1.Pod)) remedy {
		return remedy{name, says, part,
			func(t *testing.T, c *cluster) {
				was := pod("shop", "api-1", nil, corev1.Container{Name: "app", Image: "app"})
				before(t, was)
				c.add(t, was)
				c.requires(t, "shop")
			},
			func(t *testing.T, c *cluster) {
				must(t, c.CoreV1().Pods("shop").Delete(t.Context(), "api-1", metav1.DeleteOptions{}))
				c.add(t, injected(t))
			}}
	}
	var ca []byte
	return []remedy{
		replaced("a claim for nobody", "correct the name, or take the claim out", "for the namespace shpo", platform, "claims: []",
			"claims: [{namespaces: [shpo], serviceAccounts: [api], paths: [/api]}]"),
		replaced("a mistake in the platform file", "correct it: the old one stays in force", "concurency", platform, "concurrency: 1", "concurency: 1"),
		{
			"no platform file", "create it: no replica starts without", "not found",
			func(t *testing.T, c *cluster) {
				must(t, c.CoreV1().ConfigMaps("spire-injector").Delete(t.Context(), "spire-injector-config", metav1.DeleteOptions{}))
			},
			func(t *testing.T, c *cluster) {
				c.add(t, configMap("spire-injector", "spire-injector-config", "config.yaml", file(t, "injector/base/config.yaml")))
			},
		},
		replaced("a slow cache", "lower it", "cache_reload_interval is 30s", server, `"100ms"`, `"30s"`),
		replaced("slow agents", "lower it", "sync_interval is 1m0s", agent, `"250ms"`, `"1m"`),
		replaced("another admin", "add it to admin_ids", "admin_ids does not contain", server, "sa/spire-injector", "sa/other"),
		replaced("a server of another trust domain", "correct the one that is wrong: no identity of another trust domain", "the trust domain is other.org",
			server, `"example.org"`, `"other.org"`),
		replaced("no container selectors", "delete it and restart the agents", "disable_container_selectors = true", agent,
			"skip_kubelet_verification = true", "disable_container_selectors = true"),
		replaced("agents of another cluster", "correct the one that is wrong: these agents get none", "attest for the cluster other", agent,
			`"demo-cluster"`, `"other"`),
		replaced("another socket", "correct the one that is wrong: Envoy does not find the agent", "the file api.sock", agent, "sockets/agent.sock", "sockets/api.sock"),
		replaced("another socket directory", "correct the one that is wrong: Envoy does not find the agent", "in /run/spire/sockets on the node", platform,
			"hostPath: /run/spire/sockets", "hostPath: /run/spire"),
		{
			"a socket that others cannot reach", "mount one in the agent", "/tmp is not one of the node", rewriting(agent, "/run/spire/sockets/", "/tmp/"),
			func(t *testing.T, c *cluster) {
				d, err := c.AppsV1().DaemonSets("spire").Get(t.Context(), "spire-agent", metav1.GetOptions{})
				must(t, err)
				mounts := d.Spec.Template.Spec.Containers[0].VolumeMounts
				mounts[len(mounts)-1].MountPath = "/tmp"
				_, err = c.AppsV1().DaemonSets("spire").Update(t.Context(), d, metav1.UpdateOptions{})
				must(t, err)
			},
		},
		{
			"no CSI driver", "install the SPIFFE CSI driver", "no CSIDriver csi.spiffe.io",
			rewriting(platform, "hostPath: /run/spire/sockets", "csi: csi.spiffe.io"),
			func(t *testing.T, c *cluster) {
				c.add(t, &storagev1.CSIDriver{ObjectMeta: metav1.ObjectMeta{Name: "csi.spiffe.io"}})
			},
		},
		{
			"a node without agent", "let the agents' DaemonSet tolerate the node's taints", "no SPIRE agent",
			func(t *testing.T, c *cluster) { c.add(t, node("node-2")) },
			func(t *testing.T, c *cluster) { // what the DaemonSet makes then
				p := pod("spire", "spire-agent-2", map[string]string{"app.kubernetes.io/name": "spire-agent"},
					corev1.Container{Name: "spire-agent", Image: "spiffe/spire-agent:1.15.3"})
				p.Spec.NodeName = "node-2"
				c.add(t, p)
			},
		},
		{
			"no agent", "install the SPIRE agent", "no SPIRE agent",
			func(t *testing.T, c *cluster) {
				must(t, c.AppsV1().DaemonSets("spire").Delete(t.Context(), "spire-agent", metav1.DeleteOptions{}))
			},
			func(t *testing.T, c *cluster) {
				objects := manifest(t, "spire/base", "spire", "agent.yaml")
				run(t, objects)
				for _, object := range objects {
					if _, ok := object.(*appsv1.DaemonSet); ok {
						c.add(t, object)
					}
				}
			},
		},
		{
			"no injector", "kubectl apply -k manifests/injector/base", "there is none",
			func(t *testing.T, c *cluster) {
				must(t, c.AppsV1().Deployments("spire-injector").Delete(t.Context(), "spire-injector", metav1.DeleteOptions{}))
			},
			func(t *testing.T, c *cluster) {
				for _, object := range manifest(t, "injector/base", "spire-injector", "deployment.yaml") {
					if _, ok := object.(*appsv1.Deployment); ok {
						c.add(t, object)
					}
				}
			},
		},
		{
			"one replica", "scale it to 2", "one replica",
			injector(func(d *appsv1.Deployment) { d.Spec.Replicas = new(int32(1)) }), injector(func(d *appsv1.Deployment) { d.Spec.Replicas = new(int32(2)) }),
		},
		{
			"no CA", "spire-injector serving-cert writes it", "caBundle of pod.injector.spiffe.io is empty",
			mutating(func(h *admissionregistrationv1.MutatingWebhookConfiguration) {
				ca, h.Webhooks[0].ClientConfig.CABundle = h.Webhooks[0].ClientConfig.CABundle, nil
			}),
			mutating(func(h *admissionregistrationv1.MutatingWebhookConfiguration) {
				h.Webhooks[0].ClientConfig.CABundle = ca
			}),
		},
		{
			"a webhook for pods that may fail", "kubectl apply the injector's manifests again", "failurePolicy of pod.injector.spiffe.io is Ignore",
			mutating(func(h *admissionregistrationv1.MutatingWebhookConfiguration) {
				h.Webhooks[0].FailurePolicy = new(admissionregistrationv1.Ignore)
			}),
			mutating(func(h *admissionregistrationv1.MutatingWebhookConfiguration) {
				h.Webhooks[0].FailurePolicy = new(admissionregistrationv1.Fail)
			}),
		},
		{
			"a namespace that is not left out", "add it to the values of kubernetes.io/metadata.name NotIn", "is asked about pods in kube-system",
			mutating(func(h *admissionregistrationv1.MutatingWebhookConfiguration) {
				h.Webhooks[1].NamespaceSelector.MatchExpressions[0].Values = []string{"spire", "spire-injector"}
			}),
			mutating(func(h *admissionregistrationv1.MutatingWebhookConfiguration) {
				in := &h.Webhooks[1].NamespaceSelector.MatchExpressions[0]
				in.Values = append(in.Values, "kube-system")
			}),
		},
		{
			"no policy", "apply them: they guard injected pods", "there is none",
			func(t *testing.T, c *cluster) {
				must(t, c.AdmissionregistrationV1().ValidatingAdmissionPolicies().Delete(t.Context(), "spire-injector-scheduling", metav1.DeleteOptions{}))
			},
			func(t *testing.T, c *cluster) {
				for _, object := range manifest(t, "injector/base", "spire-injector", "policy.yaml") {
					if p, ok := object.(*admissionregistrationv1.ValidatingAdmissionPolicy); ok && p.Name == "spire-injector-scheduling" {
						c.add(t, p)
					}
				}
			},
		},
		{
			"no binding", "apply manifests/injector/base/policy.yaml again", "there is none that has the policy spire-injector-scheduling deny",
			func(t *testing.T, c *cluster) {
				must(t, c.AdmissionregistrationV1().ValidatingAdmissionPolicyBindings().Delete(t.Context(), "spire-injector-scheduling", metav1.DeleteOptions{}))
			},
			func(t *testing.T, c *cluster) {
				for _, object := range manifest(t, "injector/base", "spire-injector", "policy.yaml") {
					if b, ok := object.(*admissionregistrationv1.ValidatingAdmissionPolicyBinding); ok && b.Name == "spire-injector-scheduling" {
						c.add(t, b)
					}
				}
			},
		},
		{
			"a declared app port", "let the app listen on 127.0.0.1 and delete the containerPort", "declares port 8080",
			func(t *testing.T, c *cluster) { c.add(t, injected(t, 8080)) },
			func(t *testing.T, c *cluster) {
				must(t, c.CoreV1().Pods("shop").Delete(t.Context(), "api-1", metav1.DeleteOptions{}))
				c.add(t, injected(t)) // the next pod
			},
		},
		replaced("another family of addresses", "leave ipFamily out", "where the kernel has no IPv6", platform, "\nspire:\n", "\nipFamily: IPv6\nspire:\n"),
		{
			"addresses that replicas are not told", "apply the Deployment of this version", "replicas are not told",
			all(addresses("10.244.0.7", "fd00::7"), injector(func(d *appsv1.Deployment) { d.Spec.Template.Spec.Containers[0].Env = nil })),
			func(t *testing.T, c *cluster) {
				injector(func(d *appsv1.Deployment) { d.Spec.Template.Spec.Containers[0].Env = env(t) })(t, c)
			},
		},
		replaced("a long TTL of DNS", "raise defaults.drain, or lower ttl", "the cluster's DNS has names kept for 30s", "kube-system/coredns/Corefile", "ttl 5", "ttl 30"),
		{
			"a controller manager without prefix", "set entryIDPrefix to the cluster's name", "deletes the injector's entries",
			func(t *testing.T, c *cluster) {
				c.add(t, manager(), configMap("manager", "manager-config", "config.json",
					`{"clusterName": "demo-cluster", "trustDomain": "example.org"}`))
			},
			rewriting("manager/manager-config/config.json", "{", `{"entryIDPrefix": "demo-cluster", `),
		},
		{
			"no policies of NetworkPolicies", "apply the component", "there is none that denies",
			rewriting(platform, "\nspire:\n", "\nnetworkPolicies: true\nspire:\n"),
			func(t *testing.T, c *cluster) {
				for _, object := range manifest(t, "injector/components/workload-network-policies", "spire-injector", "policy.yaml") {
					c.add(t, object)
				}
			},
		},
		{
			"a relationship that is missing", "spire-server bundle list: if it has none of", "far.org, which namespace shop names",
			func(t *testing.T, c *cluster) {
				ns, err := c.CoreV1().Namespaces().Get(t.Context(), "shop", metav1.GetOptions{})
				must(t, err)
				ns.Annotations = map[string]string{intent.AnnotationFederatesWith: "far.org"}
				_, err = c.CoreV1().Namespaces().Update(t.Context(), ns, metav1.UpdateOptions{})
				must(t, err)
				c.pages[leaderName+":8080/metrics"] = strings.Replace(c.pages[leaderName+":8080/metrics"], `{state="without_bundle"} 0`, `{state="without_bundle"} 1`, 1)
			},
			rewriting(platform, "identity:\n", "  federation: [{trustDomain: far.org, bundleEndpoint: \"https://far.org\", profile: https_web, refresh: 5m}]\nidentity:\n"),
		},
		requiring("a pod from before its namespace required injection", "make it anew", "not injected", func(*testing.T, *corev1.Pod) {}),
		requiring("a pod that opted out before that", "take the label ", "not injected", func(_ *testing.T, pod *corev1.Pod) {
			pod.Labels = map[string]string{intent.LabelInject: intent.InjectDisabled}
		}),
		requiring("a port in plain text from before that", hintOfAnnotations, "tls", func(t *testing.T, pod *corev1.Pod) {
			t.Helper()
			*pod = *injected(t)
			delete(pod.Annotations, intent.AnnotationAppPort)
			pod.Annotations[intent.AnnotationInbound] = "[{listen: 8443, app: 8080, tls: permissive}]"
		}),
		{
			"a namespace that requires and is left out", "kubectl label namespace ", "leave the namespace out",
			func(t *testing.T, c *cluster) {
				c.add(t, pod("kube-system", "plain", nil, corev1.Container{Name: "app", Image: "app"}))
				c.requires(t, "kube-system")
			},
			func(t *testing.T, c *cluster) {
				ns, err := c.CoreV1().Namespaces().Get(t.Context(), "kube-system", metav1.GetOptions{})
				must(t, err)
				delete(ns.Labels, intent.LabelInject)
				_, err = c.CoreV1().Namespaces().Update(t.Context(), ns, metav1.UpdateOptions{})
				must(t, err)
			},
		},
	}
}

// hintOfAnnotations is how a remedy begins that is not of this package: what a denial says is the remedy of pods too.
const hintOfAnnotations = "write mutual, or ask the platform team"

// notCarriedOut are remedies that are commands on a cluster, waiting, or somebody's look at a log: no change of an object
// that a test could make. Each is the beginning of some. The list is to become no longer: see [remedies].
func notCarriedOut() []string {
	return []string{
		"run the check as somebody who may", "say the version with the injector's flag", "upgrade: ", "wait ", "the leader's log", "kubectl -n ",
		"kubectl get events", "spire-server bundle set", "look at the alerts", "mount it from one", "see yourself", "the replica's log", "find out who does",
		"check again in some seconds", "see the leader's log", "replace those that need a new pod", "mend those above", "nothing, if the server is elsewhere",
		"the API server does not ask the injector", "if it is the connection", "look from the SPIRE server",
		"injectorchecks.go: put together elsewhere", "networkchecks.go: put together elsewhere",
		"registrationchecks.go: put together elsewhere", "requiredchecks.go: put together elsewhere", // the parts of the latter are
	}
}

// Each remedy that is a change of an object makes its finding go when it is carried out.
func TestRemediesMend(t *testing.T) {
	t.Parallel()
	for _, r := range remedies() {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			c := healthy(t)
			r.harm(t, c)
			found := r.findings(Judge(c.gather(t)))
			if len(found) == 0 {
				t.Fatalf("expected a finding with %q and the remedy %q, got %+v", r.part, r.says, Judge(c.gather(t)))
			}
			r.mend(t, c)
			if left := r.findings(Judge(c.gather(t))); len(left) > 0 {
				t.Errorf("the remedy was carried out, and there is still %+v", left)
			}
		})
	}
}

// findings are those that the remedy is of.
func (r remedy) findings(all []Finding) []Finding {
	return slices.DeleteFunc(slices.Clone(all), func(f Finding) bool {
		return f.Status == OK || !strings.HasPrefix(f.Remedy, r.says) || !strings.Contains(f.Where+" "+f.Found, r.part)
	})
}

// Of every remedy in the code it is known whether a test carries it out.
func TestRemediesAreKnown(t *testing.T) {
	t.Parallel()
	left := map[string]bool{}
	for _, text := range remedyTexts(t) {
		left[text] = true
	}
	for _, r := range remedies() {
		known := r.says == hintOfAnnotations
		for text := range left {
			known = known || beginAlike(text, r.says)
		}
		if !known {
			t.Errorf("%s: no remedy begins with %q", r.name, r.says)
		}
	}
	for _, r := range remedies() {
		maps.DeleteFunc(left, func(text string, _ bool) bool { return beginAlike(text, r.says) })
	}
	for _, begins := range notCarriedOut() {
		before := len(left)
		maps.DeleteFunc(left, func(text string, _ bool) bool { return strings.HasPrefix(text, begins) })
		if len(left) == before {
			t.Errorf("there is no remedy %q, or it is carried out: take it off the list", begins)
		}
	}
	for _, text := range slices.Sorted(maps.Keys(left)) {
		t.Errorf("no test carries this remedy out: %q", text)
	}
}

// beginAlike says whether one of two texts is how the other one begins: what differs by case is cut off.
func beginAlike(a, b string) bool { return strings.HasPrefix(a, b) || strings.HasPrefix(b, a) }

// remedyTexts are the beginnings of all remedies that the code has, up to what differs by case.
func remedyTexts(t *testing.T) []string {
	t.Helper()
	entries, err := os.ReadDir(".")
	must(t, err)
	var texts []string
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".go") || strings.HasSuffix(e.Name(), "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), e.Name(), nil, 0)
		must(t, err)
		named := map[string]string{} // texts that have a name
		part := func(e ast.Expr) {   // what a remedy is put together of
			if text, _, _ := strings.Cut(literal(e), "%"); text != "" && !strings.HasPrefix(text, ";") {
				texts = append(texts, text)
			}
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			if a, ok := n.(*ast.AssignStmt); ok && len(a.Lhs) == 1 && len(a.Rhs) == 1 {
				switch to := a.Lhs[0].(type) {
				case *ast.Ident:
					named[to.Name] = literal(a.Rhs[0])
				case *ast.SelectorExpr:
					if to.Sel.Name == "remedy" {
						part(a.Rhs[0])
					}
				}
			}
			if field, ok := n.(*ast.KeyValueExpr); ok {
				if key, ok := field.Key.(*ast.Ident); ok && key.Name == "remedy" {
					part(field.Value)
				}
			}
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			if method, ok := call.Fun.(*ast.SelectorExpr); ok && method.Sel.Name == "remedy" && len(call.Args) > 0 {
				text, _, _ := strings.Cut(literal(call.Args[0]), "%")
				if text == "" && len(call.Args) > 1 {
					if name, ok := call.Args[1].(*ast.Ident); ok {
						text = named[name.Name]
					}
				}
				if text == "" {
					text = e.Name() + ": put together elsewhere"
				}
				texts = append(texts, text)
			}
			return true
		})
	}
	return texts
}

// literal is the text of a string, or of the first of several that are put together.
func literal(e ast.Expr) string {
	switch x := e.(type) {
	case *ast.BasicLit:
		text, _ := strconv.Unquote(x.Value)
		return text
	case *ast.BinaryExpr:
		return literal(x.X) + literal(x.Y)
	case *ast.CallExpr: // of fmt.Sprintf
		if len(x.Args) > 0 {
			return literal(x.Args[0])
		}
	}
	return ""
}

// rewrite replaces a text in a ConfigMap, namespace/name/key.
func (c *cluster) rewrite(t *testing.T, where, old, text string) {
	t.Helper()
	parts := strings.Split(where, "/")
	m, err := c.CoreV1().ConfigMaps(parts[0]).Get(t.Context(), parts[1], metav1.GetOptions{})
	must(t, err)
	before := m.Data[parts[2]]
	m.Data[parts[2]] = strings.Replace(before, old, text, 1)
	if m.Data[parts[2]] == before {
		t.Fatalf("%s: there is no %q", where, old)
	}
	c.set(t, m)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
