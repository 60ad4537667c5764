package golden

import (
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/spire-injector/spire-injector/templates"
	"github.com/spire-injector/spire-injector/templates/ir"
	"github.com/spire-injector/spire-injector/webhook/inject"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

// twoVersions are an injector and one that makes something else of every pod, in Envoy's configuration and by the name
// of the agent's socket, and shares a key with it.
func twoVersions(injector inject.Injector) (older, newer inject.Injector) {
	older = injector
	older.Version = "older"
	older.Sealing = inject.Sealing{Keys: [][]byte{[]byte("key")}, Now: time.Now()}
	newer = older
	newer.Version, newer.Platform.AgentSocket.File = "newer", "other.sock"
	newer.Generate = func(p ir.Proxy) (templates.Config, error) {
		c, err := templates.Generate(p)
		c.Bootstrap += " "
		return c, err
	}
	return older, newer
}

// While the injector is upgraded the API server has one version inject a pod and another one validate it. It is let in
// as it was made, with the API server's defaults, whatever it asks for; without the key the denial says why.
func testVersions(t *testing.T, s *apiServer) {
	t.Run("LimitRange", func(t *testing.T) { testVersionsAndLimits(t, s) })
	cases, err := Read("cases")
	must(t, err)
	tried := 0
	for _, c := range cases {
		in := c.input(t)
		res, refusal := in.injector.Inject(in.namespace, in.pod)
		if refusal != nil || !res.Inject || c.APIServer != "" || c.SPIRE != "" {
			continue
		}
		tried++
		t.Run(c.Name, func(t *testing.T) {
			var accounts []string
			for _, account := range []string{in.pod.Spec.ServiceAccountName, in.pod.Spec.DeprecatedServiceAccount} {
				if account != "" {
					accounts = append(accounts, account)
				}
			}
			s.prepare(t, in.namespace, c.Name, accounts...)
			manifest := in.manifest(t)
			if in.pod.Name == "" && in.pod.GenerateName == "" {
				manifest = merge(t, manifest, `{"metadata": {"name": "unnamed"}}`)
			}
			older, newer := twoVersions(in.injector)
			for _, two := range [][2]inject.Injector{{older, newer}, {newer, older}} {
				s.useTwo(two[0], two[1])
				s.goBy(in.namespace.Services)
				if _, err := s.create(t, manifest, client.DryRunAll); err != nil {
					t.Errorf("of version %s: %v", two[0].Version, err)
				}
				two[1].Sealing = inject.Sealing{}
				s.useTwo(two[0], two[1])
				s.goBy(in.namespace.Services)
				want := fmt.Sprintf("annotation spiffe.io/status: says that version %q of the injector made this pod", two[0].Version)
				if _, err := s.create(t, manifest, client.DryRunAll); err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("of version %s, without the key: expected a denial with %q, got %v", two[0].Version, want, err)
				}
			}
		})
	}
	if tried < 20 {
		t.Errorf("%d cases were tried, want those of all modes", tried)
	}
}

// A LimitRange sets what a version leaves open, also where the other one does not.
func testVersionsAndLimits(t *testing.T, s *apiServer) {
	platform, err := intent.ParsePlatform(defaultPlatform)
	must(t, err)
	older, newer := twoVersions(inject.Injector{Platform: platform})
	older.Platform.Sidecar.Resources = corev1.ResourceRequirements{}
	ns := intent.Namespace{Name: "versions"}
	s.prepare(t, ns, "versions")
	s.limit(t, ns.Name)
	manifest := []byte(`{apiVersion: v1, kind: Pod, metadata: {generateName: api-, namespace: versions, labels: {spiffe.io/inject: enabled},
		annotations: {spiffe.io/app-port: "8080", spiffe.io/allowed-peers: /web}}, spec: {containers: [{name: app, image: app}]}}`)
	s.useTwo(older, newer)
	s.eventually(t, "the LimitRange", func() error {
		stored, err := s.create(t, manifest, client.DryRunAll)
		if err != nil {
			return err
		}
		var pod corev1.Pod
		mustUnmarshal(t, asJSON(t, stored), &pod)
		if c := pod.Spec.InitContainers[0]; c.Name != intent.SidecarName || c.Resources.Requests.Cpu().String() != "20m" {
			return fmt.Errorf("the first container is %s, with the resources %v", c.Name, c.Resources)
		}
		return nil
	})
	s.useTwo(newer, older)
	if _, err := s.create(t, manifest, client.DryRunAll); err != nil {
		t.Error(err)
	}
}
