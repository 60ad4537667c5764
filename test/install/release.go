package install

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/spire-injector/spire-injector/test/cluster/environment"
	"github.com/spire-injector/spire-injector/test/command"
)

// ReleaseLabel on a namespace says which release of the injector serves it, where that is not the default one.
const ReleaseLabel = "injector.spiffe.io/release"

// standard is the namespace of the default release, and the beginning of the names of what it has cluster-wide.
const standard = "spire-injector"

// Release is an injector beside the default one, in a namespace of its own. It shares SPIRE with it and nothing else,
// registers workloads under its Name as the cluster's, and serves the namespaces whose [ReleaseLabel] is its Name.
type Release struct {
	Name    string        // of its namespace, and in the place of the default's name in what it has cluster-wide
	Overlay string        // path of the injector's kustomization
	Args    []string      // of the program, beside those that the overlay and the release have
	SVIDTTL time.Duration // of its own SVID; 0 for SPIRE's default
}

// Install applies the release and waits until it injects the pods of a namespace.
func (r Release) Install(ctx context.Context, env environment.Environment, namespace string, progress io.Writer) error {
	k := env.Client()
	objects, err := r.objects(ctx, env)
	if err != nil {
		return err
	}
	steps := []step{
		{"giving the injector an identity of its own", func() error { return r.register(ctx, k) }},
		{"applying " + r.Overlay + " as " + r.Name, func() error { return applyObjects(ctx, env, objects) }},
	}
	takes, err := takesCertificate(objects)
	if err != nil {
		return fmt.Errorf("%s: %w", r.Overlay, err)
	}
	if takes {
		steps = append(steps, servingCertificate(ctx, env, r.Name, r.Name, progress))
	}
	return run(progress, append(steps, []step{
		{"waiting for the injector", rollout(ctx, k, r.Name, "deployment/spire-injector")},
		{"trying the webhook", func() error { return awaitInjection(ctx, k, namespace) }},
	}...))
}

// Uninstall removes the release. Nobody can create a labelled pod in its namespaces until another release serves them.
func (r Release) Uninstall(ctx context.Context, env environment.Environment) error {
	k := env.Client()
	objects, err := r.objects(ctx, env)
	if err != nil {
		return err
	}
	// First who is asked, then who answers; the namespace takes along what is in it.
	objects = slices.DeleteFunc(objects, func(o unstructured.Unstructured) bool { return o.GetNamespace() != "" })
	slices.SortStableFunc(objects, func(a, b unstructured.Unstructured) int { return rank(a) - rank(b) })
	manifests, err := withContents(env, objects)
	if err != nil {
		return err
	}
	_, deleteErr := k.With(ctx, manifests, "delete", "--ignore-not-found", "--wait=false", "-f", "-")
	_, entryErr := Server(ctx, k, "entry", "delete", "-entryID", r.entryID())
	return errors.Join(deleteErr, entryErr)
}

func rank(o unstructured.Unstructured) int {
	if strings.HasSuffix(o.GetKind(), "WebhookConfiguration") {
		return 0
	}
	return 1
}

func (r Release) entryID() string { return "release." + r.Name }

// register gives the release's injector the right to register workloads, which SPIRE's configuration gives only to the
// default one.
func (r Release) register(ctx context.Context, k command.Kubectl) error {
	out, err := Server(ctx, k, "entry", "create", "-admin", "-entryID", r.entryID(),
		"-parentID", "spiffe://example.org/bootstrap/demo-cluster/node",
		"-spiffeID", "spiffe://example.org/ns/"+r.Name+"/sa/spire-injector", "-dns", "spire-injector."+r.Name+".svc",
		"-x509SVIDTTL", strconv.Itoa(int(r.SVIDTTL.Seconds())),
		"-selector", "k8s:ns:"+r.Name, "-selector", "k8s:sa:spire-injector", "-selector", "k8s:container-name:spire-injector")
	return unlessThere(out, err)
}

// objects are those of the overlay under the release's names.
func (r Release) objects(ctx context.Context, env environment.Environment) ([]unstructured.Unstructured, error) {
	manifests, err := env.Client().Run(ctx, "kustomize", r.Overlay)
	if err != nil {
		return nil, err
	}
	objects, err := Decode(manifests)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r.Overlay, err)
	}
	for _, object := range objects {
		if strings.HasPrefix(object.GetAPIVersion(), "admissionregistration.k8s.io/") {
			object.SetNamespace("") // kustomize gives one to the kinds that it does not know
		}
		if err := r.rename(object); err != nil {
			return nil, fmt.Errorf("%s: %s %s: %w", r.Overlay, object.GetKind(), object.GetName(), err)
		}
	}
	return objects, nil
}

// rename turns an object of the default release into the one of r.
func (r Release) rename(object unstructured.Unstructured) error {
	if object.GetNamespace() == "" {
		object.SetName(r.own(object.GetName()))
	}
	r.walk("", object.Object)
	if object.GetKind() != "Deployment" {
		return nil
	}
	containers, _, err := unstructured.NestedSlice(object.Object, "spec", "template", "spec", "containers")
	if err != nil || len(containers) != 1 {
		return errors.Join(err, fmt.Errorf("expected one container, got %d", len(containers)))
	}
	container := containers[0].(map[string]any)
	args, _, err := unstructured.NestedStringSlice(container, "args")
	if err != nil {
		return err
	}
	args = append(args, "--namespace="+r.Name, "--webhook-configuration="+r.Name)
	args = append(args, r.Args...)
	if err := unstructured.SetNestedStringSlice(container, args, "args"); err != nil {
		return err
	}
	return unstructured.SetNestedSlice(object.Object, containers, "spec", "template", "spec", "containers")
}

func (r Release) own(name string) string { return strings.Replace(name, standard, r.Name, 1) }

// walk replaces, below a value that has a key, every reference to what has another name in the release.
func (r Release) walk(key string, value any) {
	switch v := value.(type) {
	case map[string]any:
		if v["key"] == ReleaseLabel {
			v["operator"], v["values"] = "In", []any{r.Name}
		}
		clusterWide := v["kind"] == "ClusterRole" || hasGroup(v, "admissionregistration.k8s.io")
		for k, child := range v {
			text, isText := child.(string)
			switch {
			case k == "namespace" && child == standard, k == "policyName", key == "roleRef" && clusterWide && k == "name":
				v[k] = r.own(text)
			case isText && k == "cert-manager.io/inject-ca-from":
				v[k] = r.own(text)
			case isText && k == "config.yaml":
				// Each keeps the registration entries of one name, and would remove the other's.
				v[k] = strings.Replace(text, "clusterName: demo-cluster", "clusterName: "+r.Name, 1)
			case k == "resourceNames" && clusterWide:
				v[k] = []any{r.Name}
			case k == "dnsNames":
				for i, name := range child.([]any) {
					child.([]any)[i] = strings.Replace(name.(string), "."+standard+".", "."+r.Name+".", 1)
				}
			default:
				r.walk(k, child)
			}
		}
	case []any:
		for _, child := range v {
			r.walk(key, child)
		}
	}
}

// hasGroup says whether a map is a rule for an API group.
func hasGroup(rule map[string]any, group string) bool {
	groups, _ := rule["apiGroups"].([]any)
	return slices.Contains(groups, any(group))
}
