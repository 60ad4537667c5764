package golden

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/spire-injector/spire-injector/webhook/intent"
)

var (
	policyKeys = regexp.MustCompile(`(?s)- name: keys # that authors write\n +expression: \|-\n +\[(.*?)\]\n`)
	policyKey  = regexp.MustCompile(`'([^']+)'`)
	policyRule = regexp.MustCompile(`(?m)^ +\['(spiffe\.io/[a-z0-9-]+)', r'(.*)',$`)
)

// The policies for authors know the keys that there are, and warn of no value that a pod could take.
func TestRulesOfNamespaces(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile(filepath.Join(manifests, "policy-authors.yaml"))
	must(t, err)
	lists := policyKeys.FindAllStringSubmatch(string(data), -1)
	if len(lists) != 2 {
		t.Fatalf("expected two lists of keys, got %d", len(lists))
	}
	for _, list := range lists {
		var keys []string
		for _, found := range policyKey.FindAllStringSubmatch(list[1], -1) {
			keys = append(keys, found[1])
		}
		if !slices.Equal(keys, intent.WrittenByUsers()) {
			t.Errorf("expected the keys %q, got %q", intent.WrittenByUsers(), keys)
		}
	}
	rules := policyRule.FindAllStringSubmatch(string(data), -1)
	if len(rules) < 10 {
		t.Fatalf("expected ten rules or more, got %d", len(rules))
	}
	platform, err := intent.ParsePlatform(defaultPlatform)
	must(t, err)
	for _, rule := range rules {
		key, pattern := rule[1], regexp.MustCompile(rule[2])
		found := 0
		for _, value := range append(valuesOfAll, intent.Examples()[key]) {
			if pattern.MatchString(value) {
				continue
			}
			if found++; !deniedOnNamespace(platform, key, value) {
				t.Errorf("%s: the policy warns of %q, which pods take", key, value)
			}
		}
		if found < 5 {
			t.Errorf("%s: the policy warns of %d values", key, found)
		}
	}
}

// deniedOnNamespace says whether pods are denied for a value that their namespace gives them.
func deniedOnNamespace(platform intent.Platform, key, value string) bool {
	pod := &corev1.Pod{}
	pod.Name, pod.Labels = "api", label("enabled")
	pod.Spec.Containers = []corev1.Container{{Name: "app", Image: "app"}}
	ns := intent.Namespace{Name: "demo", Annotations: map[string]string{key: value}}
	_, mistakes := intent.ParseIntent(platform, ns, pod)
	return slices.ContainsFunc(mistakes, func(m intent.Mistake) bool {
		return strings.HasPrefix(m.Where, "annotation "+key) && strings.HasSuffix(m.Where, " of namespace demo")
	})
}

// valuesOfAll are tried with each key.
var valuesOfAll = []string{
	"", " ", ",", "x", "/web", "web", "/web, /x/*", " /web\n", "/web,,/api", "\t/web,api", "spiffe://example.org/web", "SPIFFE://example.org/web",
	"8080", "0", "65535", "65536", "+80", "-80", "080", "8080 8081", "8080, 9090,", "80a", "1", "64", "65", "+4",
	"30s", "1h30m", "1.5h", ".5h", "1.h", "+30s", "-30s", "30", "forever", "60000ms", "60000000000ns", "1h 30m", "1m0.0s",
	"true", "false", "True", "1", "yes", "sidecar", "sidecar, socket", "socket,sidecar,files", "gateway", "gateway gateway", "gateway,sidecar",
	"sidcar", "none", "inbound", "enforce", "audit", "info", "Info", "off", "auxiliary.org", "Auxiliary.org", "auxiliary.org other.org", "a b,c",
	"[]", "{}", "~", "null", "- a", "- {listen: 8443, app: 8080, peers: [/web]}", "\n\n- {listen: 8443, app: 8080, peers: [/web]}\n",
	"---\n- {listen: 8443, app: 8080, peers: [/web]}", "# ports\n- {listen: 8443, app: 8080, peers: [/web]}",
	"[{listen: 8443, app: 8080, peers: [/web]}]", "{listen: 8443, app: 8080}", "listen: 8443", "&a [{listen: 8443, app: 8080, peers: [/web]}]",
	"!!seq [{listen: 8443, app: 8080, peers: [/web]}]", "- {listen: 8000, address: \"api.demo.svc:8443\", peers: [/api]}",
}
