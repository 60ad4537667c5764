package install

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

func TestReleaseIsDisjointFromTheDefault(t *testing.T) {
	tests := map[string]struct{ before, after string }{
		"a namespace": {
			"{kind: Namespace, metadata: {name: spire-injector}}",
			"{kind: Namespace, metadata: {name: second}}",
		},
		"what is in it": {
			`{kind: Service, metadata: {name: spire-injector, namespace: spire-injector}, spec: {selector: {app.kubernetes.io/name: spire-injector}}}`,
			`{kind: Service, metadata: {name: spire-injector, namespace: second}, spec: {selector: {app.kubernetes.io/name: spire-injector}}}`,
		},
		"rights on its own configuration": {`
kind: ClusterRole
metadata: {name: spire-injector-self-rotated}
rules: [{apiGroups: [admissionregistration.k8s.io], resourceNames: [spire-injector], verbs: [patch]}]`, `
kind: ClusterRole
metadata: {name: second-self-rotated}
rules: [{apiGroups: [admissionregistration.k8s.io], resourceNames: [second], verbs: [patch]}]`,
		},
		"rights on its own lease, which is in its namespace": {`
kind: Role
metadata: {name: spire-injector, namespace: spire-injector}
rules: [{apiGroups: [coordination.k8s.io], resourceNames: [spire-injector]}]`, `
kind: Role
metadata: {name: spire-injector, namespace: second}
rules: [{apiGroups: [coordination.k8s.io], resourceNames: [spire-injector]}]`,
		},
		"a cluster-wide binding": {`
kind: ClusterRoleBinding
metadata: {name: spire-injector}
roleRef: {kind: ClusterRole, name: spire-injector}
subjects: [{name: spire-injector, namespace: spire-injector}]`, `
kind: ClusterRoleBinding
metadata: {name: second}
roleRef: {kind: ClusterRole, name: second}
subjects: [{name: spire-injector, namespace: second}]`,
		},
		"a binding in its namespace": {`
kind: RoleBinding
metadata: {name: spire-injector, namespace: spire-injector}
roleRef: {kind: Role, name: spire-injector}`, `
kind: RoleBinding
metadata: {name: spire-injector, namespace: second}
roleRef: {kind: Role, name: spire-injector}`,
		},
		"webhooks": {`
kind: MutatingWebhookConfiguration
metadata: {name: spire-injector, annotations: {cert-manager.io/inject-ca-from: spire-injector/spire-injector}}
webhooks:
  - name: pod.injector.spiffe.io
    clientConfig: {service: {namespace: spire-injector, name: spire-injector}}
    namespaceSelector:
      matchExpressions:
        - {key: kubernetes.io/metadata.name, operator: NotIn, values: [spire, spire-injector]}
        - {key: injector.spiffe.io/release, operator: DoesNotExist}`, `
kind: MutatingWebhookConfiguration
metadata: {name: second, annotations: {cert-manager.io/inject-ca-from: second/spire-injector}}
webhooks:
  - name: pod.injector.spiffe.io
    clientConfig: {service: {namespace: second, name: spire-injector}}
    namespaceSelector:
      matchExpressions:
        - {key: kubernetes.io/metadata.name, operator: NotIn, values: [spire, spire-injector]}
        - {key: injector.spiffe.io/release, operator: In, values: [second]}`,
		},
		"a certificate": {`
kind: Certificate
metadata: {name: spire-injector, namespace: spire-injector}
spec: {dnsNames: [spire-injector.spire-injector.svc]}`, `
kind: Certificate
metadata: {name: spire-injector, namespace: second}
spec: {dnsNames: [spire-injector.second.svc]}`,
		},
		"the program": {`
kind: Deployment
metadata: {name: spire-injector, namespace: spire-injector}
spec: {template: {spec: {containers: [{name: spire-injector, args: [serve]}]}}}`, `
kind: Deployment
metadata: {name: spire-injector, namespace: second}
spec: {template: {spec: {containers: [{name: spire-injector, args: [serve, --namespace=second, --webhook-configuration=second, --resync-interval=10s]}]}}}`,
		},
		"a policy's binding": {
			"{kind: ValidatingAdmissionPolicyBinding, metadata: {name: spire-injector}, spec: {policyName: spire-injector}}",
			"{kind: ValidatingAdmissionPolicyBinding, metadata: {name: second}, spec: {policyName: second}}",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			objects, err := Decode(test.before)
			if err != nil {
				t.Fatal(err)
			}
			if err := (Release{Name: "second", Args: []string{"--resync-interval=10s"}}).rename(objects[0]); err != nil {
				t.Fatal(err)
			}
			var want map[string]any
			if err := yaml.Unmarshal([]byte(test.after), &want); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, objects[0].Object); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}
