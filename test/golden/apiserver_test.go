package golden

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/spire-injector/spire-injector/cmd/spire-injector/offline"
	"github.com/spire-injector/spire-injector/registrar"
	"github.com/spire-injector/spire-injector/webhook/inject"
	"github.com/spire-injector/spire-injector/webhook/intent"
)

// One real API server is for all tests that need one, because starting it takes as long as most of them.
func TestAPIServer(t *testing.T) {
	t.Parallel()
	s := startAPIServer(t)
	for _, test := range []struct {
		name string
		run  func(*testing.T, *apiServer)
	}{
		{"Callers", testCallers},
		{"Corpus", testCorpus},
		{"Forgeries", testForgeries},
		{"Others", testOthers},
		{"Versions", testVersions},
		{"Subresources", testSubresources},
		{"Unlabelled", testUnlabelled},
		{"Authors", testAuthors},
		{"Refresh", testRefresh},
		{"Rollout", testRollout},
		{"NetworkPolicyRights", testNetworkPolicyRights},
		{"NetworkPolicies", testNetworkPolicies},
		{"Services", testServices},
		{"PolicyEngine", testPolicyEngine},
		{"Check", testCheck}, // the last one: it stops the webhooks
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, s) })
	}
}

// Every case once more, by a real API server with the injector's own registration: what it stores is what the function
// returns, and what the offline command prints, stored by it, is the same pod.
func testCorpus(t *testing.T, s *apiServer) {
	cases, err := Read("cases")
	must(t, err)
	for _, c := range cases { // one after another: they share a namespace, whose name is part of identities
		t.Run(c.Name, func(t *testing.T) { s.check(t, c) })
	}
}

func (s *apiServer) check(t *testing.T, c Case) {
	in := c.input(t)
	var accounts []string
	for _, account := range []string{in.pod.Spec.ServiceAccountName, in.pod.Spec.DeprecatedServiceAccount} {
		if account != "" {
			accounts = append(accounts, account)
		}
	}
	s.prepare(t, in.namespace, c.Name, accounts...)
	s.use(in.injector)
	s.goBy(in.namespace.Services)
	res, refusal := in.injector.Inject(in.namespace, in.pod)
	manifest := in.manifest(t)
	if in.pod.Name == "" && in.pod.GenerateName == "" {
		manifest = merge(t, manifest, `{"metadata": {"name": "unnamed"}}`)
	}

	if c.SPIRE != "" {
		s.checkWithoutSPIRE(t, c, manifest)
		return
	}
	stored, err := s.create(t, manifest)
	switch {
	case refusal != nil:
		want := "denied the request: " + refusal.Error()
		if c.APIServer != "" {
			want = c.APIServer // a policy was first
		}
		if err == nil || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("the function refuses the pod with %q, expected the API server to say %q, got %v", refusal, want, err)
		}
		return
	case c.APIServer != "":
		s.wantOwnRefusal(t, c, manifest, err)
		return
	case err != nil:
		t.Fatalf("the function accepts the pod, the API server does not: %v", err)
	}
	defer s.remove(t, stored)
	s.wantStored(t, in, stored)
	if diff := cmp.Diff(res.Workloads, unique(s.spire.workloads), cmpopts.EquateComparable(spiffeid.ID{}, spiffeid.TrustDomain{}), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("registered (-function +webhook on the API server):\n%s", diff)
	}

	s.use(in.injector)
	s.goBy(in.namespace.Services)
	printed := s.offline(t, in, manifest)
	if in.pod.GenerateName == "" {
		printed = merge(t, printed, `{"metadata": {"name": null, "generateName": "offline-"}}`)
	}
	again, err := s.create(t, printed)
	if err != nil {
		t.Fatalf("what the command prints is refused: %v", err)
	}
	defer s.remove(t, again)
	if diff := cmp.Diff(comparable(t, stored), comparable(t, again)); diff != "" {
		t.Errorf("the stored pod is not what the command's output becomes (-online +offline):\n%s", diff)
	}
	for _, answer := range s.answered {
		if len(answer.Patch) > 0 {
			t.Errorf("the webhook changes what the command prints: %v", string(answer.Patch))
		}
	}

	s.use(in.injector)
	s.goBy(in.namespace.Services)
	tried, err := s.create(t, merge(t, manifest, `{"metadata": {"name": null, "generateName": "dry-run-"}}`), client.DryRunAll)
	if err != nil {
		t.Fatalf("dry run: %v", err)
	}
	if diff := cmp.Diff(comparable(t, stored), comparable(t, tried)); diff != "" {
		t.Errorf("a dry run gives another pod (-created +dry run):\n%s", diff)
	}
	if len(s.spire.workloads) > 0 {
		t.Errorf("a dry run registered %v", s.spire.workloads)
	}
}

// checkWithoutSPIRE checks what becomes of a pod whose registration fails.
func (s *apiServer) checkWithoutSPIRE(t *testing.T, c Case, manifest []byte) {
	t.Helper()
	s.spire.err = c.spireErr(t)
	stored, err := s.create(t, manifest)
	if denial, ok := c.Want["denial.txt"]; ok {
		_, message, _ := strings.Cut(strings.TrimSpace(denial), " ")
		if err == nil || !strings.Contains(err.Error(), message) {
			t.Errorf("expected that the API server says %q, got %v", message, err)
		}
		return
	}
	must(t, err)
	defer s.remove(t, stored)
	var pod corev1.Pod
	data, err := json.Marshal(stored)
	must(t, err)
	must(t, json.Unmarshal(data, &pod))
	if !inject.StatusOf(&pod).Deferred {
		t.Errorf("the stored pod does not say that its registration is deferred: %s", pod.Annotations[intent.AnnotationStatus])
	}
}

// unique leaves out what was registered before: the API server asks more than once about a pod that changed meanwhile.
func unique(all []registrar.Workload) []registrar.Workload {
	var out []registrar.Workload
	for _, w := range all {
		if !slices.ContainsFunc(out, func(earlier registrar.Workload) bool { return reflect.DeepEqual(earlier, w) }) {
			out = append(out, w)
		}
	}
	return out
}

// wantStored compares with what the function makes of the pod that the API server hands to the webhook, where it has
// its defaults. Nothing of that may be missing or stand elsewhere in what is stored.
func (s *apiServer) wantStored(t *testing.T, in input, stored map[string]any) {
	t.Helper()
	if len(s.handed) == 0 { // not even asked
		if res, err := in.injector.Inject(in.namespace, in.pod); err != nil || res.Pod != in.pod {
			t.Errorf("the API server did not ask the webhook about a pod that is to be changed (%v, %v)", res.Reason, err)
		}
		return
	}
	var pod corev1.Pod
	must(t, json.Unmarshal(s.handed[0].Object.Raw, &pod))
	res, err := in.injector.Inject(in.namespace, &pod)
	must(t, err)
	data, err := json.Marshal(res.Pod)
	must(t, err)
	var want map[string]any
	must(t, json.Unmarshal(data, &want))
	delete(want, "status")
	for _, difference := range lacks("", comparable(t, want), comparable(t, stored)) {
		t.Errorf("stored: %s", difference)
	}
}

// wantOwnRefusal checks that the API server has something against the pod whether it is injected or not.
func (s *apiServer) wantOwnRefusal(t *testing.T, c Case, manifest []byte, err error) {
	t.Helper()
	elsewhere := intent.Namespace{Name: "not-ours", Labels: map[string]string{"injector.spiffe.io/release": "another"}}
	s.prepare(t, elsewhere, c.Name)
	_, alone := s.create(t, merge(t, manifest, `{"metadata": {"namespace": "not-ours", "labels": {"spiffe.io/inject": null}}}`), client.DryRunAll)
	for what, err := range map[string]error{"with injection": err, "without injection": alone} {
		if err == nil || strings.Contains(err.Error(), "denied the request") || !strings.Contains(err.Error(), c.APIServer) {
			t.Errorf("%s: expected the API server's own refusal with %q, got %v", what, c.APIServer, err)
		}
	}
}

// offline is what the command prints for the pod.
func (s *apiServer) offline(t *testing.T, in input, manifest []byte) []byte {
	t.Helper()
	namespace, err := json.Marshal(map[string]any{"apiVersion": "v1", "kind": "Namespace",
		"metadata": map[string]any{"name": in.namespace.Name, "labels": in.namespace.Labels, "annotations": in.namespace.Annotations}})
	must(t, err)
	out, err := offline.Inject(in.injector, "other", slices.Concat(namespace, []byte("\n---\n"), manifest, []byte("\n"), in.services))
	must(t, err)
	printed, err := yaml.YAMLToJSON(bytes.Split(out.Manifests, []byte("\n---\n"))[1])
	must(t, err)
	return printed
}

// tokenVolume is what the API server calls the volume of a service account's token, with five random characters.
var tokenVolume = regexp.MustCompile(`kube-api-access-[a-z0-9]{5}`)

const anyToken = "kube-api-access-xxxxx"

// comparable is a pod without what is of each pod alone. The API server appends the token's volume and mounts to what
// it has by then, before the webhook sees the pod or after: here they are the last ones.
func comparable(t *testing.T, pod map[string]any) map[string]any {
	t.Helper()
	data, err := json.Marshal(pod)
	must(t, err)
	var out map[string]any
	must(t, json.Unmarshal(tokenVolume.ReplaceAll(data, []byte(anyToken)), &out))
	metadata := out["metadata"].(map[string]any)
	for _, key := range []string{"name", "generateName", "uid", "resourceVersion", "creationTimestamp", "managedFields", "generation"} {
		delete(metadata, key)
	}
	spec := out["spec"].(map[string]any)
	tokenLast(spec["volumes"])
	for _, list := range []string{"initContainers", "containers"} {
		containers, _ := spec[list].([]any)
		for _, c := range containers {
			tokenLast(c.(map[string]any)["volumeMounts"])
		}
	}
	return out
}

// tokenLast reorders a list of volumes or mounts.
func tokenLast(list any) {
	items, _ := list.([]any)
	slices.SortStableFunc(items, func(a, b any) int {
		isToken := func(item any) int {
			if item.(map[string]any)["name"] == anyToken {
				return 1
			}
			return 0
		}
		return isToken(a) - isToken(b)
	})
}

// lacks tells what of one value is not at the same place of another, which may have more fields, but no other lists.
func lacks(path string, want, got any) []string {
	switch want := want.(type) {
	case map[string]any:
		got, ok := got.(map[string]any)
		if !ok && len(want) > 0 {
			return []string{path + ": missing"}
		}
		var all []string
		for key, value := range want {
			all = append(all, lacks(path+"."+key, value, got[key])...)
		}
		return all
	case []any:
		got, ok := got.([]any)
		if !ok || len(got) != len(want) {
			return []string{fmt.Sprintf("%s: expected %d items, got %d", path, len(want), len(got))}
		}
		var all []string
		for i := range want {
			all = append(all, lacks(fmt.Sprintf("%s[%d]", path, i), want[i], got[i])...)
		}
		return all
	}
	if want != got {
		return []string{fmt.Sprintf("%s: expected %v, got %v", path, want, got)}
	}
	return nil
}
