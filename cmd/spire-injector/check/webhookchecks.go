package check

import (
	"crypto/x509"
	"encoding/pem"
	"slices"
	"strings"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	k8slabels "k8s.io/apimachinery/pkg/labels"

	"github.com/spire-injector/spire-injector/webhook/inject"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

// hook is what mutating and validating webhooks have in common.
type hook struct {
	where, name string
	client      admissionregistrationv1.WebhookClientConfig
	policy      *admissionregistrationv1.FailurePolicyType
	rules       []admissionregistrationv1.RuleWithOperations
	namespaces  *metav1.LabelSelector
}

// hooks are those that lead to the injector.
func (f Facts) hooks() []hook {
	var out []hook
	if c := f.Mutating; c != nil {
		for _, w := range c.Webhooks {
			out = append(out, hook{
				where:      "MutatingWebhookConfiguration " + c.Name,
				name:       w.Name,
				client:     w.ClientConfig,
				policy:     w.FailurePolicy,
				rules:      w.Rules,
				namespaces: w.NamespaceSelector,
			})
		}
	}
	if c := f.Validating; c != nil {
		for _, w := range c.Webhooks {
			out = append(out, hook{
				where:      "ValidatingWebhookConfiguration " + c.Name,
				name:       w.Name,
				client:     w.ClientConfig,
				policy:     w.FailurePolicy,
				rules:      w.Rules,
				namespaces: w.NamespaceSelector,
			})
		}
	}
	return out
}

func (h hook) forPods() bool {
	return slices.ContainsFunc(h.rules, func(r admissionregistrationv1.RuleWithOperations) bool {
		return slices.Contains(r.Resources, "pods")
	})
}

func (h hook) path() string {
	if h.client.Service == nil || h.client.Service.Path == nil {
		return ""
	}
	return *h.client.Service.Path
}

func webhooks(f Facts) []Finding {
	if f.Injector == nil {
		return nil
	}
	var out []Finding
	apply := "kubectl apply the injector's manifests again"
	for path, missing := range map[string]string{
		"/mutate-pod": "MutatingWebhookConfiguration", "/validate-pod": "ValidatingWebhookConfiguration",
	} {
		if !slices.ContainsFunc(f.hooks(), func(h hook) bool { return h.path() == path }) {
			out = append(out, found(Error, missing+" "+f.Settings.Webhooks, "no webhook leads to %s", path).
				expected("one, for pods").remedy("%s", apply))
		}
	}
	slices.SortFunc(out, func(a, b Finding) int { return strings.Compare(a.Where, b.Where) })
	for _, h := range f.hooks() {
		if s := h.client.Service; s == nil || s.Namespace != f.Names.Namespace {
			out = append(out, found(Error, h.where, "%s does not lead to a Service in %s", h.name, f.Names.Namespace).
				expected("the injector's Service").remedy("%s", apply))
		}
		if h.forPods() && h.policy != nil && *h.policy != admissionregistrationv1.Fail {
			out = append(out, found(Error, h.where, "failurePolicy of %s is %s", h.name, *h.policy).expected("Fail").
				remedy("%s: while the injector is down pods that asked for an identity start without", apply))
		}
		if mistake := trusts(h.client.CABundle, f.At); mistake != "" {
			out = append(out, found(Error, h.where, "caBundle of %s %s", h.name, mistake).
				expected("the CA of the serving certificate").
				remedy("spire-injector serving-cert writes it; or with cert-manager its cainjector, with SPIRE the server's "+
					"notifier k8sbundle, with --serving-cert-source=self the leader: see its log"))
		}
	}
	good := fine("", "%s registered, those for pods with failurePolicy Fail", plural(len(f.hooks()), "webhook"))
	return orFine(out, good)
}

// trusts says what is wrong with a bundle of CAs.
func trusts(bundle []byte, at time.Time) string {
	if len(bundle) == 0 {
		return "is empty"
	}
	var valid, all int
	for block, rest := pem.Decode(bundle); block != nil; block, rest = pem.Decode(rest) {
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			continue
		}
		if all++; at.Before(certificate.NotAfter) {
			valid++
		}
	}
	switch {
	case all == 0:
		return "has no certificate"
	case valid == 0:
		return "has expired"
	}
	return ""
}

// excludedNamespaces are those that a cold cluster needs before the injector can run.
func excludedNamespaces(f Facts) []Finding {
	if f.Injector == nil {
		return nil
	}
	wanted := []string{"kube-system", f.Names.Namespace, f.Names.SPIRE, "cert-manager"}
	for _, w := range slices.Concat(f.Servers, f.Agents) {
		wanted = append(wanted, w.Namespace)
	}
	slices.Sort(wanted)
	var out []Finding
	var excluded []string
	for _, name := range slices.Compact(wanted) {
		if !slices.Contains(f.namespaceNames(), name) {
			continue
		}
		excluded = append(excluded, name)
		for _, h := range f.hooks() {
			selector, err := metav1.LabelSelectorAsSelector(h.namespaces)
			if err != nil || !h.forPods() {
				continue
			}
			// The labels with which injection would be asked for.
			labels := k8slabels.Merge(f.namespace(name).Labels, nil)
			asked := false
			for _, value := range []string{intent.InjectEnabled, intent.InjectRequired} {
				labels[intent.LabelInject] = value
				asked = asked || selector.Matches(labels)
			}
			if asked {
				out = append(out, found(Error, h.where, "%s is asked about pods in %s", h.name, name).
					expected("a namespaceSelector that leaves it out").
					remedy("add it to the values of kubernetes.io/metadata.name NotIn: the cluster cannot start while the injector "+
						"is down"))
			}
		}
	}
	return orFine(out, fine("", "pods in %s are left alone", strings.Join(excluded, ", ")))
}

// boundPolicy is a policy of the manifests with its bindings. What is written here follows the name of the webhook
// configurations.
type boundPolicy struct {
	policy   string
	bindings []string
	warns    bool // and does not deny
}

// policyFiles are those of manifests/injector/base that have policies, and why to apply them.
var policyFiles = []struct {
	file, why string
	policies  []boundPolicy
}{
	{"policy.yaml", "they guard injected pods also while the injector is down", []boundPolicy{
		{policy: "", bindings: []string{"", "-labelled", "-asked-of-namespace"}},
		{policy: "-by-hand", bindings: []string{"-by-hand"}},
		{policy: "-changes", bindings: []string{"-changes", "-status"}},
		{policy: "-scheduling", bindings: []string{"-scheduling"}},
		{policy: "-own-changes", bindings: []string{"-own-changes"}},
	}},
	{"policy-authors.yaml", "they tell authors of mistakes that are silent otherwise", []boundPolicy{
		{policy: "-template-labels", bindings: []string{"-template-labels"}},
		{policy: "-misplaced", bindings: []string{"-misplaced"}, warns: true},
		{policy: "-excluded", bindings: []string{"-excluded", "-excluded-workloads"}, warns: true},
		{policy: "-namespaces", bindings: []string{"-namespaces"}, warns: true},
	}},
}

// policies looks for all policies and their bindings. Without those that only tell authors nothing is less safe.
func policies(f Facts) []Finding {
	if f.Injector == nil {
		return nil
	}
	if v, err := inject.ParseKubernetesVersion(f.Kubernetes); err == nil && v.Major == 1 && v.Minor < 30 {
		return nil
	}
	var out []Finding
	bound := 0
	for n, file := range policyFiles {
		severity := Error
		if n > 0 {
			severity = Warning
		}
		path := "manifests/injector/base/" + file.file
		for _, p := range file.policies {
			bound++
			name := f.Settings.Webhooks + p.policy
			bindings, there := f.Policies[name]
			verb, action := "deny", "Deny"
			if p.warns {
				bindings, verb, action = f.Warning[name], "warn", "Warn"
			}
			if !there {
				out = append(out, found(severity, "ValidatingAdmissionPolicy "+name, "there is none").
					expected("the policies of %s", path).
					remedy("apply them: %s", file.why))
				continue
			}
			for _, b := range p.bindings {
				if binding := f.Settings.Webhooks + b; !slices.Contains(bindings, binding) {
					out = append(out, found(severity, "ValidatingAdmissionPolicyBinding "+binding, "there is none that has the policy %s %s", name, verb).
						expected("one with the action %s", action).
						remedy("apply %s again", path))
				}
			}
		}
	}
	return orFine(out, fine("", "%d policies are bound", bound))
}

// trial judges the answer to a pod with a mistake, which the webhook alone knows to be one.
func trial(f Facts) []Finding {
	if f.Injector == nil || f.Mutating == nil {
		return nil
	}
	where := "Namespace " + f.Trial.Namespace
	switch {
	case f.Trial.Created:
		return []Finding{found(Error, where, "a labelled pod with a mistake would be created").
			expected("the injector to refuse it").
			remedy("the API server does not ask the injector: see the checks webhooks and excluded-namespaces, and the " +
				"namespace's label injector.spiffe.io/release")}
	case strings.Contains(f.Trial.Answer, intent.AnnotationAppPort) &&
		strings.Contains(f.Trial.Answer, "denied the request"):
		return []Finding{fine(where, "the API server reaches the injector and trusts its certificate")}
	}
	return []Finding{found(Error, where, "%s", f.Trial.Answer).expected("the injector's refusal of a pod with a mistake").
		remedy("if it is the connection: the Service, network policies, and the caBundle. No labelled pod can be created " +
			"until then")}
}
