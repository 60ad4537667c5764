package offline

import (
	"bytes"
	"fmt"
	"maps"
	"slices"

	"sigs.k8s.io/yaml"

	"github.com/spire-injector/spire-injector/webhook/networkpolicies"
)

// NetworkPolicies are those that the leading replica would keep if the manifests were all that there is, as a YAML
// stream, without the labels by which it knows its own. Warnings are about identities that have none.
func (o Output) NetworkPolicies() (stream []byte, warnings []string, err error) {
	var out bytes.Buffer
	for _, namespace := range slices.Sorted(maps.Keys(o.Pods)) {
		policies, left := networkpolicies.Desired(o.Pods[namespace])
		for _, l := range left {
			warnings = append(warnings, fmt.Sprintf("identity %s of namespace %s has no NetworkPolicy: %s", l.Identity, namespace, l.Why))
		}
		for _, policy := range policies {
			text, err := yaml.Marshal(policy.Object(namespace))
			if err != nil {
				return nil, nil, fmt.Errorf("encoding NetworkPolicy %s of namespace %s: %w", policy.Name(), namespace, err)
			}
			if out.Len() > 0 {
				out.WriteString("---\n")
			}
			out.Write(text)
		}
	}
	return out.Bytes(), warnings, nil
}
